package advisory

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Builder makes one index file, or one segment to make index files from. What
// comes is sorted on disk: memory does not grow with the number of advisories
// or packages, only with the largest package. One builder at a time may work on
// a directory. Add, AddScore and Note are safe for concurrent use. Finish, Save
// or Abort ends it.
type Builder struct {
	dir      string
	segments []*segment
	carried  []source
	old      *Index // values that did not change are copied from it; may be nil
	coverage []Coverage

	mu     sync.Mutex        // held while a record is added
	sorter *sorter           // nil once ended
	epss   map[string][]byte // by key; see exploit.go
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
	return &Builder{dir: dir, sorter: newSorter(dir)}, nil
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
	if key.Ecosystem == "" || a.ID == "" || len(a.ID) > maxID || strings.IndexByte(a.ID, 0) >= 0 {
		return fmt.Errorf("%w: advisory %.64q without ecosystem, or its id", errBadKey, a.ID)
	}
	return b.put(newRecord(key, a))
}

func newRecord(key Key, a Advisory) record {
	return record{key: sortKey(key, a.ID), rank: timeRank(a.Modified), part: encodeValue([]Advisory{a})}
}

// AddScore takes what NVD says of one CVE. Of several for one CVE the one with
// the highest base score stays.
func (b *Builder) AddScore(s Score) error {
	key := Key{Package: s.CVE}
	if err := key.check(); err != nil {
		return err
	}
	if !(s.Base >= 0 && s.Base <= 10) || math.Signbit(s.Base) {
		return fmt.Errorf("score of %.64s out of bounds: %v", s.CVE, s.Base)
	}
	return b.put(record{key: sortKey(key, ""), rank: scoreRank(s), part: encodeScore(s)})
}

func scoreRank(s Score) uint64 { return math.Float64bits(s.Base) }

// SetCoverage says what the index has. Synced is not part of the content: it
// does not change the digest.
func (b *Builder) SetCoverage(coverage []Coverage) {
	b.coverage = slices.Clone(coverage)
	slices.SortFunc(b.coverage, func(x, y Coverage) int {
		return cmp.Or(strings.Compare(x.Ecosystem, y.Ecosystem), strings.Compare(x.Source, y.Source))
	})
}

// timeRank orders times of whole seconds as unsigned numbers.
func timeRank(t time.Time) uint64 { return uint64(t.Unix()) ^ 1<<63 }

func rankTime(rank uint64) time.Time { return time.Unix(int64(rank^1<<63), 0).UTC() }

func (b *Builder) put(r record) error {
	if len(r.part) > maxPart {
		return fmt.Errorf("advisory of %d bytes", len(r.part))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sorter == nil {
		return fmt.Errorf("write vulnerability index: %w", os.ErrClosed)
	}
	return b.sorter.add(r)
}

// Reuse lets Finish copy the values that did not change from an older index,
// which stays open until then. The new file is the same with and without.
func (b *Builder) Reuse(old *Index) { b.old = old }

// Finish writes the file, syncs it and gives it its name. If the newest file of
// the directory has the same content already, that one is kept and returned.
func (b *Builder) Finish(sequence uint64, built time.Time) (path string, rev Revision, err error) {
	defer func() { err = errors.Join(err, b.Abort()) }()
	if err := b.putEPSS(); err != nil {
		return "", rev, err
	}
	w, err := newWriter(b.dir)
	if err != nil {
		return "", rev, err
	}
	defer func() { err = errors.Join(err, w.discard()) }()
	if err := b.write(w); err != nil {
		return "", rev, fmt.Errorf("write index entries: %w", err)
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

// write merges all that there is into the entries of the file.
func (b *Builder) write(w *writer) error {
	if b.sorter == nil {
		return os.ErrClosed
	}
	sources, err := b.sorter.sources()
	if err != nil {
		return err
	}
	for _, s := range b.segments {
		sources = append(sources, s)
	}
	m, err := newMerger(append(sources, b.carried...))
	if err != nil {
		return err
	}
	a := assembler{w: w, old: reuse{index: b.old}}
	for {
		rec, err := m.next()
		if errors.Is(err, io.EOF) {
			return a.flush()
		}
		if err == nil {
			err = a.add(rec)
		}
		if err != nil {
			return err
		}
	}
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

// Abort ends the builder and leaves the directory as it was. It is harmless
// after Finish and Save.
func (b *Builder) Abort() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, s := range b.segments {
		errs = append(errs, s.close())
	}
	b.segments = nil
	if b.sorter != nil {
		errs = append(errs, b.sorter.close())
		b.sorter = nil
	}
	return errors.Join(errs...)
}
