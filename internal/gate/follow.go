package gate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/spool"
)

// maxFollowing bounds the uploads that are analysed while they stream. What there
// is no room for is read again when its report is wanted.
const maxFollowing = 16

// errAborted ends the analysis of an upload that was given up.
var errAborted = errors.New("upload aborted")

// Follower analyses a blob while it is being pushed. Write never blocks and
// never fails: an analysis that cannot keep up is given up, and the blob is
// read again when its report is wanted. One goroutine writes.
type Follower struct {
	gate    *Gate
	pipe    *spool.Pipe
	flight  *flight
	begun   time.Time
	started bool                      // owned by the writer
	known   atomic.Pointer[flightKey] // set by Done
}

// Follow prepares to analyse a blob. The analysis begins with the first byte:
// uploads that are opened and left cost nothing of it.
func (g *Gate) Follow() *Follower {
	return &Follower{gate: g, pipe: spool.NewPipe(g.spool), flight: newFlight(), begun: g.Now()}
}

// start begins the analysis. Where nothing can be started, the Follower drops
// what it is given.
func (f *Follower) start() {
	if f.started {
		return
	}
	f.started = true
	select {
	case f.gate.following <- struct{}{}:
		if f.gate.crew.start(f.run) {
			return
		}
		<-f.gate.following
	default: // a layer says how much memory its decoder takes: many at once are bounded
	}
	f.pipe.Close()
	f.flight.land(errAborted)
}

// Write hands over the next bytes of the blob.
func (f *Follower) Write(p []byte) (int, error) {
	f.start()
	return f.pipe.Write(p)
}

// Done says that the blob is whole and stored, and has this digest: from now on
// those who want its report wait for this analysis.
func (f *Follower) Done(d digest.Digest) {
	f.start()
	k := flightKey{digest: d}
	f.known.Store(&k)
	f.gate.layers.add(k, f.flight)
	f.pipe.CloseWrite(nil)
	if f.flight.landed() { // before it was known what it was about
		f.gate.layers.forget(k, f.flight)
	}
}

// Abort gives the analysis up.
func (f *Follower) Abort() {
	f.start() // whoever runs it cleans up
	f.pipe.CloseWrite(errAborted)
}

// run is the analysis. It ends with the pipe, or with ctx.
func (f *Follower) run(ctx context.Context) {
	defer func() { <-f.gate.following }()
	stop := context.AfterFunc(ctx, f.Abort)
	defer stop()
	report, err := f.gate.Analyzer.Analyze(ctx, f.pipe)
	f.pipe.Close()
	if err == nil {
		err = f.gate.keep(ctx, report)
		f.gate.Metrics.Analysis("layer", f.gate.Now().Sub(f.begun))
	} else if errors.Is(err, spool.ErrOverflow) {
		f.gate.Metrics.Overflow()
	}
	f.flight.land(err)
	if k := f.known.Load(); k != nil {
		f.gate.layers.forget(*k, f.flight)
	}
}

// keep stores a report and remembers it for the manifest that is about to come.
func (g *Gate) keep(ctx context.Context, r *inventory.Report) error {
	if err := g.Catalog.PutLayerReport(ctx, r, g.Now()); err != nil {
		return fmt.Errorf("keep report: %w", err)
	}
	for _, gap := range r.Gaps {
		g.Metrics.Gap(gap.Code, string(gap.Kind))
	}
	g.reports.Put(r.Digest, r)
	return nil
}
