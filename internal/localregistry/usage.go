package localregistry

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/lru"
)

// idleAccounts is how many repositories' bytes are remembered when nobody writes
// to them. Others are counted again when they are asked for.
const idleAccounts = 10_000

// ledger knows how many bytes repositories hold. The links on disk are the
// truth; an account is counted from them once, and then follows each change.
type ledger struct {
	mu   sync.Mutex
	open map[string]*account       // those in use; guarded by mu
	idle *lru.Cache[string, int64] // bytes of the others, counted
}

// account is one repository's. Every change of a link passes through it, also
// while nothing is counted: a count that begins in the midst of a change must
// not see it twice, nor miss it.
type account struct {
	users int // guarded by ledger.mu

	mu       sync.Mutex // guards what follows
	counted  bool       // bytes is valid
	bytes    int64      // of distinct content that is linked
	reserved int64      // of content that is being linked
	adding   map[digest.Digest]*addition
}

// addition is content that requests are linking.
type addition struct {
	users  int
	size   int64
	linked bool // it is part of account.bytes, no longer of account.reserved
}

func newLedger() *ledger {
	return &ledger{open: map[string]*account{}, idle: lru.New[string](idleAccounts, lru.Each[int64])}
}

func (l *ledger) acquire(repo string) *account {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.open[repo]
	if a == nil {
		a = &account{adding: map[digest.Digest]*addition{}}
		a.bytes, a.counted = l.idle.Get(repo)
		l.open[repo] = a
	}
	a.users++
	return a
}

func (l *ledger) release(repo string, a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.users--
	if a.users > 0 {
		return
	}
	delete(l.open, repo)
	l.idle.Remove(repo)
	if a.counted {
		l.idle.Put(repo, a.bytes)
	}
}

// Usage returns the bytes that the repository holds: its distinct blobs and
// manifests. One that is not known holds none.
func (r *Registry) Usage(ctx context.Context, repo string) (int64, error) {
	if !image.ValidRepository(repo) {
		return 0, fmt.Errorf("usage of %q: %w", repo, image.ErrNameUnknown)
	}
	a := r.ledger.acquire(repo)
	defer r.ledger.release(repo, a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := r.count(ctx, repo, a); err != nil {
		return 0, err
	}
	return a.bytes, nil
}

// count fills the account from the links, unless that was done. The caller holds
// a.mu, so no link goes meanwhile; those that come are in a.adding.
func (r *Registry) count(ctx context.Context, repo string, a *account) error {
	if a.counted {
		return nil
	}
	var total int64
	add := func(d digest.Digest) error {
		if adding := a.adding[d]; adding != nil && !adding.linked {
			return nil
		}
		size, err := r.blobSize(ctx, d)
		total += size
		return err
	}
	err := r.eachLink(ctx, repo, revisionLinks, func(d digest.Digest, _ time.Time) error { return add(d) })
	if err == nil {
		err = r.eachLink(ctx, repo, layerLinks, func(d digest.Digest, _ time.Time) error {
			if _, twice, err := r.linkTime(ctx, repo, revisionLinks, d); err != nil || twice {
				return err
			}
			return add(d)
		})
	}
	if err != nil {
		return fmt.Errorf("count bytes of %s: %w", repo, err)
	}
	a.bytes, a.counted = total, true
	return nil
}

// reserve makes room for content of that size, which the caller is about to
// link, holding its share: image.ErrQuotaExceeded when there is none. After the
// attempt, whatever came of it, settle must be called.
func (r *Registry) reserve(ctx context.Context, repo string, d digest.Digest, size int64) (settle func(), err error) {
	a := r.ledger.acquire(repo)
	a.mu.Lock()
	defer a.mu.Unlock()
	adding := a.adding[d]
	if adding == nil {
		adding = &addition{size: size}
		if err := r.admit(ctx, repo, a, d, adding); err != nil {
			r.ledger.release(repo, a)
			return nil, err
		}
		a.adding[d] = adding
	}
	adding.users++
	return func() {
		defer r.ledger.release(repo, a)
		// The request may have ended; what it did has to be known all the same.
		r.settle(context.WithoutCancel(ctx), repo, a, d)
	}, nil
}

func (r *Registry) admit(ctx context.Context, repo string, a *account, d digest.Digest, adding *addition) error {
	linked, err := r.linked(ctx, repo, d)
	if err != nil || linked {
		adding.linked = linked
		return err
	}
	if quota := r.quota(repo); quota > 0 {
		if err := r.count(ctx, repo, a); err != nil {
			return err
		}
		if adding.size > quota-a.bytes-a.reserved {
			return fmt.Errorf("%w: %d bytes of %d are used, %d are to be added", image.ErrQuotaExceeded, a.bytes, quota, adding.size)
		}
	}
	a.reserved += adding.size
	return nil
}

func (r *Registry) settle(ctx context.Context, repo string, a *account, d digest.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	adding := a.adding[d]
	if !adding.linked {
		linked, err := r.linked(ctx, repo, d)
		if err != nil {
			a.counted = false
		}
		if linked {
			adding.linked = true
			a.reserved -= adding.size
			a.bytes += adding.size
		}
	}
	adding.users--
	if adding.users > 0 {
		return
	}
	delete(a.adding, d)
	if !adding.linked {
		a.reserved -= adding.size
	}
}

func (r *Registry) quota(repo string) int64 {
	if r.options.Quota == nil {
		return 0
	}
	return r.options.Quota(repo)
}

// room returns how many bytes may still be added to the repository.
func (r *Registry) room(ctx context.Context, repo string) (int64, error) {
	quota := r.quota(repo)
	if quota <= 0 {
		return math.MaxInt64, nil
	}
	a := r.ledger.acquire(repo)
	defer r.ledger.release(repo, a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := r.count(ctx, repo, a); err != nil {
		return 0, err
	}
	return max(0, quota-a.bytes-a.reserved), nil
}

// capped reads at most left bytes; one more is image.ErrQuotaExceeded.
type capped struct {
	body io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p)) > c.left && c.left < math.MaxInt64 {
		p = p[:c.left+1]
	}
	n, err := c.body.Read(p)
	if int64(n) > c.left {
		return int(c.left), image.ErrQuotaExceeded
	}
	c.left -= int64(n)
	return n, err
}
