package feeds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/klauspost/compress/gzip"

	"github.com/pratique/pratique/engine/advisory"
)

// single is a kind of source that is one file.
type single struct {
	name  string // stands where an osv feed has its ecosystem
	limit int64  // bytes as downloaded
	check func(path string) error
	add   func(ctx context.Context, b *advisory.Builder, path string, t *tally) error
}

// singles are the kinds by their type in the configuration.
var singles = map[string]single{
	typeKEV:     {"KEV", 256 << 20, checkKEV, addKEV},
	typeEPSS:    {"EPSS", 256 << 20, checkEPSS, addEPSS},
	typeSecDB:   {"secdb", 512 << 20, checkSecDB, addSecDB},
	typeTracker: {"Debian tracker", 2 << 30, checkTracker, addTracker},
}

// singleFile brings the one file of a source up to date.
func (s *syncer) singleFile(ctx context.Context, f *feed) (changed bool, err error) {
	kind := singles[f.source.kind()]
	d, ok, changed, err := s.fetch.get(ctx, target{
		url: f.source.URL, path: filepath.Join(s.dir(f), path.Base(f.source.URL)), limit: kind.limit,
		check: kind.check, progress: s.report(f, "download"),
	})
	if ok {
		f.files = []download{d}
	}
	return changed, err
}

// addSingle puts the one file of a source into the builder.
func (s *syncer) addSingle(ctx context.Context, b *advisory.Builder, f *feed, t *tally) error {
	report := s.report(f, "index")
	report(0, 0)
	if err := singles[f.source.kind()].add(ctx, b, f.files[0].path, t); err != nil {
		return err
	}
	report(int64(t.records), int64(t.records))
	return nil
}

// maxUnpackedSingle bounds what one file unpacks to, in bytes.
const maxUnpackedSingle = 4 << 30

// openSingle opens a file, through gzip if it is compressed by it.
func openSingle(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open feed file: %w", err)
	}
	head := make([]byte, 2)
	n, _ := f.ReadAt(head, 0)
	if n < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("not a gzip file: %w", err), f.Close())
	}
	return &unzipped{io.LimitReader(z, maxUnpackedSingle), f}, nil
}

type unzipped struct {
	io.Reader
	file io.Closer
}

func (u *unzipped) Close() error { return u.file.Close() }

// readSingle reads a file whole, within a bound.
func readSingle(file string, limit int64) (raw []byte, err error) {
	r, err := openSingle(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if raw, err = io.ReadAll(io.LimitReader(r, limit+1)); err != nil {
		return nil, fmt.Errorf("read feed file: %w", err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("feed file of more than %d bytes", limit)
	}
	return raw, nil
}

// addAll counts and adds advisories of one release or more.
func (t *tally) addAll(b *advisory.Builder, all []advisory.Advisory) error {
	for i := range all {
		if err := t.add(b, all[i:i+1]); err != nil {
			return &fatalError{err}
		}
	}
	return nil
}
