package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
)

// errPending: the analysis goes on, longer than the caller wants to wait.
var errPending = errors.New("analysis under way")

// transientError carries a finding that holds for one repository alone, and is
// not kept.
type transientError struct{ subject inventory.Subject }

func (e *transientError) Error() string { return e.subject.Reason }

// patience says how long a decision may wait for an analysis that has not been
// made yet.
type patience int

const (
	never   patience = iota // only what is known already
	forWait                 // gate.wait, then pending
)

// subject finds out what a manifest stands for: from memory, the catalog, or by
// an analysis that everybody who asks at the same time shares.
func (g *Gate) subject(ctx context.Context, t Target, m *image.Manifest, p patience) (inventory.Subject, error) {
	if s, ok := g.subjects.Get(m.Digest); ok {
		return s, nil
	}
	known, err := g.Catalog.Subject(ctx, m.Digest)
	if err != nil {
		return inventory.Subject{}, err
	}
	if known != nil {
		g.subjects.Put(m.Digest, *known)
		return *known, nil
	}
	if p == never {
		return inventory.Subject{}, errPending
	}
	err = g.analyse(ctx, t, m)
	var transient *transientError
	if errors.As(err, &transient) {
		return transient.subject, nil
	}
	if err != nil {
		return inventory.Subject{}, err
	}
	s, ok := g.subjects.Get(m.Digest)
	if !ok {
		return inventory.Subject{}, errPending // pushed out of memory already; the catalog has it for the next request
	}
	return s, nil
}

// analyse makes sure that the manifest is being analysed, and waits for it as
// long as the configuration says. The analysis goes on without the caller.
func (g *Gate) analyse(ctx context.Context, t Target, m *image.Manifest) error {
	f := g.begin(t, m)
	ctx, cancel := context.WithTimeoutCause(ctx, g.Config().Wait, errPending)
	defer cancel()
	err := f.wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == errPending {
		return errPending
	}
	return err
}

// analyseLater begins to analyse an image that nobody waits for.
func (g *Gate) analyseLater(ctx context.Context, t Target, m *image.Manifest) {
	if m.Index {
		return
	}
	if _, err := g.subject(ctx, t, m, never); errors.Is(err, errPending) {
		g.begin(t, m)
	}
}

// begin starts the analysis of a manifest unless it is under way.
func (g *Gate) begin(t Target, m *image.Manifest) *flight {
	k := flightKey{m.Digest, t.Name()} // what is there differs from repository to repository
	f, first := g.images.join(k)
	if first {
		started := g.crew.start(func(ctx context.Context) { g.images.leave(k, f, g.inspectOnce(ctx, t, m)) })
		if !started {
			g.images.leave(k, f, errPending)
		}
	}
	return f
}

// inspectOnce analyses an image unless an analysis has ended since the caller
// looked for one.
func (g *Gate) inspectOnce(ctx context.Context, t Target, m *image.Manifest) error {
	if _, ok := g.subjects.Get(m.Digest); ok {
		return nil
	}
	return g.inspect(ctx, t, m)
}

// inspect analyses one image and stores what was found.
func (g *Gate) inspect(ctx context.Context, t Target, m *image.Manifest) error {
	start := g.Now()
	src := &source{gate: g, target: t}
	if err := src.prefetch(ctx, m); err != nil {
		return err
	}
	s, im, err := engine.Inspect(ctx, m, src, g.Analyzer)
	if err != nil {
		return err
	}
	if s.Transient {
		return &transientError{s}
	}
	if err := g.Catalog.PutSubject(ctx, m.Digest, s, im); err != nil {
		return err
	}
	g.subjects.Put(m.Digest, s)
	if im != nil {
		g.inventory.Put(m.Digest, im)
	}
	g.inform(ctx, t, m)
	g.Metrics.Analysis("image", g.Now().Sub(start))
	g.Log.Info("image analysed", "manifest", m.Digest, "repository", t.Name(), "kind", s.Kind, "took", g.Now().Sub(start))
	return nil
}

// Bounds of reading layers from upstreams.
const (
	maxReading      = 32              // layers of one upstream at the same time
	maxReadingImage = 4               // of them of one image
	readGrace       = 5 * time.Minute // for any layer; and for its bytes, readRate
	readRate        = 1 << 20         // bytes a second: a slower upstream is given up
)

// source gives an analysis what a repository has.
type source struct {
	gate   *Gate
	target Target
}

// prefetch analyses the layers of an image side by side. Content that does not
// claim to be a layer is left to the analysis itself, which may not want it.
func (s *source) prefetch(ctx context.Context, m *image.Manifest) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReadingImage)
	for _, d := range m.Layers {
		if !image.IsLayerType(d.MediaType) {
			continue
		}
		group.Go(func() error {
			_, err := s.Report(ctx, d)
			if errors.Is(err, image.ErrBlobUnknown) {
				return nil // for the analysis to judge
			}
			return err
		})
	}
	return group.Wait()
}

// Blob opens content of the repository.
func (s *source) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	body, _, err := s.target.Upstream.Registry.Blob(ctx, s.target.Repository, d.Digest, 0, -1)
	if err != nil {
		return nil, err
	}
	return s.gate.learning(ctx, d.Digest, body), nil
}

// Report returns what was learnt from a layer: known, or just being learnt
// while it is pushed, or by reading it now.
func (s *source) Report(ctx context.Context, d image.Descriptor) (*inventory.Report, error) {
	g := s.gate
	for {
		known, err := g.Canonical(ctx, d.Digest) // may have been learnt meanwhile
		if err != nil {
			return nil, err
		}
		if r, err := g.report(ctx, known); r != nil || err != nil {
			return r, err
		}
		k := flightKey{digest: known}
		f, first := g.layers.join(k)
		if first {
			// Whoever read it just now may have left before this one joined.
			r, err := g.report(ctx, known)
			if r == nil && err == nil {
				r, err = s.read(ctx, d)
			}
			g.layers.leave(k, f, err)
			return r, err
		}
		if err := f.wait(ctx); ctx.Err() != nil {
			return nil, err
		}
		// Landed: either the report is there now, or whoever made it gave up
		// (an upload that was aborted, a spool that overflowed) and it is read.
		g.layers.forget(k, f)
	}
}

// report returns a report that is known, or nil.
func (g *Gate) report(ctx context.Context, d digest.Digest) (*inventory.Report, error) {
	if r, ok := g.reports.Get(d); ok {
		return r, nil
	}
	r, err := g.Catalog.LayerReport(ctx, d, g.Analyzer.Maker())
	if r != nil {
		g.reports.Put(d, r)
	}
	return r, err
}

// read analyses a layer from the upstream.
func (s *source) read(ctx context.Context, d image.Descriptor) (*inventory.Report, error) {
	slots := s.gate.reading[s.target.Upstream.Name]
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, readGrace+time.Duration(max(d.Size, 0)/readRate)*time.Second)
	defer cancel()
	start := s.gate.Now()
	body, err := s.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	r, err := s.gate.Analyzer.Analyze(ctx, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("read layer %s: %w", d.Digest, err)
	}
	known, err := s.gate.Canonical(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	if r.Digest != known {
		return nil, fmt.Errorf("read layer %s: %w", d.Digest, image.ErrDigestInvalid)
	}
	s.gate.Metrics.Analysis("layer", s.gate.Now().Sub(start))
	return r, s.gate.keep(ctx, r)
}
