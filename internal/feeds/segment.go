package feeds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/advisory"
)

const segmentSuffix = ".segment"

// merge puts one feed into the builder: the segment of its downloads, parsed
// now unless that was done before, under the newer single records.
func (s *syncer) merge(ctx context.Context, b *advisory.Builder, f *feed, t *tally) error {
	path, err := s.segment(ctx, f)
	if err != nil {
		return err
	}
	if f.overlay.Records == 0 {
		meta, err := b.AddSegment(path, nil)
		if err != nil {
			return damaged(path, err)
		}
		return t.load(meta)
	}
	records, err := readOverlay(s.overlayPath(f, f.overlay))
	if err != nil {
		return err
	}
	hidden, err := s.layOver(path, records, t)
	if err != nil {
		return damaged(path, err)
	}
	if _, err := b.AddSegment(path, hidden); err != nil {
		return damaged(path, err)
	}
	for id, r := range records {
		if !hidden[id] {
			continue
		}
		advisories, err := overlayAdvisories(f, r.Record, t)
		if err != nil {
			return fmt.Errorf("record %s: %w", id, err)
		}
		t.seen(r.Modified)
		if err := t.add(b, advisories); err != nil {
			return &fatalError{err}
		}
	}
	return nil
}

// overlayAdvisories reads a record of an overlay.
func overlayAdvisories(f *feed, raw []byte, t *tally) ([]advisory.Advisory, error) {
	if f.source.kind() == typeCSAF {
		return csafAdvisories(raw, t)
	}
	advisories, _, _, err := parseRecord(f, raw)
	return advisories, err
}

// layOver counts what stays of a segment, and tells which records the overlay
// has newer: those that the segment lacks too.
func (s *syncer) layOver(path string, records map[string]overlayRecord, t *tally) (hidden map[string]bool, err error) {
	hidden = make(map[string]bool, len(records))
	for id := range records {
		hidden[id] = true
	}
	meta, err := advisory.EachNote(path, func(id string, modified time.Time, note []byte) error {
		if r, ok := records[id]; ok && !r.Modified.After(modified) {
			delete(hidden, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	base := newTally(&feed{})
	if err := base.load(meta); err != nil {
		return nil, err
	}
	t.skipped, t.unclear, t.example = base.skipped, base.unclear, base.example
	_, err = advisory.EachNote(path, func(id string, modified time.Time, note []byte) error {
		if !hidden[id] {
			t.count(modified, note)
		}
		return nil
	})
	return hidden, err
}

// damaged makes an unreadable segment one that is made anew.
func damaged(path string, err error) error {
	var bad *advisory.SegmentError
	if errors.As(err, &bad) || !errors.Is(err, advisory.ErrCorrupt) {
		return err
	}
	return &advisory.SegmentError{Path: path, Err: err}
}

// segment gives the segment of the feed's downloads, and makes it if need be.
func (s *syncer) segment(ctx context.Context, f *feed) (path string, err error) {
	path = s.segmentPath(f)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", &fatalError{fmt.Errorf("look for segment: %w", err)}
	}
	b, err := advisory.NewBuilder(s.dir(f))
	if err != nil {
		return "", &fatalError{err}
	}
	defer func() { err = errors.Join(err, b.Abort()) }()
	add := s.addOSV
	if f.source.kind() == typeNVD {
		add = s.addNVD
	} else if f.source.kind() == typeCSAF {
		add = s.addCSAF
	} else if _, ok := singles[f.source.kind()]; ok {
		add = s.addSingle
	}
	t := newTally(f)
	if err := add(ctx, b, f, t); err != nil {
		return "", err
	}
	meta, err := t.save()
	if err == nil {
		err = b.Save(path, meta)
	}
	if err == nil {
		err = removeSegments(filepath.Dir(path), path)
	}
	if err != nil {
		return "", &fatalError{err}
	}
	return path, nil
}

// segmentPath names the segment after all that it is made from, and the format
// that it is written in: one of another format is none.
func (s *syncer) segmentPath(f *feed) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "format %x\nrules %d\nfeed %s %s %s\n", advisory.Format, rules, f.source.kind(), f.source.Name, f.ecosystem)
	if f.source.kind() != typeNVD {
		fmt.Fprintf(sum, "wanted %s\n", strings.Join(slices.Sorted(slices.Values(f.source.ecosystems())), "\n"))
	}
	for _, d := range f.files {
		fmt.Fprintf(sum, "file %s\n", d.SHA256)
	}
	return filepath.Join(s.dir(f), hex.EncodeToString(sum.Sum(nil))[:digestPrefix]+segmentSuffix)
}

// removeSegments removes those of earlier downloads.
func removeSegments(dir, current string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for old segments: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if path == current || !strings.HasSuffix(e.Name(), segmentSuffix) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove old segment: %w", err)
		}
	}
	return nil
}
