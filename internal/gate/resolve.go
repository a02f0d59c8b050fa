package gate

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// resolveTimeout bounds one question to an upstream that several requests share.
const resolveTimeout = 30 * time.Second

// resolver lets requests share questions to upstreams. Those that come while
// the upstream is being asked share the next question: none gets an answer to
// a question that was put before it came, so whoever has just moved a tag sees
// where to.
type resolver struct {
	mu  sync.Mutex
	all map[tagKey]*tagQueue
}

type tagKey struct{ upstream, repository, tag string }

// tagQueue is the question under way, and the one after it.
type tagQueue struct{ running, next *resolution }

type resolution struct {
	*flight
	digest digest.Digest // set before the flight lands
}

// Resolve returns what a tag stands for at its upstream now.
func (g *Gate) Resolve(ctx context.Context, t Target, tag string) (digest.Digest, error) {
	k := tagKey{t.Upstream.Name, t.Repository, tag}
	mine, before, first := g.tags.join(k)
	if !first {
		if err := mine.wait(ctx); err != nil {
			return "", err
		}
		return mine.digest, nil
	}
	if before != nil {
		<-before.done
		g.tags.begin(k)
	}
	// Others wait for this answer: it must not end with this client.
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), resolveTimeout)
	defer cancel()
	d, err := t.Upstream.Registry.Resolve(ask, t.Repository, tag)
	mine.digest = d
	g.tags.end(k)
	mine.land(err)
	return d, err
}

// join returns the question that a new request shares. first is true for the
// one who has to put it, after the one before it has been answered.
func (r *resolver) join(k tagKey) (mine, before *resolution, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.all[k]
	switch {
	case q == nil:
		mine = &resolution{flight: newFlight()}
		r.all[k] = &tagQueue{running: mine}
		return mine, nil, true
	case q.next == nil:
		q.next = &resolution{flight: newFlight()}
		return q.next, q.running, true
	}
	return q.next, nil, false
}

// begin makes the waiting question the one under way.
func (r *resolver) begin(k tagKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.all[k]
	q.running, q.next = q.next, nil
}

// end forgets a question unless another waits for its end.
func (r *resolver) end(k tagKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[k].next == nil {
		delete(r.all, k)
	}
}
