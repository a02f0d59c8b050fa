package cluster

import (
	"context"
	"errors"
	"sync"
)

// flights lets callers that ask the same at the same time share one question.
// One of them asks, within its own deadline and goroutine; the others wait within
// theirs. If the one who asked had to give up, one of the others asks.
type flights[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]*flight[V]
}

type flight[V any] struct {
	done  chan struct{}
	value V // set before done is closed
	err   error
}

func (f *flights[K, V]) do(ctx context.Context, key K, ask func(context.Context) (V, error)) (V, error) {
	for {
		mine, first := f.join(key)
		if first {
			mine.value, mine.err = ask(ctx)
			f.land(key, mine)
			return mine.value, mine.err
		}
		select {
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		case <-mine.done:
		}
		gaveUp := errors.Is(mine.err, context.Canceled) || errors.Is(mine.err, context.DeadlineExceeded)
		if !gaveUp || ctx.Err() != nil {
			return mine.value, mine.err
		}
	}
}

func (f *flights[K, V]) join(key K) (mine *flight[V], first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found := f.all[key]; found != nil {
		return found, false
	}
	if f.all == nil {
		f.all = map[K]*flight[V]{}
	}
	mine = &flight[V]{done: make(chan struct{})}
	f.all[key] = mine
	return mine, true
}

func (f *flights[K, V]) land(key K, mine *flight[V]) {
	f.mu.Lock()
	delete(f.all, key)
	f.mu.Unlock()
	close(mine.done)
}
