package admission

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// flights does each look-up once for all who want it at the same time. A look-up
// goes on when nobody has time to wait for it any more, so that the next attempt
// finds it done: clients of an API server try again. It is bounded by limit, and
// ends with close. It is safe for concurrent use.
type flights[V any] struct {
	limit time.Duration
	log   *slog.Logger

	life context.Context // of all look-ups
	end  context.CancelFunc

	mu     sync.Mutex
	closed bool // no look-up begins
	aloft  map[string]*flight[V]
	group  sync.WaitGroup
}

type flight[V any] struct {
	done   chan struct{}
	value  V // set before done is closed, as landed
	landed bool
}

func newFlights[V any](limit time.Duration, log *slog.Logger) *flights[V] {
	f := &flights[V]{limit: limit, log: log, aloft: map[string]*flight[V]{}}
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

// do returns what the look-up found, or false when ctx ended before or the
// look-up broke down.
func (f *flights[V]) do(ctx context.Context, key string, work func(context.Context) V) (v V, ok bool) {
	under := f.join(key, work)
	if under == nil {
		return v, false
	}
	select {
	case <-under.done:
		return under.value, under.landed
	case <-ctx.Done():
		return v, false
	}
}

// join returns the flight that is under way, or begins one; nil after close.
func (f *flights[V]) join(key string, work func(context.Context) V) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if under, ok := f.aloft[key]; ok {
		return under
	}
	begun := &flight[V]{done: make(chan struct{})}
	f.aloft[key] = begun
	f.group.Go(func() {
		defer f.land(key, begun)
		ctx, cancel := context.WithTimeout(f.life, f.limit)
		defer cancel()
		begun.value = work(ctx)
		begun.landed = true
	})
	return begun
}

// land tells those who wait. A panic ends one look-up, and not the webhook:
// behind it stands a cluster that could start nothing any more.
func (f *flights[V]) land(key string, fl *flight[V]) {
	if p := recover(); p != nil {
		f.log.Error("look-up broke down", "panic", p, "stack", string(debug.Stack()))
	}
	f.mu.Lock()
	delete(f.aloft, key)
	f.mu.Unlock()
	close(fl.done)
}

// close ends all look-ups, and waits for them.
func (f *flights[V]) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.group.Wait()
}
