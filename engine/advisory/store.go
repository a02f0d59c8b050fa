package advisory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Store hands out the newest index of a directory while another process may put
// newer ones there. It is safe for concurrent use. It reads, and removes
// old files.
type Store struct {
	dir    string
	reload sync.Mutex // held by Reload, so that an older index never follows a newer one

	mu      sync.Mutex
	current *shared // nil: no index yet
	status  Status
}

// shared is an index with the count of those who use it: the store for as long
// as it is the current one, and each snapshot. refs is guarded by Store.mu.
type shared struct {
	index *Index
	path  string
	refs  int
}

// OpenStore opens a directory, makes it if need be, and loads the newest index
// that is whole. No index is no error: there is none before the first sync. A
// damaged file is reported by the next Reload.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open vulnerability data: %w", err)
	}
	s := &Store{dir: dir}
	files, err := indexFiles(dir)
	if err != nil {
		return nil, err
	}
	s.load(files)
	if status, err := ReadStatus(dir); err == nil {
		s.status = status
	}
	return s, nil
}

// Current hands out the index in force, to be released after use; false when
// there is none yet.
func (s *Store) Current() (*Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, false
	}
	s.current.refs++
	return &Snapshot{store: s, shared: s.current, feeds: s.status.Feeds}, true
}

// Reload looks for a newer revision and for newer sync times, and reports
// whether the revision changed. A newer file that is damaged is reported as an
// error; what was in force stays in force.
func (s *Store) Reload(ctx context.Context) (changed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.reload.Lock()
	defer s.reload.Unlock()
	files, err := indexFiles(s.dir)
	if err != nil {
		return false, err
	}
	changed, err = s.load(files)
	status, statusErr := ReadStatus(s.dir)
	if statusErr == nil {
		s.mu.Lock()
		s.status = status
		s.mu.Unlock()
	}
	return changed, errors.Join(err, statusErr, Prune(s.dir))
}

// load opens the newest file that is whole, unless it is the current one.
func (s *Store) load(files []indexFile) (changed bool, err error) {
	current := s.path()
	var errs []error
	for _, file := range files {
		if file.path == current {
			break
		}
		index, err := Open(file.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.swap(&shared{index: index, path: file.path, refs: 1})
		changed = true
		break
	}
	return changed, errors.Join(errs...)
}

func (s *Store) path() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return ""
	}
	return s.current.path
}

func (s *Store) swap(next *shared) {
	s.mu.Lock()
	old := s.current
	s.current = next
	s.mu.Unlock()
	if old != nil {
		s.release(old)
	}
}

// release gives back one use and closes the index with the last one. An error
// of unmapping changes nothing for anybody: the memory stays mapped.
func (s *Store) release(sh *shared) {
	s.mu.Lock()
	sh.refs--
	last := sh.refs == 0
	s.mu.Unlock()
	if last {
		_ = sh.index.Close()
	}
}

// Close gives up the current index; snapshots stay good until released.
func (s *Store) Close() error {
	s.swap(nil)
	return nil
}

// Snapshot is the index that was in force when it was taken. It stays whole
// until Release, whatever is loaded meanwhile.
type Snapshot struct {
	store   *Store
	shared  *shared
	feeds   []FeedStatus // as of the time it was taken; never changed
	release sync.Once
}

// Index gives the index itself, for Diff. It must not be closed or used after
// Release.
func (sn *Snapshot) Index() *Index { return sn.shared.index }

// Lookup is Index.Lookup.
func (sn *Snapshot) Lookup(ecosystem, pkg string) ([]Advisory, error) {
	return sn.shared.index.Lookup(ecosystem, pkg)
}

// Score is Index.Score.
func (sn *Snapshot) Score(cve string) (Score, bool, error) { return sn.shared.index.Score(cve) }

// CVE is Index.CVE.
func (sn *Snapshot) CVE(cve string) (CVEFacts, bool, error) { return sn.shared.index.CVE(cve) }

// Revision is Index.Revision.
func (sn *Snapshot) Revision() Revision { return sn.shared.index.Revision() }

// Covers is Index.Covers with Synced from the newest sync.
func (sn *Snapshot) Covers(ecosystem string) (Coverage, bool) {
	c, ok := sn.shared.index.Covers(ecosystem)
	return sn.synced(c), ok
}

// Coverages is Index.Coverages with Synced from the newest sync.
func (sn *Snapshot) Coverages() []Coverage {
	coverages := sn.shared.index.Coverages()
	for i, c := range coverages {
		coverages[i] = sn.synced(c)
	}
	return coverages
}

func (sn *Snapshot) synced(c Coverage) Coverage {
	if f, ok := FeedOf(sn.feeds, c); ok && f.Synced.After(c.Synced) {
		c.Synced = f.Synced
	}
	return c
}

// Synced is when the feed that has been waiting longest for a successful sync
// last had one; zero when one never had.
func (sn *Snapshot) Synced() time.Time {
	var oldest time.Time
	for i, c := range sn.Coverages() {
		if i == 0 || c.Synced.Before(oldest) {
			oldest = c.Synced
		}
	}
	return oldest
}

// Release gives the snapshot back; a second call does nothing.
func (sn *Snapshot) Release() { sn.release.Do(func() { sn.store.release(sn.shared) }) }
