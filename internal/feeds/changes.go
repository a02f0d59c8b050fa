package feeds

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pratique/pratique/engine/advisory"
)

// The list of changes, modified_id.csv, has a line "modified,ID" for each
// record. The publisher renews list, dump and single records at different
// moments, so the list alone cannot prove that a dump is current. It is
// compared, record by record, with what is here; and the dump is asked for all
// the same once a day.
const (
	listName  = "modified_id.csv"
	maxList   = 512 << 20 // bytes
	maxLine   = 1 << 10
	dumpEvery = 24 * time.Hour
	// listOverlap is how much older than the dump a line may be and is still
	// compared: a dump takes hours to make.
	listOverlap = 24 * time.Hour
	// overlayAge is how long a dump may be behind single records.
	overlayAge = 24 * time.Hour
	// maxCandidates bounds the lines that are compared, maxSingle the records
	// that are fetched one by one; beyond either the dump is cheaper.
	maxCandidates = 200_000
	maxSingle     = 500
	fetchers      = 8
	recordTimeout = 60 * time.Second
)

// idForm is what may stand in the path of a URL and be a file's name.
var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// osvChanges brings a feed up to date by single records. It is not done when
// that cannot work, or not prove that all is here: then the dump is to be asked
// for.
func (s *syncer) osvChanges(ctx context.Context, f *feed, base target) (done, changed bool, err error) {
	d, ok := readState(base)
	state := s.readChanges(f)
	age := s.now.Sub(state.Checked)
	if !ok || d.URL != base.url || state.Base != d.SHA256 || age < 0 || age > dumpEvery {
		return false, false, nil
	}
	f.files = []download{d}
	if _, err := os.Stat(s.segmentPath(f)); err != nil {
		return false, false, nil // there is nothing to compare with
	}
	list, err := s.osvTarget(f, listName)
	if err != nil {
		return false, false, err
	}
	list.limit, list.check = maxList, checkList
	l, _, _, err := s.fetch.get(ctx, list)
	if err != nil {
		return false, false, nil // the dump's answer counts
	}
	f.overlay = state.Overlay
	if l.SHA256 == state.List {
		return true, false, nil
	}
	return s.follow(ctx, f, state, l)
}

// follow works through a list of changes that is new.
func (s *syncer) follow(ctx context.Context, f *feed, state changeState, list download) (done, changed bool, err error) {
	records := map[string]overlayRecord{}
	if state.Overlay.Records > 0 {
		if records, err = readOverlay(s.overlayPath(f, state.Overlay)); err != nil {
			return false, false, nil
		}
	}
	wanted, err := s.changedIDs(f, list.path, state.Checked.Add(-listOverlap), records)
	if err != nil || len(wanted) > maxSingle || len(wanted)+len(records) > maxOverlay {
		return false, false, nil
	}
	if changed, err = s.fetchRecords(ctx, f, wanted, records); ctx.Err() != nil {
		return true, false, ctx.Err()
	}
	if err == nil {
		state.List = list.SHA256
	}
	if changed {
		var wrote error
		if state.Overlay, wrote = s.writeOverlay(f, records); wrote != nil {
			return true, false, wrote
		}
		f.overlay = state.Overlay
	}
	return true, changed, errors.Join(err, s.writeChanges(f, state))
}

// checkList refuses what is not a list of changes, before it is kept.
func checkList(path string) error {
	_, err := eachChange(path, func(time.Time, string) bool { return true })
	return err
}

// eachChange reads a list of changes and counts its lines. It ends when visit
// returns false.
func eachChange(path string, visit func(modified time.Time, id string) bool) (n int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read list of changes: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		when, id, ok := strings.Cut(strings.TrimSpace(lines.Text()), ",")
		modified, err := time.Parse(time.RFC3339Nano, when)
		if !ok || err != nil || id == "" {
			return n, fmt.Errorf("list of changes: line %d is not a time and an ID", n+1)
		}
		if n++; n > maxZipFiles {
			return n, fmt.Errorf("list of changes has more than %d lines", maxZipFiles)
		}
		if !visit(modified.UTC().Truncate(time.Second), id) {
			return n, nil
		}
	}
	if err := lines.Err(); err != nil {
		return n, fmt.Errorf("read list of changes: %w", err)
	}
	if n == 0 {
		return 0, errors.New("the list of changes is empty")
	}
	return n, nil
}

// changedIDs are the records that the list has newer than they are here, each
// with the time that the dump has for it.
func (s *syncer) changedIDs(f *feed, path string, since time.Time, records map[string]overlayRecord) (map[string]time.Time, error) {
	candidates := map[string]time.Time{}
	_, err := eachChange(path, func(modified time.Time, id string) bool {
		if modified.Before(since) || !idForm.MatchString(id) {
			return true // what has another name comes with the dump
		}
		if r, ok := records[id]; !ok || modified.After(r.Modified) {
			candidates[id] = later(candidates[id], modified)
		}
		return len(candidates) <= maxCandidates
	})
	if err != nil || len(candidates) == 0 {
		return nil, err
	}
	if len(candidates) > maxCandidates {
		return nil, fmt.Errorf("more than %d changes", maxCandidates)
	}
	wanted := make(map[string]time.Time, len(candidates))
	for id := range candidates {
		wanted[id] = time.Time{}
	}
	_, err = advisory.EachNote(s.segmentPath(f), func(id string, modified time.Time, _ []byte) error {
		switch listed, ok := candidates[id]; {
		case ok && listed.After(modified):
			wanted[id] = modified
		case ok:
			delete(wanted, id)
		}
		return nil
	})
	return wanted, err
}

// fetchRecords fetches single records into records. One that is not there,
// cannot be read or is no newer than in the dump is left as it was: the next
// dump settles what becomes of it.
func (s *syncer) fetchRecords(ctx context.Context, f *feed, wanted map[string]time.Time, records map[string]overlayRecord) (changed bool, err error) {
	var mu sync.Mutex // held while the map or the count changes
	group, fetching := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	report := s.report(f, "download")
	done := int64(0)
	for id, dumped := range wanted {
		group.Go(func() error {
			r, err := s.fetchRecord(fetching, f, id)
			if errors.Is(err, errNotThere) || errors.Is(err, advisory.ErrBadRecord) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			report(done, int64(len(wanted)))
			if r.Modified.After(later(dumped, records[id].Modified)) {
				records[id] = r
				changed = true
			}
			return nil
		})
	}
	return changed, group.Wait()
}

func (s *syncer) fetchRecord(ctx context.Context, f *feed, id string) (overlayRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	address, err := url.JoinPath(f.source.URL, f.ecosystem, id+".json")
	if err != nil {
		return overlayRecord{}, fmt.Errorf("make URL of %s: %w", id, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return overlayRecord{}, fmt.Errorf("ask for %s: %w", id, err)
	}
	resp, err := s.fetch.client.Do(req)
	if err != nil {
		return overlayRecord{}, fmt.Errorf("ask for %s: %w", id, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return overlayRecord{}, fmt.Errorf("%s: %w", id, errNotThere)
	default:
		return overlayRecord{}, fmt.Errorf("%s answers %s", address, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, advisory.MaxRecord+1))
	if err != nil {
		return overlayRecord{}, fmt.Errorf("read %s: %w", id, err)
	}
	_, found, modified, err := parseRecord(f, raw)
	if err != nil {
		return overlayRecord{}, err
	}
	if found != id {
		return overlayRecord{}, fmt.Errorf("%w: %s in place of %s", advisory.ErrBadRecord, found, id)
	}
	return overlayRecord{ID: id, Modified: modified, Fetched: s.now, Record: raw}, nil
}
