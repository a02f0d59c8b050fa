package advisory

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Builder makes one index file. Values go to an unnamed spool file as they come;
// memory holds keys and offsets alone. One builder at a time may work on a
// directory; it is not safe for concurrent use. Finish or Abort ends it.
type Builder struct {
	dir      string
	spool    *spool
	refs     map[Key][]spooled
	coverage []Coverage
	epss     map[string][]byte // by key; see exploit.go
}

// Limits of one index: the format counts keys and their bytes in 32 bits.
const (
	maxKeys     = 50_000_000
	maxKeyBytes = math.MaxUint32
)

// Names of unfinished files.
const (
	tempPrefix  = ".vulndb-"
	tempSuffix  = ".tmp"
	tempPattern = tempPrefix + "*" + tempSuffix
)

// NewBuilder starts an index in dir, which is made if need be. What an
// interrupted builder left there is removed.
func NewBuilder(dir string) (*Builder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory of the vulnerability index: %w", err)
	}
	if err := removeStale(dir); err != nil {
		return nil, err
	}
	s, err := newSpool(dir)
	if err != nil {
		return nil, err
	}
	return &Builder{dir: dir, spool: s, refs: map[Key][]spooled{}}, nil
}

// removeStale removes what killed builders left.
func removeStale(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for interrupted builds: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove interrupted build: %w", err)
		}
	}
	return nil
}

// Add takes one advisory. Of several with one ID about one package those with
// the newest Modified stay, because an OSV record is published in the dump of
// each ecosystem that it names and the dumps differ in age.
func (b *Builder) Add(a Advisory) error {
	key := Key{Ecosystem: a.Ecosystem, Package: NormalizeName(a.Ecosystem, a.Package)}
	if err := key.check(); err != nil {
		return err
	}
	if key.Ecosystem == "" || a.ID == "" {
		return fmt.Errorf("%w: advisory %.64q without id or ecosystem", errBadKey, a.ID)
	}
	return b.put(key, encodeValue([]Advisory{a}))
}

// AddScore takes what NVD says of one CVE. Of several for one CVE the one with
// the highest base score stays.
func (b *Builder) AddScore(s Score) error {
	key := Key{Package: s.CVE}
	if err := key.check(); err != nil {
		return err
	}
	if !(s.Base >= 0 && s.Base <= 10) {
		return fmt.Errorf("score of %.64s out of bounds: %v", s.CVE, s.Base)
	}
	return b.put(key, encodeScore(s))
}

// SetCoverage says what the index has. Synced is not part of the content: it
// does not change the digest.
func (b *Builder) SetCoverage(coverage []Coverage) {
	b.coverage = slices.Clone(coverage)
	slices.SortFunc(b.coverage, func(x, y Coverage) int {
		return cmp.Or(strings.Compare(x.Ecosystem, y.Ecosystem), strings.Compare(x.Source, y.Source))
	})
}

func (b *Builder) put(key Key, value []byte) error {
	if len(b.refs) >= maxKeys {
		return fmt.Errorf("more than %d packages in the vulnerability data", maxKeys)
	}
	ref, err := b.spool.put(value)
	if err != nil {
		return err
	}
	b.refs[key] = append(b.refs[key], ref)
	return nil
}

// Finish writes the file, syncs it and gives it its name. If the newest file of
// the directory has the same content already, that one is kept and returned.
func (b *Builder) Finish(sequence uint64, built time.Time) (path string, rev Revision, err error) {
	defer func() { err = errors.Join(err, b.Abort()) }()
	if err := b.putEPSS(); err != nil {
		return "", rev, err
	}
	keys := make([]Key, 0, len(b.refs))
	for key := range b.refs {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y Key) int {
		return cmp.Or(strings.Compare(x.Ecosystem, y.Ecosystem), strings.Compare(x.Package, y.Package))
	})
	w, err := newWriter(b.dir)
	if err != nil {
		return "", rev, err
	}
	defer func() { err = errors.Join(err, w.discard()) }()
	for _, key := range keys {
		value, err := b.value(key)
		if err == nil {
			err = w.put(key, value)
		}
		if err != nil {
			return "", rev, fmt.Errorf("write index entry of %s %s: %w", key.Ecosystem, key.Package, err)
		}
	}
	h, err := w.finish(b.coverage, sequence, built)
	if err != nil {
		return "", rev, err
	}
	if same, rev, ok := newestEqual(b.dir, h); ok {
		return same, rev, nil
	}
	path = filepath.Join(b.dir, h.fileName())
	return path, h.revision(), w.commit(path)
}

// newestEqual finds the newest file if it holds what h describes.
func newestEqual(dir string, h header) (path string, rev Revision, ok bool) {
	files, err := indexFiles(dir)
	if err != nil || len(files) == 0 {
		return "", rev, false
	}
	ix, err := Open(files[0].path)
	if err != nil {
		return "", rev, false // damaged: the new file takes its place
	}
	rev = ix.Revision()
	same := rev.Digest == h.revision().Digest
	return files[0].path, rev, ix.Close() == nil && same
}

// value joins what was spooled for a key, in an order that does not depend on
// the order of Add.
func (b *Builder) value(key Key) ([]byte, error) {
	var parts [][]byte
	for _, ref := range b.refs[key] {
		part, err := b.spool.get(ref)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	slices.SortFunc(parts, bytes.Compare)
	parts = slices.CompactFunc(parts, bytes.Equal)
	switch {
	case key.Ecosystem != "":
	case isExploit(key.Package):
		return parts[len(parts)-1], nil
	default:
		return highest(key.Package, parts)
	}
	newest := map[string]time.Time{}
	var all []Advisory
	for _, part := range parts {
		decoded, err := decodeValue(key.Ecosystem, part)
		if err != nil {
			return nil, err
		}
		for _, a := range decoded {
			if at, ok := newest[a.ID]; !ok || a.Modified.After(at) {
				newest[a.ID] = a.Modified
			}
			all = append(all, a)
		}
	}
	all = slices.DeleteFunc(all, func(a Advisory) bool { return a.Modified.Before(newest[a.ID]) })
	slices.SortStableFunc(all, func(x, y Advisory) int { return strings.Compare(x.ID, y.ID) })
	return encodeValue(all), nil
}

func highest(cve string, parts [][]byte) (best []byte, err error) {
	top := -1.0
	for _, part := range parts {
		s, err := decodeScore(cve, part)
		if err != nil {
			return nil, err
		}
		if s.Base > top {
			best, top = part, s.Base
		}
	}
	return best, nil
}

// Abort ends the builder and leaves the directory as it was. It is harmless
// after Finish.
func (b *Builder) Abort() error {
	b.refs = nil
	return b.spool.close()
}
