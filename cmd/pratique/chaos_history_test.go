package main_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
)

// operation is one request or one push of the history.
type operation struct {
	worker     int
	start, end time.Duration // since the run began
	what       string        // "push", "pull tag"
	name       string        // repository, and tag or digest
	digest     digest.Digest // what it was about, or what came
	sum        digest.Digest // of the bytes that came, whole or not; of an acknowledged push, what was sent
	outcome    string        // a was... constant
	note       string
}

const (
	wasOK      = "ok"
	wasRefused = "refused"
	wasAbsent  = "absent" // 404
	wasFailed  = "failed"
	wasCut     = "cut" // by this side
)

// history is what happened. It is safe for concurrent use.
type history struct {
	began time.Time

	mu         sync.Mutex
	operations []operation
	faults     map[string]int
	violations []violation
}

type violation struct {
	at     time.Duration
	what   string
	name   string
	digest digest.Digest
}

func newHistory() *history { return &history{began: time.Now(), faults: map[string]int{}} }

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) add(o operation) {
	o.end = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, o)
}

// fault notes that a fault was put in force. It stands in the history too.
func (h *history) fault(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[name]++
	h.operations = append(h.operations, operation{worker: -1, start: h.now(), end: h.now(), what: "FAULT " + name})
}

func (h *history) violate(name string, d digest.Digest, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, violation{h.now(), fmt.Sprintf(format, args...), name, d})
}

// maxTold bounds the violations that are told with their history, and the
// operations told of each.
const maxTold = 12

// report prints the tables, and fails the test for every violation with what
// led to it.
func (h *history) report(t *testing.T, seed uint64) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := map[string]map[string]int{}
	total := 0
	for _, o := range h.operations {
		if o.worker < 0 {
			continue
		}
		if counts[o.what] == nil {
			counts[o.what] = map[string]int{}
		}
		counts[o.what][o.outcome]++
		total++
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "operation\tok\trefused\tabsent\tfailed\tcut\t")
	for _, what := range sortedKeys(counts) {
		c := counts[what]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t\n", what, c[wasOK], c[wasRefused], c[wasAbsent], c[wasFailed], c[wasCut])
	}
	fmt.Fprintf(w, "all operations\t%d\t\t\t\t\t\n\t\t\t\t\t\t\nfault\ttimes\t\t\t\t\t\n", total)
	faults := 0
	for _, name := range sortedKeys(h.faults) {
		fmt.Fprintf(w, "%s\t%d\t\t\t\t\t\n", name, h.faults[name])
		faults += h.faults[name]
	}
	fmt.Fprintf(w, "all faults\t%d\t\t\t\t\t\n\t\t\t\t\t\t\nviolations\t%d\t\t\t\t\t\n", faults, len(h.violations))
	fatal(t, w.Flush())
	t.Logf("seed %d, %v\n%s", seed, h.now().Round(time.Second), b.String())
	for i, v := range h.violations {
		if i == maxTold {
			t.Errorf("and %d more violations", len(h.violations)-i)
			break
		}
		t.Errorf("seed %d: VIOLATION at %v: %s\n  of %s %s\n%s", seed, v.at.Round(time.Millisecond), v.what, v.name, v.digest, h.slice(v))
	}
}

// slice is the part of the history that a violation rests on: what concerns its
// name or its digest, and the faults of the time before it. Called with the lock
// held.
func (h *history) slice(v violation) string {
	var lines []string
	for _, o := range h.operations {
		about := o.name != "" && o.name == v.name || v.digest != "" && o.digest == v.digest
		if o.start > v.at || !about && (o.worker >= 0 || o.start < v.at-10*time.Second) {
			continue
		}
		lines = append(lines, fmt.Sprintf("    %8v..%-8v w%-2d %-14s %-8s %s %s %s", o.start.Round(time.Millisecond), o.end.Round(time.Millisecond), o.worker, o.what, o.outcome, o.name, short(o.digest), o.note))
	}
	return strings.Join(lines[max(0, len(lines)-2*maxTold):], "\n")
}

func short(d digest.Digest) string { return d.String()[:min(len(d), 19)] }

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
