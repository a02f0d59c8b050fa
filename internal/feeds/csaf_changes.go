package feeds

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pratique/pratique/engine/advisory"
)

const (
	csafListName    = "changes.csv"
	csafDeletedName = "deletions.csv"
	maxCSAFList     = 128 << 20 // bytes
	// listLag is how much older than what was seen last a change may be and is
	// still looked at.
	listLag = time.Hour
	// maxDocumentsSingle bounds the documents that are fetched one by one in a
	// round; beyond it the archive is cheaper.
	maxDocumentsSingle = 1000
	documentFetchers   = 4 // each has one document in memory
	maxCSAFRecord      = 4 * advisory.MaxRecord
	maxCSAFOverlay     = 128 << 20 // bytes of what all single documents say
)

// documentForm is a path of a document in the lists.
var documentForm = regexp.MustCompile(`^([0-9]{4}/)?[a-z0-9][a-z0-9._-]{0,120}\.json$`)

// csafList is a list of paths with the time of their last change.
type csafList struct {
	digest string
	times  map[string]time.Time
}

// errTooMany means that the archive is cheaper than single documents.
var errTooMany = errors.New("too many documents changed to fetch them one by one")

// errOverlay means that the single documents that are here cannot be read.
var errOverlay = errors.New("damaged overlay")

// csafChanges brings a feed up to date by single documents. Its error wraps
// errTooMany, errOverlay, or errNotThere when changes are not listed: then the
// archive is to be asked for.
func (s *syncer) csafChanges(ctx context.Context, f *feed, state changeState) (changed bool, err error) {
	since := state.Since.Add(-listLag)
	listed, err := s.csafList(ctx, f, csafListName, since)
	if err != nil {
		return false, err
	}
	deleted, err := s.csafList(ctx, f, csafDeletedName, since)
	if err != nil && !errors.Is(err, errNotThere) {
		return false, err
	}
	if listed.digest+deleted.digest == state.List {
		return false, nil
	}
	records := map[string]overlayRecord{}
	if state.Overlay.Records > 0 {
		if records, err = readOverlay(s.overlayPath(f, state.Overlay)); err != nil {
			return false, fmt.Errorf("%w: %w", errOverlay, err)
		}
	}
	wanted := wantedDocuments(listed, records)
	if len(wanted) > maxDocumentsSingle || len(wanted)+len(records)+len(deleted.times) > maxOverlay {
		return false, errTooMany
	}
	forgot := s.forgetDocuments(listed, deleted, records)
	fetched, err := s.fetchDocuments(ctx, f, wanted, records)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case overlaySize(records) > maxCSAFOverlay:
		return false, errTooMany
	case err == nil:
		state.List, state.Checked = listed.digest+deleted.digest, s.now
		for _, at := range listed.times {
			state.Since = later(state.Since, at)
		}
	}
	changed = forgot || fetched
	if changed {
		var wrote error
		if state.Overlay, wrote = s.writeOverlay(f, records); wrote != nil {
			return false, wrote
		}
		f.overlay = state.Overlay
	}
	return changed, errors.Join(err, s.writeChanges(f, state))
}

// csafList fetches one of the two lists and gives what changed since.
func (s *syncer) csafList(ctx context.Context, f *feed, name string, since time.Time) (csafList, error) {
	t := s.csafTarget(f, name)
	var err error
	if t.url, err = url.JoinPath(f.source.URL, name); err != nil {
		return csafList{}, fmt.Errorf("make URL of %s: %w", name, err)
	}
	t.limit = maxCSAFList
	t.check = func(path string) error { _, err := readCSAFList(path, time.Time{}); return err }
	d, _, _, err := s.fetch.get(ctx, t)
	if err != nil {
		return csafList{}, err
	}
	times, err := readCSAFList(d.path, since)
	return csafList{d.SHA256, times}, err
}

// readCSAFList reads lines of path and time. The empty list is one: nothing was
// ever deleted.
func readCSAFList(path string, since time.Time) (times map[string]time.Time, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read list of documents: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := csv.NewReader(file)
	in.FieldsPerRecord, in.ReuseRecord = 2, true
	times = map[string]time.Time{}
	for n := 1; ; n++ {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return times, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read list of documents: %w", err)
		}
		at, err := time.Parse(time.RFC3339, fields[1])
		if err != nil {
			return nil, fmt.Errorf("list of documents: line %d is not a path and a time", n)
		}
		if n > maxDocuments {
			return nil, fmt.Errorf("list of more than %d documents", maxDocuments)
		}
		if documentForm.MatchString(fields[0]) && at.After(since) {
			name := strings.Clone(fields[0])
			times[name] = later(times[name], at.UTC())
		}
	}
}

// documentID is the ID that the document at a path has: "CVE-2023-1" of
// "2023/cve-2023-1.json", "RHSA-2024:1" of "2024/rhsa-2024_1.json".
func documentID(name string) string {
	id := strings.ToUpper(strings.TrimSuffix(path.Base(name), ".json"))
	return strings.ReplaceAll(id, "_", ":")
}

// wantedDocuments are those that are listed newer than they are here.
func wantedDocuments(listed csafList, records map[string]overlayRecord) map[string]time.Time {
	wanted := map[string]time.Time{}
	for name, at := range listed.times {
		if r, ok := records[documentID(name)]; !ok || at.After(r.Modified) {
			wanted[name] = at
		}
	}
	return wanted
}

// forgetDocuments lays nothing over what was deleted, unless it came back.
func (s *syncer) forgetDocuments(listed, deleted csafList, records map[string]overlayRecord) (changed bool) {
	for name, at := range deleted.times {
		id := documentID(name)
		if r, ok := records[id]; listed.times[name].After(at) || ok && !at.After(r.Modified) {
			continue
		}
		records[id] = overlayRecord{ID: id, Modified: at, Fetched: s.now, Record: json.RawMessage("{}")}
		changed = true
	}
	return changed
}

// fetchDocuments fetches single documents into records. One that is not there
// stays as it was; one that cannot be read does too, and is told.
func (s *syncer) fetchDocuments(ctx context.Context, f *feed, wanted map[string]time.Time, records map[string]overlayRecord) (changed bool, err error) {
	var mu sync.Mutex // held while records, warnings or the count change
	group, fetching := errgroup.WithContext(ctx)
	group.SetLimit(documentFetchers)
	report := s.report(f, "download")
	done := int64(0)
	var bad []string
	for name, at := range wanted {
		group.Go(func() error {
			r, err := s.fetchDocument(fetching, f, name, at)
			mu.Lock()
			defer mu.Unlock()
			done++
			report(done, int64(len(wanted)))
			switch {
			case errors.Is(err, errNotThere):
			case errors.Is(err, advisory.ErrBadRecord):
				bad = append(bad, name)
			case err != nil:
				return err
			default:
				records[r.ID] = r
				changed = true
			}
			return nil
		})
	}
	err = group.Wait()
	if len(bad) > 0 {
		s.res.Warnings = append(s.res.Warnings, fmt.Sprintf("%s: %d documents could not be read, such as %s", f.source.Name, len(bad), slices.Min(bad)))
	}
	return changed, err
}

func (s *syncer) fetchDocument(ctx context.Context, f *feed, name string, at time.Time) (overlayRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	address, err := url.JoinPath(f.source.URL, name)
	if err != nil {
		return overlayRecord{}, fmt.Errorf("make URL of %s: %w", name, err)
	}
	raw, err := s.fetch.read(ctx, address, advisory.MaxCSAF)
	if err != nil {
		return overlayRecord{}, err
	}
	doc, err := advisory.FromCSAF(raw)
	if err != nil {
		return overlayRecord{}, fmt.Errorf("%s: %w", address, err)
	}
	if !strings.EqualFold(doc.ID, documentID(name)) {
		return overlayRecord{}, fmt.Errorf("%w: %s has the document %s", advisory.ErrBadRecord, address, doc.ID)
	}
	record, err := json.Marshal(csafRecord{doc.Advisories, doc.Unclear, doc.Example})
	if err != nil {
		return overlayRecord{}, fmt.Errorf("keep %s: %w", address, err)
	}
	if len(record) > maxCSAFRecord {
		return overlayRecord{}, fmt.Errorf("%w: %s gives %d bytes", advisory.ErrBadRecord, address, len(record))
	}
	return overlayRecord{ID: doc.ID, Modified: later(doc.Modified, at), Fetched: s.now, Record: record}, nil
}

// read gives a small file whole, without keeping it.
func (f *fetcher) read(ctx context.Context, address string, limit int64) ([]byte, error) {
	_, body, _, err := f.open(ctx, target{url: address, limit: limit}, download{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	return raw, nil
}

func overlaySize(records map[string]overlayRecord) int {
	n := 0
	for _, r := range records {
		n += len(r.Record)
	}
	return n
}
