package feeds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/pratique/pratique/engine/advisory"
)

// nvdName stands where an osv feed has its ecosystem.
const nvdName = "NVD"

// Limits of one yearly file.
const (
	nvdFirstYear   = 2002
	maxNVD         = 1 << 30 // bytes as downloaded
	maxNVDUnpacked = 8 << 30
)

// nvdFiles brings the yearly files up to date. After the first one that fails
// the others are taken as they are here.
func (s *syncer) nvdFiles(ctx context.Context, f *feed) (changed bool, err error) {
	single := strings.HasSuffix(f.source.URL, ".json.gz")
	local := strings.HasPrefix(f.source.URL, "file:")
	var failed error
	for year := nvdFirstYear; year <= s.now.Year(); year++ {
		t, err := s.nvdTarget(f, single, year)
		if err != nil {
			return false, err
		}
		var d download
		var ok, news bool
		if failed == nil {
			d, ok, news, err = s.fetch.get(ctx, t)
		} else {
			d, ok = readState(t)
		}
		switch {
		case errors.Is(err, errNotThere) && !single:
			if !local {
				s.res.Warnings = append(s.res.Warnings, fmt.Sprintf("%s: no file of the year %d", f.source.Name, year))
			}
		case err != nil:
			failed = err
		}
		if ok {
			f.files = append(f.files, d)
		}
		changed = changed || news
		if single {
			break
		}
	}
	if failed == nil && len(f.files) == 0 {
		failed = fmt.Errorf("%s: %w", f.source.URL, errNotThere)
	}
	return changed, failed
}

// nvdTarget is the file of one year, or the single file that the source names.
func (s *syncer) nvdTarget(f *feed, single bool, year int) (target, error) {
	address := f.source.URL
	if !single {
		var err error
		if address, err = url.JoinPath(f.source.URL, fmt.Sprintf("nvdcve-2.0-%d.json.gz", year)); err != nil {
			return target{}, fmt.Errorf("make URL of %d: %w", year, err)
		}
	}
	return target{
		url:      address,
		path:     filepath.Join(s.dir(f), path.Base(address)),
		limit:    maxNVD,
		check:    checkNVD,
		progress: s.report(f, "download"),
	}, nil
}

// checkNVD reads a file to its end.
func checkNVD(path string) error {
	return eachCVE(path, func([]byte) error { return nil })
}

// addNVD puts the scores of all yearly files into the builder.
func (s *syncer) addNVD(ctx context.Context, b *advisory.Builder, f *feed, t *tally) error {
	report := s.report(f, "index")
	done := int64(0)
	for _, file := range f.files {
		err := eachCVE(file.path, func(raw []byte) error {
			if done++; done%reportRecord == 0 {
				report(done, 0)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return addCVE(b, t, raw)
		})
		if err != nil {
			return err
		}
	}
	report(done, done)
	return nil
}

// addCVE puts the score of one CVE into the builder, and what it says of products
// that are matched by CPE. Its error is fatal.
func addCVE(b *advisory.Builder, t *tally, raw []byte) error {
	score, scored, err := advisory.FromNVD(raw)
	t.seen(score.Modified)
	if err != nil {
		t.skipped++
		return nil
	}
	if scored {
		if err := b.AddScore(score); err != nil {
			return &fatalError{err}
		}
	}
	products, err := advisory.FromNVDProducts(raw)
	switch {
	case err != nil:
		t.skipped++
	case len(products) > 0:
		if err := t.add(b, products); err != nil {
			return &fatalError{err}
		}
	case scored:
		t.records++
	}
	return nil
}

// eachCVE calls visit with each element of the array "vulnerabilities" of a
// gzipped feed file. One element at a time is in memory.
func eachCVE(path string, visit func(raw []byte) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open NVD file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("not a gzip file: %w", err)
	}
	r := &rationed{r: unpacked, left: ration, total: maxNVDUnpacked}
	dec := json.NewDecoder(r)
	found := false
	if err := expect(dec, '{'); err != nil {
		return err
	}
	for dec.More() {
		r.renew()
		name, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read NVD file: %w", err)
		}
		if name == "vulnerabilities" {
			found = true
			err = eachElement(dec, r, visit)
		} else {
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
		}
		if err != nil {
			return fmt.Errorf("read NVD file: %w", err)
		}
	}
	if err := expect(dec, '}'); err != nil {
		return err
	}
	if !found {
		return errors.New("NVD file without vulnerabilities")
	}
	r.renew()
	// To the end of the stream, where gzip has its checksum.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("read NVD file: %w", err)
	}
	return nil
}

func eachElement(dec *json.Decoder, r *rationed, visit func(raw []byte) error) error {
	if err := expect(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		r.renew()
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if err := visit(raw); err != nil {
			return err
		}
	}
	return expect(dec, ']')
}

func expect(dec *json.Decoder, want json.Delim) error {
	got, err := dec.Token()
	if err != nil {
		return fmt.Errorf("read NVD file: %w", err)
	}
	if got != want {
		return fmt.Errorf("NVD file has %v in place of %v", got, want)
	}
	return nil
}

// rationed bounds what may be read for one JSON value, since the decoder holds
// a whole value in memory, and in total.
type rationed struct {
	r     io.Reader
	left  int64
	total int64
}

// ration is for one record and what the decoder reads ahead.
const ration = 4 * advisory.MaxRecord

func (r *rationed) renew() { r.left = ration }

func (r *rationed) Read(b []byte) (int, error) {
	if r.left <= 0 || r.total <= 0 {
		return 0, errors.New("JSON value or file too large")
	}
	n, err := r.r.Read(b[:min(int64(len(b)), r.left)])
	r.left -= int64(n)
	r.total -= int64(n)
	return n, err
}
