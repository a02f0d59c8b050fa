package feeds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/pkgver"
)

// rules names how records are turned into an index. It rises with each change
// of that, so that the same downloads are indexed anew.
const rules = 2

// fatalError ends the whole sync: the index cannot be written.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// build makes a new revision if the downloads differ from those of the newest
// one, and writes the status.
func (s *syncer) build(ctx context.Context) error {
	dir := IndexDir(s.dataDir)
	status := advisory.Status{Inputs: s.inputs()}
	newest, err := newestRevision(ctx, dir)
	if err != nil {
		return err
	}
	s.res.Revision = newest
	switch {
	case !slices.ContainsFunc(s.feeds, func(f *feed) bool { return len(f.files) > 0 }):
		status.Inputs = s.before.Inputs // nothing to build from: what is there stays
	case newest.Digest == "" || status.Inputs != s.before.Inputs:
		if err := s.index(ctx, dir); err != nil {
			return err
		}
		s.res.Changed = s.res.Revision.Digest != newest.Digest
		if s.damaged {
			status.Inputs = ""
		}
	}
	for _, f := range s.feeds {
		s.res.Feeds = append(s.res.Feeds, f.result)
		status.Feeds = append(status.Feeds, f.result.Status)
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
	for _, f := range s.feeds {
		fmt.Fprintf(sum, "feed %s %s\n", f.source.Name, f.ecosystem)
		for _, d := range f.files {
			fmt.Fprintf(sum, "file %s\n", d.SHA256)
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

// index builds the next revision.
func (s *syncer) index(ctx context.Context, dir string) (err error) {
	b, err := advisory.NewBuilder(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Abort()) }()
	var coverage []advisory.Coverage
	for _, f := range s.feeds {
		if len(f.files) == 0 {
			continue
		}
		t := newTally(f)
		add := s.addOSV
		if f.source.kind() == typeNVD {
			add = s.addNVD
		} else if _, ok := singles[f.source.kind()]; ok {
			add = s.addSingle
		}
		err := add(ctx, b, f, t)
		var fatal *fatalError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &fatal):
			return fatal
		case err != nil:
			if err := s.forget(f, err); err != nil {
				return err
			}
			continue
		}
		f.result.Records, f.result.Skipped, f.result.Newest = t.records, t.skipped, t.newest
		coverage = append(coverage, t.coverage(f.result.Synced)...)
	}
	if s.damaged && s.res.Revision.Digest != "" {
		return nil // the index in force has what could not be read; the next sync mends it
	}
	b.SetCoverage(coverage)
	last, err := advisory.NewestSequence(dir)
	if err != nil {
		return err
	}
	_, s.res.Revision, err = b.Finish(last+1, s.now)
	return err
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

// tally counts what a feed gives, by ecosystem with release suffix.
type tally struct {
	source    string
	ecosystem string
	records   int
	skipped   int
	newest    time.Time
	native    bool // all that it gives is of its own distribution
	by        map[string]*advisory.Coverage
}

func newTally(f *feed) *tally {
	return &tally{source: f.source.Name, ecosystem: f.ecosystem, native: f.source.kind() != typeOSV, by: map[string]*advisory.Coverage{}}
}

// add puts the advisories of one record into the builder and counts the record
// once for each release that it names. What it names of other ecosystems is
// indexed and not counted as coverage: it is a small part of what there is.
func (t *tally) add(b *advisory.Builder, advisories []advisory.Advisory) error {
	if len(advisories) == 0 {
		return nil
	}
	t.records++
	seen := map[string]bool{}
	for _, a := range advisories {
		if err := b.Add(a); err != nil {
			return err
		}
		if seen[a.Ecosystem] || !t.counts(a.Ecosystem) {
			continue
		}
		seen[a.Ecosystem] = true
		c := t.by[a.Ecosystem]
		if c == nil {
			c = &advisory.Coverage{Ecosystem: a.Ecosystem, Source: t.source}
			t.by[a.Ecosystem] = c
		}
		c.Records++
		c.Newest = later(c.Newest, a.Modified)
		t.newest = later(t.newest, a.Modified)
	}
	return nil
}

// counts reports whether records of an ecosystem are what a feed is about. A
// native source has its own distribution alone.
func (t *tally) counts(ecosystem string) bool {
	return t.native || pkgver.Base(ecosystem) == t.ecosystem
}

func (t *tally) coverage(synced time.Time) []advisory.Coverage {
	var all []advisory.Coverage
	for _, c := range t.by {
		c.Synced = synced
		all = append(all, *c)
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
