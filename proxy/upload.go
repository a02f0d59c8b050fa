package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
)

const (
	uploadIdle    = 30 * time.Minute // after which an upload without a request is given up
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
	busy      sync.Mutex

	// Owned by the holder of busy.
	state    string // the upstream's
	offset   int64  // bytes that the upstream has taken
	hashed   int64  // bytes that went into hash and follower
	hash     hash.Hash
	follower *gate.Follower
	touched  time.Time
	ended    bool
}

// start begins an upload and returns it locked.
func (us *uploads) start(ctx context.Context, g *gate.Gate, q request, now time.Time) (*upload, error) {
	if err := us.room(q); err != nil {
		return nil, err
	}
	state, err := q.target.Upstream.Registry.StartUpload(ctx, q.target.Repository)
	if err != nil {
		return nil, err
	}
	u := &upload{id: rand.Text(), target: q.target, principal: q.caller.Name, state: state, hash: sha256.New(), follower: g.Follow(), touched: now}
	u.busy.Lock()
	us.mu.Lock()
	defer us.mu.Unlock()
	if us.all == nil {
		us.all = map[string]*upload{}
	}
	us.all[u.id] = u
	return u, nil
}

// room refuses a new upload when there are too many, here or in all.
func (us *uploads) room(q request) error {
	us.mu.Lock()
	defer us.mu.Unlock()
	same := 0
	for _, u := range us.all {
		if u.target == q.target && u.principal == q.caller.Name {
			same++
		}
	}
	if len(us.all) >= maxUploads || same >= maxRepository {
		return &failure{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", message: "too many uploads are under way", retry: pendingRetry}
	}
	return nil
}

// lock finds the upload that a request speaks of, and waits until no other
// request works on it.
func (us *uploads) lock(q request, now time.Time) (*upload, error) {
	us.mu.Lock()
	u, ok := us.all[q.vars["upload"]]
	us.mu.Unlock()
	if !ok || u.target != q.target || u.principal != q.caller.Name {
		return nil, image.ErrUploadUnknown
	}
	u.busy.Lock()
	if u.ended {
		u.busy.Unlock()
		return nil, image.ErrUploadUnknown
	}
	u.touched = now
	return u, nil
}

func (u *upload) unlock() { u.busy.Unlock() }

// drop gives a locked upload up, here and upstream.
func (us *uploads) drop(ctx context.Context, u *upload) {
	u.follower.Abort()
	us.remove(u)
	// The client may have gone, the upstream is still to be told; what it does
	// not hear it will sweep by itself.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = u.target.Upstream.Registry.CancelUpload(ctx, u.target.Repository, u.state)
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
	u.busy.Unlock()
}

// abandon gives up the uploads for which tired says so and on which no request
// is at work.
func (us *uploads) abandon(ctx context.Context, tired func(*upload) bool) error {
	us.mu.Lock()
	var idle []*upload
	for _, u := range us.all {
		if u.busy.TryLock() {
			if tired(u) {
				idle = append(idle, u)
			} else {
				u.busy.Unlock()
			}
		}
	}
	us.mu.Unlock()
	for _, u := range idle {
		us.drop(ctx, u)
	}
	return ctx.Err()
}

// append streams body upstream and, by a tee, to hash and analysis.
func (u *upload) append(ctx context.Context, body io.Reader, now time.Time) error {
	tee := io.TeeReader(body, writerFunc(func(b []byte) (int, error) {
		u.hashed += int64(len(b))
		u.hash.Write(b)
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
