// Package flight lets callers that want the same at the same time share one
// question to something slow: an API server, Redis.
//
// It knows nothing of what is asked, keeps nothing once it is answered, and starts
// no goroutine.
package flight

import (
	"context"
	"sync"
)

// Group shares questions. One of the callers asks, within its own deadline and
// goroutine; the others wait within theirs. If the one who asked had to give up,
// one of the others asks. The zero value is ready, and safe for concurrent use.
type Group[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]*flight[V]
}

type flight[V any] struct {
	done chan struct{}

	// Set before done is closed.
	value  V
	err    error
	gaveUp bool // the time of the one who asked was over
}

// Do returns what ask finds for the key, or what it just finds for another caller.
func (g *Group[K, V]) Do(ctx context.Context, key K, ask func(context.Context) (V, error)) (V, error) {
	for {
		mine, first := g.join(key)
		if first {
			mine.value, mine.err = ask(ctx)
			mine.gaveUp = ctx.Err() != nil
			g.land(key, mine)
			return mine.value, mine.err
		}
		select {
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		case <-mine.done:
		}
		if !mine.gaveUp || mine.err == nil || ctx.Err() != nil {
			return mine.value, mine.err
		}
	}
}

func (g *Group[K, V]) join(key K) (mine *flight[V], first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if found := g.all[key]; found != nil {
		return found, false
	}
	if g.all == nil {
		g.all = map[K]*flight[V]{}
	}
	mine = &flight[V]{done: make(chan struct{})}
	g.all[key] = mine
	return mine, true
}

func (g *Group[K, V]) land(key K, mine *flight[V]) {
	g.mu.Lock()
	delete(g.all, key)
	g.mu.Unlock()
	close(mine.done)
}
