package feeds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pratique/pratique/engine/advisory"
)

// csafName stands where an osv feed has its ecosystem.
const csafName = "CSAF"

// A folder of CSAF documents has one file for each CVE, changes.csv and
// deletions.csv with the time of each change, and an archive of them all: Red
// Hat's stands in the folder under the name that archive_latest.txt gives, SUSE's
// beside the folder.
const (
	latestName    = "archive_latest.txt"
	archiveName   = "archive.tar" // as it is kept here
	archiveSuffix = ".tar.bz2"
	maxLatest     = 4 << 10 // bytes
	maxArchive    = 8 << 30
	// archiveOverlap is how much older than the archive a change may be and is
	// still fetched: an archive takes hours to make.
	archiveOverlap = 24 * time.Hour
)

// archiveForm is a name that archive_latest.txt may give.
var archiveForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.tar(\.[a-z0-9]{2,4})?$`)

// csafFiles brings a folder of documents up to date: by single documents where
// the list of changes allows it, else by the whole archive.
func (s *syncer) csafFiles(ctx context.Context, f *feed) (changed bool, err error) {
	d, ok := readState(s.csafTarget(f, archiveName))
	state := s.readChanges(f)
	if ok && state.Base == d.SHA256 && state.Rules == rules {
		f.files, f.overlay = []download{d}, state.Overlay
		changed, err := s.csafChanges(ctx, f, state)
		switch {
		case errors.Is(err, errTooMany) || errors.Is(err, errNotThere):
			return s.csafArchive(ctx, f, state, err)
		case !errors.Is(err, errOverlay):
			return changed, err
		}
	}
	return s.csafArchive(ctx, f, state, nil)
}

func (s *syncer) csafTarget(f *feed, name string) target {
	return target{path: filepath.Join(s.dir(f), name), progress: s.report(f, "download")}
}

// csafArchive takes the archive, and then what changed since it was made. cause
// is why the one that is here was not enough; nil when what is here is not to be
// relied on.
func (s *syncer) csafArchive(ctx context.Context, f *feed, state changeState, cause error) (changed bool, err error) {
	t := s.csafTarget(f, archiveName)
	t.limit, t.check = maxArchive, checkCSAF
	var d download
	var ok bool
	if t.url, err = s.archiveURL(ctx, f); err == nil {
		d, ok, changed, err = s.fetch.get(ctx, t)
	} else {
		d, ok = readState(t)
	}
	if ok {
		f.files = []download{d}
	}
	switch {
	case err != nil:
		return false, err
	case cause != nil && state.Base == d.SHA256:
		s.behind(f, cause)
		return false, nil
	}
	state = changeState{Base: d.SHA256, Checked: s.now, Rules: rules, Since: s.archiveTime(d).Add(-archiveOverlap)}
	f.overlay = overlayRef{}
	if err := s.writeChanges(f, state); err != nil {
		return changed, err
	}
	more, err := s.csafChanges(ctx, f, state)
	if errors.Is(err, errTooMany) || errors.Is(err, errNotThere) {
		s.behind(f, err)
		err = nil
	}
	return changed || more, err
}

// behind tells that changes are known and cannot be had before the next archive.
func (s *syncer) behind(f *feed, cause error) {
	if errors.Is(cause, errTooMany) {
		s.res.Warnings = append(s.res.Warnings, fmt.Sprintf("%s: %v; they come with the next archive", f.source.Name, cause))
	}
}

// archiveURL is where the newest archive is.
func (s *syncer) archiveURL(ctx context.Context, f *feed) (string, error) {
	t := s.csafTarget(f, latestName)
	var err error
	if t.url, err = url.JoinPath(f.source.URL, latestName); err != nil {
		return "", fmt.Errorf("make URL of the newest archive: %w", err)
	}
	t.limit, t.check = maxLatest, func(path string) error { _, err := readLatest(path); return err }
	d, _, _, err := s.fetch.get(ctx, t)
	if errors.Is(err, errNotThere) {
		return strings.TrimSuffix(f.source.URL, "/") + archiveSuffix, nil
	}
	if err != nil {
		return "", err
	}
	name, err := readLatest(d.path)
	if err != nil {
		return "", err
	}
	return url.JoinPath(f.source.URL, name)
}

func readLatest(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read name of the newest archive: %w", err)
	}
	name := strings.TrimSpace(string(b))
	if !archiveForm.MatchString(name) {
		return "", fmt.Errorf("name of the newest archive: %.64q", name)
	}
	return name, nil
}

// dayForm is the day in the name of Red Hat's archive.
var dayForm = regexp.MustCompile(`\d{4}-\d{2}-\d{2}`)

// archiveTime is when an archive was made, as far as it can be known: by its
// name, or by when the file last changed.
func (s *syncer) archiveTime(d download) time.Time {
	if day, err := time.Parse(time.DateOnly, dayForm.FindString(filepath.Base(d.URL))); err == nil {
		return day
	}
	if t, err := http.ParseTime(d.LastModified); err == nil {
		return t
	}
	_, stamp, _ := strings.Cut(d.LastModified, " ") // of a local file
	if t, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
		return t
	}
	return s.now
}

// checkCSAF refuses an archive that holds no readable document, before it takes
// the place of one that does.
func checkCSAF(path string) error {
	tried := 0
	err := eachDocument(context.Background(), path, func(raw []byte, _ error) error {
		if _, err := advisory.FromCSAF(raw); err == nil {
			return errEnough
		}
		if tried++; tried == zipSample {
			return fmt.Errorf("none of %d documents tried can be read", tried)
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err == nil:
		return errors.New("an archive without CSAF documents")
	}
	return err
}

// errEnough ends the walk of an archive.
var errEnough = errors.New("enough was seen")

// addCSAF puts what all documents of the archive say into the builder, parsing
// on all cores.
func (s *syncer) addCSAF(ctx context.Context, b *advisory.Builder, f *feed, t *tally) error {
	group, ctx := errgroup.WithContext(ctx)
	documents := make(chan []byte)
	budget := newBudget(parseBudget)
	group.Go(func() error {
		defer close(documents)
		report := s.report(f, "index")
		done := int64(0)
		err := eachDocument(ctx, f.files[0].path, func(raw []byte, err error) error {
			if done++; done%reportRecord == 0 {
				report(done, 0)
			}
			if err != nil {
				t.skip()
				return nil
			}
			if err := budget.take(ctx, len(raw)); err != nil {
				return err
			}
			select {
			case documents <- append([]byte(nil), raw...):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		report(done, done)
		return err
	})
	for range min(runtime.GOMAXPROCS(0), maxWorkers) {
		group.Go(func() error {
			for raw := range documents {
				err := addDocument(b, t, raw)
				budget.give(len(raw))
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// addDocument puts one document into the builder, or counts it as skipped. Its
// error is fatal.
func addDocument(b *advisory.Builder, t *tally, raw []byte) error {
	doc, err := advisory.FromCSAF(raw)
	if err != nil {
		t.skip()
		return nil
	}
	t.missed(doc.Unclear, doc.Example)
	if err := b.Note(doc.ID, doc.Modified, t.note(doc.Advisories)); err != nil {
		return &fatalError{err}
	}
	if err := t.add(b, doc.Advisories); err != nil {
		return &fatalError{err}
	}
	return nil
}

// csafRecord is a single document as an overlay keeps it.
type csafRecord struct {
	Advisories []advisory.Advisory `json:"advisories"`
	Unclear    int                 `json:"unclear,omitempty"`
	Example    string              `json:"example,omitempty"`
}

// csafAdvisories reads a csafRecord.
func csafAdvisories(raw []byte, t *tally) ([]advisory.Advisory, error) {
	var r csafRecord
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	t.missed(r.Unclear, r.Example)
	return r.Advisories, nil
}
