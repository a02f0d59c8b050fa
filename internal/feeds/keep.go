package feeds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pratique/pratique/engine/advisory"
)

// The index in force may have newer data of a feed than the downloads here: it
// came with a bundle, or a mirror went back to an older dump. Such a feed is
// kept: a build carries what it gave over from the index in force, until the
// source has something newer. So nothing older takes the place of newer data of
// one source and ecosystem.
//
// An index does not tell which source gave a record, only its ecosystem. Where a
// kept feed shares one with others, what these gave before comes along, and of
// one record the newer stays: at worst one that was withdrawn is told for longer.

// keep settles which feeds are kept. Without an index in force none is.
func (s *syncer) keep(ctx context.Context) error {
	for _, f := range s.feeds {
		kept := false
		if s.inForce != nil {
			var err error
			if kept, err = s.keeps(ctx, f); err != nil {
				return err
			}
		}
		f.result.Kept = kept
	}
	if s.inForce == nil {
		return nil
	}
	s.unasked = slices.DeleteFunc(slices.Clone(s.before.Feeds), func(b advisory.FeedStatus) bool {
		return !b.Kept || slices.ContainsFunc(s.feeds, func(f *feed) bool { return same(f.result.Status, b) })
	})
	if len(s.kept()) == 0 || s.inputs() == s.before.Inputs {
		return nil
	}
	if err := s.inForce.Check(); err != nil {
		// What cannot be read cannot be carried; the downloads are all there is.
		s.res.Warnings = append(s.res.Warnings, "the index in force is damaged, and what it had of no source here is lost: "+clip(err.Error()))
		s.inForce, s.unasked = nil, nil
		return s.keep(ctx)
	}
	return nil
}

// keeps decides about one feed. By the dates of its records where it has any;
// else what came here after the data in force were asked for is newer.
func (s *syncer) keeps(ctx context.Context, f *feed) (bool, error) {
	last, answered := f.last, f.result.State != StateFailed
	switch {
	case len(f.files) == 0:
		return last.Kept || !last.Synced.IsZero(), nil
	case !last.Kept && f.result.State != StateOK:
		return false, nil // the index in force was made of these downloads
	}
	newest, err := s.newest(ctx, f)
	switch {
	case err != nil:
		f.files = nil
		return true, s.spoilt(ctx, f, err)
	case newest.IsZero() || last.Newest.IsZero():
		fresh := slices.ContainsFunc(f.files, func(d download) bool { return d.Fetched.After(last.Synced) })
		return last.Kept && !(answered && fresh), nil
	case newest.Before(last.Newest):
		if answered {
			// Its answer tells nothing of how current the newer data are.
			f.fail(fmt.Errorf("the source has older data than those in force: its newest record is of %s, theirs of %s",
				newest.Format(time.RFC3339), last.Newest.Format(time.RFC3339)))
		}
		return true, nil
	}
	return newest.Equal(last.Newest) && !answered, nil
}

// newest is the date of the newest record of the downloads here.
func (s *syncer) newest(ctx context.Context, f *feed) (time.Time, error) {
	t := newTally(f)
	meta, err := s.meta(ctx, f)
	if err == nil {
		err = t.load(meta)
	}
	if err == nil && f.overlay.Records > 0 {
		var records map[string]overlayRecord
		records, err = readOverlay(s.overlayPath(f, f.overlay))
		for _, r := range records {
			t.seen(r.Modified)
		}
	}
	return t.newest, err
}

// meta reads the counts of the feed's segment, which is made if need be.
func (s *syncer) meta(ctx context.Context, f *feed) ([]byte, error) {
	path, err := s.segment(ctx, f)
	if err != nil {
		return nil, err
	}
	meta, err := advisory.SegmentMeta(path)
	if !errors.Is(err, advisory.ErrCorrupt) {
		return meta, err
	}
	if err := os.Remove(path); err != nil {
		return nil, &fatalError{fmt.Errorf("remove damaged segment: %w", err)}
	}
	if path, err = s.segment(ctx, f); err != nil {
		return nil, err
	}
	return advisory.SegmentMeta(path)
}

// kept are the feeds whose data come from the index in force.
func (s *syncer) kept() []advisory.FeedStatus {
	all := slices.Clone(s.unasked)
	for _, f := range s.feeds {
		if f.result.Kept {
			all = append(all, f.result.Status)
		}
	}
	return all
}

// carry puts what the index in force has of kept feeds into the builder, and
// gives its coverage.
func (s *syncer) carry(b *advisory.Builder) []advisory.Coverage {
	kept := s.kept()
	if len(kept) == 0 {
		return nil
	}
	part := advisory.Carry{Ecosystems: map[string]bool{}}
	for _, f := range kept {
		switch f.Ecosystem {
		case nvdName:
			part.Scores = true
		case singles[typeKEV].name:
			part.KEV = true
		case singles[typeEPSS].name:
			part.EPSS = true
		}
	}
	var coverage []advisory.Coverage
	for _, c := range s.inForce.Coverages() {
		from, ok := advisory.FeedOf(s.before.Feeds, c)
		i := slices.IndexFunc(kept, func(f advisory.FeedStatus) bool { return ok && same(f, from) })
		if i < 0 {
			continue
		}
		c.Synced = kept[i].Synced
		part.Ecosystems[c.Ecosystem] = true
		coverage = append(coverage, c)
	}
	b.AddIndex(s.inForce, part)
	return coverage
}

func same(a, b advisory.FeedStatus) bool { return a.Source == b.Source && a.Ecosystem == b.Ecosystem }

// markKept marks all feeds of a bundle that was imported before there was such a
// mark, and that nothing was built on since.
func markKept(s *advisory.Status) {
	for i := range s.Feeds {
		f := &s.Feeds[i]
		f.Kept = f.Kept || s.Imported != nil && s.Inputs == "" && f.Records > 0
	}
}
