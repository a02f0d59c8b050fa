package feeds

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

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
)

// osvFiles brings the dump of one ecosystem up to date. The list of changes
// beside it (modified_id.csv) is not asked: the publisher does not renew the
// two at one moment, so it cannot prove that the dump is current.
func (s *syncer) osvFiles(ctx context.Context, f *feed) (changed bool, err error) {
	address, err := url.JoinPath(f.source.URL, f.ecosystem, "all.zip")
	if err != nil {
		return false, fmt.Errorf("make URL of %s: %w", f.ecosystem, err)
	}
	d, ok, changed, err := s.fetch.get(ctx, target{
		url:      address,
		path:     filepath.Join(s.dir(f), "all.zip"),
		limit:    maxZip,
		check:    checkZip,
		progress: s.report(f, "download"),
	})
	if ok {
		f.files = []download{d}
	}
	return changed, err
}

// checkZip refuses what holds no readable record, before it takes the place of
// a dump that does.
func checkZip(path string) (err error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("not a whole zip file: %w", err)
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	if len(z.File) > maxZipFiles {
		return fmt.Errorf("zip of %d files", len(z.File))
	}
	var buf bytes.Buffer
	tried := 0
	for _, entry := range z.File {
		if !isRecord(entry) {
			continue
		}
		if tried++; tried > zipSample {
			break
		}
		if readEntry(entry, &buf) != nil {
			continue
		}
		if _, err := advisory.FromOSV(buf.Bytes()); err == nil {
			return nil
		}
	}
	return fmt.Errorf("none of %d records tried can be read", min(tried, zipSample))
}

// addOSV puts all records of a feed into the builder. Errors of single records
// are counted; the error returned is of the whole dump, or fatal.
func (s *syncer) addOSV(ctx context.Context, b *advisory.Builder, f *feed, t *tally) (err error) {
	z, err := zip.OpenReader(f.files[0].path)
	if err != nil {
		return fmt.Errorf("open dump: %w", err)
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	report := s.report(f, "index")
	wanted := f.source.ecosystems()
	var buf bytes.Buffer
	unpacked := int64(0)
	for i, entry := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i%reportRecord == 0 {
			report(int64(i), int64(len(z.File)))
		}
		if !isRecord(entry) {
			continue
		}
		if err := readEntry(entry, &buf); err != nil {
			t.skipped++
			continue
		}
		if unpacked += int64(buf.Len()); unpacked > maxUnpacked {
			return fmt.Errorf("records of more than %d bytes", int64(maxUnpacked))
		}
		advisories, err := advisory.FromOSV(buf.Bytes())
		if err != nil {
			t.skipped++
			continue
		}
		// A record names packages of other ecosystems too, some not asked for.
		advisories = slices.DeleteFunc(advisories, func(a advisory.Advisory) bool {
			return !slices.Contains(wanted, pkgver.Base(a.Ecosystem))
		})
		if err := t.add(b, advisories); err != nil {
			return &fatalError{err}
		}
	}
	report(int64(len(z.File)), int64(len(z.File)))
	return nil
}

func isRecord(entry *zip.File) bool {
	return !entry.FileInfo().IsDir() && strings.HasSuffix(entry.Name, ".json")
}

// readEntry reads one record, within its limit, into buf.
func readEntry(entry *zip.File, buf *bytes.Buffer) (err error) {
	if entry.UncompressedSize64 > advisory.MaxRecord {
		return fmt.Errorf("%w: %s has %d bytes", advisory.ErrBadRecord, entry.Name, entry.UncompressedSize64)
	}
	r, err := entry.Open()
	if err != nil {
		return fmt.Errorf("open record: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(r, advisory.MaxRecord+1)); err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	return nil
}
