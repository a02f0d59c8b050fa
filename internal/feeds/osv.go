package feeds

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/pkgver"
)

// Limits of one all.zip.
const (
	maxZip       = 4 << 30  // bytes as downloaded
	maxUnpacked  = 32 << 30 // bytes of all records
	maxZipFiles  = 2_000_000
	zipSample    = 50  // records that checkZip reads
	reportRecord = 500 // records from one progress report to the next
	maxWorkers   = 8   // that parse records; each has one record in memory
)

// osvFiles brings one ecosystem up to date: by single records where the list of
// changes allows it, else by the whole dump.
func (s *syncer) osvFiles(ctx context.Context, f *feed) (changed bool, err error) {
	base, err := s.osvTarget(f, "all.zip")
	if err != nil {
		return false, err
	}
	base.limit, base.check = maxZip, checkZip
	if !strings.HasPrefix(base.url, "file:") {
		done, changed, err := s.osvChanges(ctx, f, base)
		if done || ctx.Err() != nil {
			return changed, err
		}
	}
	d, ok, changed, err := s.fetch.get(ctx, base)
	if ok {
		f.files = []download{d}
		if err := s.rebase(f, d, err == nil); err != nil {
			return false, err
		}
	}
	return changed, err
}

// osvTarget is one file of the ecosystem.
func (s *syncer) osvTarget(f *feed, name string) (target, error) {
	address, err := url.JoinPath(f.source.URL, f.ecosystem, name)
	if err != nil {
		return target{}, fmt.Errorf("make URL of %s: %w", f.ecosystem, err)
	}
	return target{url: address, path: filepath.Join(s.dir(f), name), progress: s.report(f, "download")}, nil
}

// checkZip refuses what holds no readable record, before it takes the place of
// a dump that does.
func checkZip(path string) (err error) {
	z, err := openZip(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.close()) }()
	unpacker := zipUnpacker{zip: z}
	tried, found := 0, false
	for entry, err := range z.entries() {
		if err != nil {
			return err
		}
		if !entry.isRecord() || found || tried == zipSample {
			continue // the directory is read to its end all the same
		}
		tried++
		raw, err := unpacker.read(entry)
		if err != nil {
			continue
		}
		_, err = advisory.FromOSV(raw)
		found = err == nil
	}
	if !found {
		return fmt.Errorf("none of %d records tried can be read", tried)
	}
	return nil
}

// addOSV puts all records of a dump into the builder, parsing on all cores.
// Errors of single records are counted; the error returned is of the whole
// dump, or fatal.
func (s *syncer) addOSV(ctx context.Context, b *advisory.Builder, f *feed, t *tally) (err error) {
	z, err := openZip(f.files[0].path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.close()) }()
	entries := make(chan zipEntry, 64)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(entries)
		return s.sendEntries(ctx, z, f, entries)
	})
	var unpacked atomic.Int64
	for range min(runtime.GOMAXPROCS(0), maxWorkers) {
		group.Go(func() error {
			unpacker := zipUnpacker{zip: z}
			for entry := range entries {
				raw, err := unpacker.read(entry)
				if err != nil {
					t.skip()
					continue
				}
				if unpacked.Add(int64(len(raw))) > maxUnpacked {
					return fmt.Errorf("records of more than %d bytes", int64(maxUnpacked))
				}
				if err := addRecord(b, f, t, raw); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// sendEntries gives the records of a dump to those who parse them.
func (s *syncer) sendEntries(ctx context.Context, z *zipFile, f *feed, entries chan<- zipEntry) error {
	report := s.report(f, "index")
	done := int64(0)
	for entry, err := range z.entries() {
		if err != nil {
			return err
		}
		if done%reportRecord == 0 {
			report(done, int64(z.count))
		}
		done++
		if !entry.isRecord() {
			continue
		}
		select {
		case entries <- entry:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	report(done, done)
	return nil
}

// addRecord puts one record into the builder, or counts it as skipped. Its error
// is fatal.
func addRecord(b *advisory.Builder, f *feed, t *tally, raw []byte) error {
	advisories, id, modified, err := parseRecord(f, raw)
	if err != nil {
		t.skip()
		return nil
	}
	if err := b.Note(id, modified, t.note(advisories)); err != nil {
		return &fatalError{err}
	}
	t.seen(modified)
	if err := t.add(b, advisories); err != nil {
		return &fatalError{err}
	}
	return nil
}

// parseRecord gives what a record says of the ecosystems that the source is
// asked for; it names packages of others too.
func parseRecord(f *feed, raw []byte) (advisories []advisory.Advisory, id string, modified time.Time, err error) {
	advisories, err = advisory.FromOSV(raw)
	switch {
	case err != nil:
		return nil, "", modified, err
	case len(advisories) > 0:
		id, modified = advisories[0].ID, advisories[0].Modified
	default:
		if id, modified, err = advisory.IdentifyOSV(raw); err != nil {
			return nil, "", modified, err
		}
	}
	wanted := f.source.ecosystems()
	advisories = slices.DeleteFunc(advisories, func(a advisory.Advisory) bool {
		return !slices.Contains(wanted, pkgver.Base(a.Ecosystem))
	})
	return advisories, id, modified, nil
}
