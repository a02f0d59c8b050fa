package feeds

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/advisory"
)

// States of a feed after a sync.
const (
	StateOK        = "ok"        // new data came
	StateUnchanged = "unchanged" // the source has what is here already
	StateFailed    = "failed"    // the source could not be used; what was here stays
)

// Result tells what a sync did.
type Result struct {
	// Changed: a new revision of the index was put in place.
	Changed  bool              `json:"changed"`
	Revision advisory.Revision `json:"revision"` // newest; zero when there is none
	Feeds    []FeedResult      `json:"feeds"`
	Warnings []string          `json:"warnings,omitempty"` // "nvd: no file of the year 2002"
}

// FeedResult is what became of one ecosystem of one source.
type FeedResult struct {
	State string `json:"state"` // a State constant
	Status
}

// Failed reports whether some feed failed.
func (r Result) Failed() bool {
	for _, f := range r.Feeds {
		if f.State == StateFailed {
			return true
		}
	}
	return false
}

// Progress is one step of a running sync.
type Progress struct {
	Source    string `json:"source"`
	Ecosystem string `json:"ecosystem"`
	Step      string `json:"step"` // "download" (bytes) or "index" (records)
	Done      int64  `json:"done"`
	Total     int64  `json:"total"` // 0: not known
}

// IndexDir is the directory beneath the data directory that holds the index
// files: the one to open an advisory.Store on.
func IndexDir(dataDir string) string { return filepath.Join(dataDir, "vulndb") }

// Sync asks every source for news and, if there are any, builds a new revision
// of the index. A source that fails keeps what it gave before and is told in
// the Result; the error is for what concerns all: no lock, no disk. One sync at
// a time works on a data directory; another one waits.
//
// A nil client means one that honours HTTP_PROXY; a nil progress is not called.
func Sync(ctx context.Context, dataDir string, cfg Config, client *http.Client, progress func(Progress)) (res Result, err error) {
	if err := cfg.Validate(); err != nil {
		return res, err
	}
	unlock, err := lockFeeds(ctx, dataDir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	before, err := advisory.ReadStatus(IndexDir(dataDir))
	if err != nil {
		before = advisory.Status{} // a damaged status costs one rebuild
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	markKept(&before)
	s := &syncer{dataDir: dataDir, fetch: newFetcher(client), progress: progress, before: before, now: time.Now().UTC()}
	for _, source := range cfg.Sources {
		if err := s.source(ctx, source); err != nil {
			return s.res, err
		}
	}
	if err := s.build(ctx); err != nil {
		return s.res, err
	}
	return s.res, nil
}

// syncer is one run of Sync.
type syncer struct {
	dataDir  string
	fetch    *fetcher
	progress func(Progress)
	before   advisory.Status
	now      time.Time
	res      Result
	feeds    []*feed
	unasked  []advisory.FeedStatus // those of before that are kept, and not configured here
	inForce  *advisory.Index       // nil: there is none
	damaged  bool                  // a download could not be indexed
}

// feed is one ecosystem of one source: what is downloaded and counted together.
type feed struct {
	source    Source
	ecosystem string
	optional  bool       // the source need not have it
	absent    bool       // and has not
	files     []download // those that are here
	overlay   overlayRef // single records that are newer than files
	last      Status     // before this sync
	result    FeedResult
}

// source brings the downloads of one source up to date. Its error is that of
// the context alone.
func (s *syncer) source(ctx context.Context, source Source) error {
	if source.kind() == typeNVD {
		return s.feed(ctx, &feed{source: source, ecosystem: nvdName}, s.nvdFiles)
	}
	if source.kind() == typeCSAF {
		return s.feed(ctx, &feed{source: source, ecosystem: csafName}, s.csafFiles)
	}
	if kind, ok := singles[source.kind()]; ok {
		return s.feed(ctx, &feed{source: source, ecosystem: kind.name}, s.singleFile)
	}
	var absent []string
	for _, ecosystem := range source.ecosystems() {
		f := &feed{source: source, ecosystem: ecosystem, optional: len(source.Ecosystems) == 0}
		if err := s.feed(ctx, f, s.osvFiles); err != nil {
			return err
		}
		if f.absent {
			absent = append(absent, ecosystem)
		}
	}
	if len(absent) == len(source.ecosystems()) {
		return s.feed(ctx, &feed{source: source, ecosystem: absent[0]}, s.osvFiles) // for its error
	}
	if len(absent) > 0 {
		s.res.Warnings = append(s.res.Warnings, fmt.Sprintf("%s: does not have %s", source.Name, strings.Join(absent, ", ")))
	}
	return nil
}

// feed runs get, which sets f.files, and settles the state.
func (s *syncer) feed(ctx context.Context, f *feed, get func(context.Context, *feed) (changed bool, err error)) error {
	f.last = s.last(f.source.Name, f.ecosystem)
	status := f.last
	status.Tried, status.Error = s.now, ""
	f.result = FeedResult{State: StateUnchanged, Status: status}
	changed, err := get(ctx, f)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case f.optional && errors.Is(err, errNotThere) && len(f.files) == 0:
		f.absent = true
		return nil
	case err != nil:
		f.fail(err)
	case changed:
		f.result.State = StateOK
	}
	if err == nil {
		f.result.Synced = s.now
	}
	f.result.Size = 0
	for _, d := range f.files {
		f.result.Size += d.Size
	}
	f.result.Size += f.overlay.Size
	s.feeds = append(s.feeds, f)
	return nil
}

// fail makes the feed one that was not synced, whatever came before.
func (f *feed) fail(err error) {
	f.result.Synced, f.result.Records, f.result.Skipped, f.result.Newest = f.last.Synced, f.last.Records, f.last.Skipped, f.last.Newest
	f.result.Unclear, f.result.UnclearExample = f.last.Unclear, f.last.UnclearExample
	f.result.State = StateFailed
	f.result.Error = clip(err.Error())
}

// last is the status that the sync before this one left.
func (s *syncer) last(source, ecosystem string) Status {
	for _, status := range s.before.Feeds {
		if status.Source == source && status.Ecosystem == ecosystem {
			return status
		}
	}
	return Status{Source: source, Ecosystem: ecosystem}
}

// dir is where the downloads of a feed are kept.
func (s *syncer) dir(f *feed) string {
	return filepath.Join(s.dataDir, "feeds", f.source.Name, f.ecosystem)
}

// report gives a progress callback for one step of a feed.
func (s *syncer) report(f *feed, step string) func(done, total int64) {
	return func(done, total int64) {
		s.progress(Progress{Source: f.source.Name, Ecosystem: f.ecosystem, Step: step, Done: done, Total: total})
	}
}

// clip keeps an error text at a length that a listing can show.
func clip(s string) string {
	if len(s) > 500 {
		return s[:500] + "..."
	}
	return s
}
