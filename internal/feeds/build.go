package feeds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pratique/pratique/engine/advisory"
)

// rules names how records are turned into an index. It rises with each change
// of that, so that the same downloads are indexed anew. A change of how an index
// is written is advisory.Format's to tell.
const rules = 4

// fatalError ends the whole sync: the index cannot be written.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// build makes a new revision if the downloads differ from those of the newest
// one, and writes the status.
func (s *syncer) build(ctx context.Context) (err error) {
	dir := IndexDir(s.dataDir)
	store, err := advisory.OpenStore(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if snapshot, ok := store.Current(); ok {
		defer snapshot.Release()
		s.inForce, s.res.Revision = snapshot.Index(), snapshot.Revision()
	}
	if err := s.keep(ctx); err != nil {
		return err
	}
	newest := s.res.Revision.Digest
	status := advisory.Status{Inputs: s.inputs(), Imported: s.before.Imported, Feeds: s.unasked}
	switch {
	case !slices.ContainsFunc(s.feeds, func(f *feed) bool { return len(f.files) > 0 && !f.result.Kept }):
		status.Inputs = s.before.Inputs // nothing to build from: what is there stays
	case newest == "" || status.Inputs != s.before.Inputs:
		if err := s.index(ctx, dir); err != nil {
			return err
		}
		s.res.Changed = s.res.Revision.Digest != newest
		if s.damaged {
			status.Inputs = ""
		}
	}
	for _, f := range s.feeds {
		s.res.Feeds = append(s.res.Feeds, f.result)
		status.Feeds = append(status.Feeds, f.result.Status)
		if f.result.Unclear > 0 {
			s.res.Warnings = append(s.res.Warnings, fmt.Sprintf("%s: what is said of %d product ids could not be understood, such as %q", f.source.Name, f.result.Unclear, f.result.UnclearExample))
		}
	}
	if err := advisory.WriteStatus(dir, status); err != nil {
		return err
	}
	return advisory.Prune(dir)
}

// inputs names the downloads and the rules for indexing them.
func (s *syncer) inputs() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "rules %d\n", rules)
	for _, f := range s.unasked {
		fmt.Fprintf(sum, "kept %s %s\n", f.Source, f.Ecosystem)
	}
	for _, f := range s.feeds {
		if f.result.Kept {
			fmt.Fprintf(sum, "kept %s %s\n", f.source.Name, f.ecosystem)
			continue
		}
		fmt.Fprintf(sum, "feed %s %s\n", f.source.Name, f.ecosystem)
		for _, d := range f.files {
			fmt.Fprintf(sum, "file %s\n", d.SHA256)
		}
		if f.overlay.Records > 0 {
			fmt.Fprintf(sum, "overlay %s\n", f.overlay.SHA256)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// newestRevision is that of the newest index that is whole; zero if there is
// none. One that is damaged is built anew.
func newestRevision(ctx context.Context, dir string) (advisory.Revision, error) {
	store, err := advisory.OpenStore(dir)
	if err != nil {
		return advisory.Revision{}, err
	}
	if err := ctx.Err(); err != nil {
		return advisory.Revision{}, errors.Join(err, store.Close())
	}
	var rev advisory.Revision
	if snapshot, ok := store.Current(); ok {
		rev = snapshot.Revision()
		snapshot.Release()
	}
	return rev, store.Close()
}

// index builds the next revision. Segments that turn out to be damaged are made
// anew, one at each try.
func (s *syncer) index(ctx context.Context, dir string) error {
	for range s.feeds {
		err := s.tryIndex(ctx, dir)
		var bad *advisory.SegmentError
		if !errors.As(err, &bad) {
			return err
		}
		if err := os.Remove(bad.Path); err != nil {
			return fmt.Errorf("remove damaged segment: %w", err)
		}
	}
	return s.tryIndex(ctx, dir)
}

func (s *syncer) tryIndex(ctx context.Context, dir string) (err error) {
	b, err := advisory.NewBuilder(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Abort()) }()
	coverage := s.carry(b)
	for _, f := range s.feeds {
		if len(f.files) == 0 || f.result.Kept {
			continue
		}
		t := newTally(f)
		if err := s.merge(ctx, b, f, t); err != nil {
			if err := s.spoilt(ctx, f, err); err != nil {
				return err
			}
			continue
		}
		f.result.Records, f.result.Skipped, f.result.Newest = t.records, t.skipped, t.newest
		f.result.Unclear, f.result.UnclearExample = t.unclear, t.example
		coverage = append(coverage, t.coverage(f.result.Synced)...)
	}
	if s.damaged && s.res.Revision.Digest != "" {
		return nil // the index in force has what could not be read; the next sync mends it
	}
	b.SetCoverage(coverage)
	return s.finish(b, dir)
}

// finish writes the revision; what did not change is copied from the one before.
func (s *syncer) finish(b *advisory.Builder, dir string) (err error) {
	last, err := advisory.NewestSequence(dir)
	if err != nil {
		return err
	}
	if s.inForce != nil {
		b.Reuse(s.inForce)
	}
	_, s.res.Revision, err = b.Finish(last+1, s.now)
	return err
}

// spoilt settles an error of reading the downloads of one feed: nil when it
// concerns no other, and the feed is one that failed.
func (s *syncer) spoilt(ctx context.Context, f *feed, err error) error {
	var fatal *fatalError
	var bad *advisory.SegmentError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &fatal):
		return fatal
	case errors.As(err, &bad):
		return bad
	}
	return s.forget(f, err)
}

// forget drops the downloads of a feed that could be checked once and cannot be
// read now, and makes the next sync build again.
func (s *syncer) forget(f *feed, cause error) error {
	f.fail(cause)
	s.damaged = true
	for _, d := range f.files {
		if err := d.forget(); err != nil {
			return err
		}
	}
	return nil
}
