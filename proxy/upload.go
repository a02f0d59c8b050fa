package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
)

const (
	uploadIdle    = 30 * time.Minute // after which an upload without a request is given up
	uploadParked  = 10 * time.Second // after which its analysis is: the blob is read again if it is ever wanted
	maxUploads    = 1000             // open at the same time
	maxRepository = 200              // of them to one repository by one principal
)

// uploads are the uploads under way. The zero value is ready.
type uploads struct {
	mu  sync.Mutex
	all map[string]*upload
}

// upload is one blob on its way to the upstream. One request at a time works on
// it: whoever holds busy.
type upload struct {
	id        string
	target    gate.Target
	principal string
	busy      chan struct{} // holds one token while a request is at work

	// Owned by the holder of busy.
	state    string // the upstream's
	offset   int64  // bytes that the upstream has taken
	hashed   int64  // bytes that went into hash and follower
	hash     hash.Hash
	hash512  hash.Hash // nil unless the client announced sha512 before the first byte
	follower *gate.Follower
	touched  time.Time
	single   bool // one POST has it all: nobody knows its address
	ended    bool
}

// start begins an upload and returns it locked.
func (us *uploads) start(ctx context.Context, g *gate.Gate, q request, now time.Time) (*upload, error) {
	if err := us.room(ctx, q); err != nil {
		return nil, err
	}
	state, err := q.target.Upstream.Registry.StartUpload(ctx, q.target.Repository)
	if err != nil {
		return nil, err
	}
	u := &upload{id: uuid.NewString(), target: q.target, principal: q.caller.Name, busy: make(chan struct{}, 1), state: state, hash: sha256.New(), follower: g.Follow(), touched: now}
	u.busy <- struct{}{}
	us.mu.Lock()
	defer us.mu.Unlock()
	if us.all == nil {
		us.all = map[string]*upload{}
	}
	us.all[u.id] = u
	return u, nil
}

// room makes sure that there is place for one more upload. One principal that
// has too many open to a repository loses the one that has been idle longest, and
// so does, when there are too many in all, the principal that has the most.
func (us *uploads) room(ctx context.Context, q request) error {
	us.mu.Lock()
	victim, same := us.oldest(func(u *upload) bool { return u.target == q.target && u.principal == q.caller.Name })
	if same < maxRepository {
		if victim != nil {
			victim.unlock()
		}
		if len(us.all) < maxUploads {
			us.mu.Unlock()
			return nil
		}
		most := us.greediest()
		victim, _ = us.oldest(func(u *upload) bool { return u.principal == most })
	}
	us.mu.Unlock()
	if victim == nil {
		return &failure{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", message: "too many uploads are under way", retry: pendingRetry}
	}
	us.drop(ctx, victim)
	return nil
}

// greediest is the principal with the most uploads. Called with the lock held.
func (us *uploads) greediest() (most string) {
	count := map[string]int{}
	for _, u := range us.all {
		if count[u.principal]++; count[u.principal] > count[most] {
			most = u.principal
		}
	}
	return most
}

// oldest returns the upload of those chosen on which no request has worked for
// the longest, locked, and how many are chosen. Called with the lock held.
func (us *uploads) oldest(chosen func(*upload) bool) (oldest *upload, n int) {
	for _, u := range us.all {
		if !chosen(u) {
			continue
		}
		n++
		if !u.tryLock() {
			continue
		}
		if oldest != nil && !u.touched.Before(oldest.touched) {
			u.unlock()
			continue
		}
		if oldest != nil {
			oldest.unlock()
		}
		oldest = u
	}
	return oldest, n
}

// lock finds the upload that a request speaks of, and waits until no other
// request works on it.
func (us *uploads) lock(ctx context.Context, q request, now time.Time) (*upload, error) {
	us.mu.Lock()
	u, ok := us.all[q.vars["upload"]]
	us.mu.Unlock()
	if !ok || u.target != q.target || u.principal != q.caller.Name {
		return nil, image.ErrUploadUnknown
	}
	select {
	case u.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if u.ended {
		u.unlock()
		return nil, image.ErrUploadUnknown
	}
	u.touched = now
	return u, nil
}

func (u *upload) unlock() { <-u.busy }

// tryLock reports whether no request was at work on the upload; if so, the
// caller is now.
func (u *upload) tryLock() bool {
	select {
	case u.busy <- struct{}{}:
		return true
	default:
		return false
	}
}

// drop gives a locked upload up, here and upstream.
func (us *uploads) drop(ctx context.Context, u *upload) {
	u.follower.Abort()
	us.remove(u)
	// The client may have gone, the upstream is still to be told; what it does
	// not hear it will sweep by itself.
	tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		var stop context.CancelFunc
		tell, stop = context.WithDeadline(tell, deadline)
		defer stop()
	}
	_ = u.target.Upstream.Registry.CancelUpload(tell, u.target.Repository, u.state)
}

// end closes a locked upload whose blob is whole and stored.
func (us *uploads) end(u *upload, d digest.Digest) {
	u.follower.Done(d)
	us.remove(u)
}

func (us *uploads) remove(u *upload) {
	us.mu.Lock()
	delete(us.all, u.id)
	us.mu.Unlock()
	u.ended = true
	u.unlock()
}

// parkIdle ends the analyses of uploads on which nothing has happened for a
// moment.
func (us *uploads) parkIdle(now time.Time) {
	us.mu.Lock()
	defer us.mu.Unlock()
	for _, u := range us.all {
		if !u.tryLock() {
			continue
		}
		if now.Sub(u.touched) > uploadParked {
			u.park()
		}
		u.unlock()
	}
}

// abandon gives up the uploads for which tired says so and on which no request
// is at work. All together may take abandonTime.
func (us *uploads) abandon(ctx context.Context, tired func(*upload) bool) error {
	ctx, cancel := context.WithTimeout(ctx, abandonTime)
	defer cancel()
	us.mu.Lock()
	var idle []*upload
	for _, u := range us.all {
		if !u.tryLock() {
			continue
		}
		if tired(u) {
			idle = append(idle, u)
		} else {
			u.unlock()
		}
	}
	us.mu.Unlock()
	for _, u := range idle {
		us.drop(ctx, u)
	}
	return ctx.Err()
}

const (
	cancelTime  = 10 * time.Second // for telling the upstream that one upload is given up
	abandonTime = 20 * time.Second // for all that are given up at once
)

// append streams body upstream and, by a tee, to hash and analysis.
func (u *upload) append(ctx context.Context, body io.Reader, now time.Time) error {
	tee := io.TeeReader(body, writerFunc(func(b []byte) (int, error) {
		u.hashed += int64(len(b))
		u.hash.Write(b)
		if u.hash512 != nil {
			u.hash512.Write(b)
		}
		return u.follower.Write(b)
	}))
	state, written, err := u.target.Upstream.Registry.AppendUpload(ctx, u.target.Repository, u.state, u.offset, tee)
	u.offset += written
	u.touched = now
	if state != "" {
		u.state = state
	}
	if err == nil && !u.consistent() {
		err = fmt.Errorf("the registry took %d of %d bytes: %w", u.offset, u.hashed, io.ErrShortWrite)
	}
	return err
}

// park ends the analysis of an upload that has no request: a client that goes on
// later is served all the same, and until then it costs next to nothing.
func (u *upload) park() { u.follower.Abort() }

// announce says by which algorithm the digest will be.
func (u *upload) announce(a digest.Algorithm) {
	if a == digest.SHA512 && u.hashed == 0 && u.hash512 == nil {
		u.hash512 = sha512.New()
	}
}

// digest is that of all bytes so far, "" if they were not hashed for it.
func (u *upload) digest(a digest.Algorithm) digest.Digest {
	switch {
	case a == digest.SHA256:
		return digest.NewDigest(a, u.hash)
	case a == digest.SHA512 && u.hash512 != nil:
		return digest.NewDigest(a, u.hash512)
	}
	return ""
}

// consistent reports whether the upstream has what was hashed and analysed.
func (u *upload) consistent() bool { return u.offset == u.hashed }

func (u *upload) commit(ctx context.Context, d digest.Digest) error {
	return u.target.Upstream.Registry.CommitUpload(ctx, u.target.Repository, u.state, u.offset, d, nil, 0)
}

// checkRange refuses a chunk that does not begin where the upload is.
func (u *upload) checkRange(r *http.Request) error {
	header := r.Header.Get("Content-Range")
	if header == "" {
		return nil
	}
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes "), "-")
	start, err := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(strings.TrimSuffix(last, "/*"), 10, 64)
	if !ok || errors.Join(err, err2) != nil || start != u.offset || end < start-1 {
		return image.ErrRangeInvalid
	}
	if r.ContentLength >= 0 && end >= start && r.ContentLength != end-start+1 {
		return image.ErrRangeInvalid
	}
	return nil
}

// accepted answers that the upload is open, and where it goes on.
func (u *upload) accepted(w http.ResponseWriter, q request) {
	u.setRange(w, q)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
}

// setRange tells where the upload goes on. "0-0" of an empty upload is what
// registries have always said.
func (u *upload) setRange(w http.ResponseWriter, q request) {
	h := w.Header()
	h.Set("Location", "/v2/"+q.name+"/blobs/uploads/"+u.id)
	h.Set("Docker-Upload-UUID", u.id)
	h.Set("Range", fmt.Sprintf("0-%d", max(u.offset-1, 0)))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
