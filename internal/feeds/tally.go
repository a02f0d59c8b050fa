package feeds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/pkgver"
)

// tally counts what a feed gives, by ecosystem with release suffix. It is safe
// for concurrent use until it is read.
type tally struct {
	source    string
	ecosystem string
	native    bool // all that it gives is of its own distribution

	mu      sync.Mutex
	records int
	skipped int
	newest  time.Time
	unclear int    // product ids that were not understood
	example string // one of them
	by      map[string]*advisory.Coverage
}

func newTally(f *feed) *tally {
	return &tally{source: f.source.Name, ecosystem: f.ecosystem, native: f.source.kind() != typeOSV, by: map[string]*advisory.Coverage{}}
}

// note says how a record counts: nothing if it gives no advisory, else a line
// for each release of the feed's ecosystem that it names, after an empty one.
// What it names of other ecosystems is indexed and not counted as coverage: it
// is a small part of what there is.
func (t *tally) note(advisories []advisory.Advisory) []byte {
	if len(advisories) == 0 {
		return nil
	}
	var releases []string
	for _, a := range advisories {
		if (t.native || pkgver.Base(a.Ecosystem) == t.ecosystem) && !slices.Contains(releases, a.Ecosystem) {
			releases = append(releases, a.Ecosystem)
		}
	}
	slices.Sort(releases)
	return []byte("\n" + strings.Join(releases, "\n"))
}

// count takes a record with what note says of it.
func (t *tally) count(modified time.Time, note []byte) {
	t.seen(modified)
	if len(note) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records++
	for release := range strings.SplitSeq(string(note[1:]), "\n") {
		if release == "" {
			continue
		}
		c := t.by[release]
		if c == nil {
			c = &advisory.Coverage{Ecosystem: release, Source: t.source}
			t.by[release] = c
		}
		c.Records++
		c.Newest = later(c.Newest, modified)
	}
}

// maxAhead is how far the clock of a publisher may be ahead.
const maxAhead = 24 * time.Hour

// seen notes the date of a record, withdrawn ones too: the newest date tells
// which of two states of a feed is older. One that lies ahead would make all that
// comes look old.
func (t *tally) seen(modified time.Time) {
	if modified.After(time.Now().Add(maxAhead)) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest = later(t.newest, modified)
}

// add puts the advisories of one record into the builder and counts the record
// once for each release that it names.
func (t *tally) add(b *advisory.Builder, advisories []advisory.Advisory) error {
	if len(advisories) == 0 {
		return nil
	}
	for _, a := range advisories {
		if err := b.Add(a); err != nil {
			return err
		}
	}
	t.count(advisories[0].Modified, t.note(advisories))
	return nil
}

func (t *tally) skip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped++
}

// missed counts product ids of which nothing could be understood.
func (t *tally) missed(n int, example string) {
	if n == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unclear += n
	if t.example == "" || example < t.example {
		t.example = example
	}
}

func (t *tally) coverage(synced time.Time) []advisory.Coverage {
	var all []advisory.Coverage
	for _, c := range t.by {
		c.Synced = synced
		all = append(all, *c)
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// savedTally is a tally as a segment keeps it.
type savedTally struct {
	Records  int                  `json:"records"`
	Skipped  int                  `json:"skipped"`
	Newest   time.Time            `json:"newest"`
	Unclear  int                  `json:"unclear,omitempty"`
	Example  string               `json:"example,omitempty"`
	Coverage []*advisory.Coverage `json:"coverage"`
}

func (t *tally) save() ([]byte, error) {
	saved := savedTally{Records: t.records, Skipped: t.skipped, Newest: t.newest, Unclear: t.unclear, Example: t.example}
	for _, c := range t.by {
		saved.Coverage = append(saved.Coverage, c)
	}
	meta, err := json.Marshal(saved)
	if err != nil {
		return nil, fmt.Errorf("write counts of %s: %w", t.ecosystem, err)
	}
	return meta, nil
}

func (t *tally) load(meta []byte) error {
	var saved savedTally
	if err := json.Unmarshal(meta, &saved); err != nil {
		return fmt.Errorf("read counts of %s: %w", t.ecosystem, err)
	}
	t.records, t.skipped, t.newest, t.unclear, t.example = saved.Records, saved.Skipped, saved.Newest, saved.Unclear, saved.Example
	for _, c := range saved.Coverage {
		if c != nil {
			t.by[c.Ecosystem] = c
		}
	}
	return nil
}
