package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

const (
	// writeRate is how many workloads are written about in a second.
	writeRate = 10
	// staleNews is how old a flip may be to be told by a replica that has only
	// just come to lead: the one before it may have died before it told.
	staleNews = 2 * time.Minute
	// lookAround is how often the leader looks which kinds of report the cluster
	// knows, and for reports of workloads that are no more.
	lookAround = 10 * time.Minute
)

// lead writes until ctx ends: while this replica leads. All that is written
// says how things are, so that two leaders for a moment do no harm.
func (i *Inventory) lead(ctx context.Context) {
	writes := workqueue.NewTypedRateLimitingQueue(slowly[types.UID]())
	i.mu.Lock()
	i.writes = writes
	i.mu.Unlock()
	defer func() {
		i.mu.Lock()
		i.writes = nil
		i.mu.Unlock()
		writes.ShutDown()
	}()
	stop := context.AfterFunc(ctx, writes.ShutDown)
	defer stop()
	i.dirty(i.table.uids()...)
	w := &writer{
		inventory: i, reporter: newReporter(i), herald: newHerald(ctx, i), begun: i.now(),
		pace: rate.NewLimiter(writeRate, writeRate),
	}
	defer w.herald.close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { i.evictions(ctx, w.herald) })
	wg.Go(func() { w.lookAround(ctx) })
	// The queue ends with ctx; there is no other error.
	_ = drain(writes, func(uid types.UID) error { return w.write(ctx, uid) }, i.complain)
}

// writer is what one term of leading writes with.
type writer struct {
	inventory *Inventory
	reporter  *reporter
	herald    *herald
	begun     time.Time
	pace      *rate.Limiter
}

// write tells the news of a workload and brings its report up to date.
func (w *writer) write(ctx context.Context, uid types.UID) error {
	if err := w.pace.Wait(ctx); err != nil {
		return nil // the end
	}
	workload, images, news, ok := w.inventory.table.of(uid)
	var told []flip
	for _, f := range news {
		if w.begun.Sub(f.at) < staleNews {
			told = append(told, f)
		}
	}
	if len(told) > 0 {
		w.herald.tell(workload, told)
	}
	if !ok {
		images = nil
	}
	if err := w.reporter.keep(ctx, workload, images); err != nil {
		return fmt.Errorf("report on %s: %w", workload, err)
	}
	return nil
}

// lookAround finds out which reports the cluster knows, and puts right what
// nobody has been told of.
func (w *writer) lookAround(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := lookAround
		if changed, err := w.reporter.discover(ctx); err != nil {
			w.inventory.complain(fmt.Errorf("look for kinds of reports: %w", err))
			wait = time.Minute
		} else if changed {
			w.inventory.dirty(w.inventory.table.uids()...)
		}
		if err := w.sweep(ctx); errors.Is(err, errNotIndexed) {
			wait = time.Second
		} else if err != nil {
			w.inventory.complain(fmt.Errorf("sweep reports: %w", err))
			wait = time.Minute
		}
		timer.Reset(wait)
	}
}

var errNotIndexed = errors.New("not all pods are known yet")

// sweep takes away the reports of workloads of which nothing runs: those that
// vanished while nobody led. The cluster itself removes those of workloads that
// are gone.
func (w *writer) sweep(ctx context.Context) error {
	i := w.inventory
	if !i.synced() || i.changed.Len() > 0 {
		return errNotIndexed
	}
	return w.reporter.sweep(ctx, func(uid types.UID) bool {
		i.table.mu.Lock()
		defer i.table.mu.Unlock()
		return i.table.workloads[uid] != nil
	})
}
