package gate

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
)

// crew owns the goroutines of the gate: they are started through it, and run
// returns only when all of them have.
type crew struct {
	mu    sync.Mutex
	ctx   context.Context // of run; nil before it and after its end
	group sync.WaitGroup
}

// run calls main and returns when it and all that was started have ended.
func (c *crew) run(ctx context.Context, main func(context.Context)) {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	main(ctx)
	c.mu.Lock()
	c.ctx = nil
	c.mu.Unlock()
	c.group.Wait()
}

// start runs f on its own goroutine with the context of run. It reports false,
// and does nothing, when run is not running.
func (c *crew) start(f func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil || c.ctx.Err() != nil {
		return false
	}
	ctx := c.ctx
	c.group.Go(func() { f(ctx) })
	return true
}

// flight is work that is under way for everybody who wants its result.
type flight struct {
	done chan struct{}
	err  error // set before done is closed
}

func newFlight() *flight { return &flight{done: make(chan struct{})} }

func (f *flight) land(err error) {
	f.err = err
	close(f.done)
}

func (f *flight) landed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// wait waits for the work, or for ctx.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flights are the works under way, by what they are about.
type flights struct {
	mu  sync.Mutex
	all map[flightKey]*flight
}

type flightKey struct {
	digest    digest.Digest
	selection string
}

func newFlights() *flights { return &flights{all: map[flightKey]*flight{}} }

// join returns the work about k; first is true for the one who has to do it and
// call leave.
func (fs *flights) join(k flightKey) (f *flight, first bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f, ok := fs.all[k]; ok {
		return f, false
	}
	f = newFlight()
	fs.all[k] = f
	return f, true
}

// add makes a flight that was begun elsewhere known under k; the newest counts.
func (fs *flights) add(k flightKey, f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.all[k] = f
}

// leave ends the work about k.
func (fs *flights) leave(k flightKey, f *flight, err error) {
	fs.forget(k, f)
	f.land(err)
}

// forget removes the work from the table.
func (fs *flights) forget(k flightKey, f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.all[k] == f {
		delete(fs.all, k)
	}
}
