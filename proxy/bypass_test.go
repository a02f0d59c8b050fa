package proxy_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	gocmp "github.com/google/go-cmp/cmp"
)

// The ways to obtain bytes of an image that is refused, or that nobody has
// judged yet, as a table: each is tried with real requests, by everybody, and
// found closed. Start with TestBypasses; bypass_world_test.go has the people and
// what they are shown, bypass_oracle_test.go what counts as a byte given away.

// avenue is a group of ways.
type avenue struct {
	heading string
	ways    []way
}

// way is one way to the bytes. Its run tries it, and does the same with an image
// that is allowed: or it would pass where nothing works.
type way struct {
	text   string
	source string // who walked it before, or where it is described
	behind reach
	run    func(*crossing)
}

// reach says behind which registries a way is tried.
type reach int

const (
	everywhere   reach = iota // the embedded registry, and a remote one with the blob cache before it
	embeddedOnly              // what the embedded registry alone has
	remoteOnly                // what takes a registry of its own
)

const (
	embedded = "embedded"
	distant  = "remote"
)

func (r reach) includes(registry string) bool {
	return r == everywhere || r == embeddedOnly && registry == embedded || r == remoteOnly && registry == distant
}

func (r reach) String() string {
	return []string{embedded + ", " + distant, embedded, distant}[r]
}

func avenues() []avenue {
	return slices.Concat(requestWays(), digestWays(), contentWays(), disguiseWays(), wrapWays(), rightsWays(), sessionWays(), timeWays(), gateWays(), recoveryWays())
}

// TestBypasses tries every way behind each registry. With -v it prints the table.
func TestBypasses(t *testing.T) {
	var mu sync.Mutex
	results := map[string]string{} // by registry, group and way
	for _, registry := range []string{embedded, distant} {
		t.Run(registry, func(t *testing.T) {
			w := openWorld(t, worldOptions{registry: registry})
			for i, a := range avenues() {
				for j, y := range a.ways {
					if !y.behind.includes(registry) {
						continue
					}
					t.Run(y.text, func(t *testing.T) {
						t.Parallel() // they wait for the disk most of the time
						t.Cleanup(func() {
							mu.Lock()
							defer mu.Unlock()
							results[fmt.Sprint(registry, i, j)] = map[bool]string{false: "closed", true: "OPEN"}[t.Failed()]
						})
						y.run(w.crossing(t, fmt.Sprintf("r%d-%d", i, j)))
					})
				}
			}
		})
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "group\tway\tsource\t%s\t%s\n", embedded, distant)
	for i, a := range avenues() {
		for j, y := range a.ways {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", a.heading, y.text, y.source,
				cmp.Or(results[fmt.Sprint(embedded, i, j)], "-"), cmp.Or(results[fmt.Sprint(distant, i, j)], "-"))
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
}

const (
	bypassDocument = "../docs/bypasses.md"
	waysBegin      = "<!-- ways: written by TestBypassDocument -->\n"
	waysEnd        = "<!-- end of ways -->\n"
)

// TestBypassDocument: the document lists what the test tries.
func TestBypassDocument(t *testing.T) {
	raw, err := os.ReadFile(bypassDocument)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), waysBegin)
	_, after, ok2 := strings.Cut(rest, waysEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the list", bypassDocument)
	}
	want := before + waysBegin + listWays(t) + waysEnd + after
	if *update {
		if err := os.WriteFile(bypassDocument, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("%s is not of today, -update rewrites it (-want +got):\n%s", bypassDocument, diff)
	}
}

// listWays is the table for the document.
func listWays(t *testing.T) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, a := range avenues() {
		fmt.Fprintf(&b, "\n### %s\n\n| way | source | behind |\n| --- | --- | --- |\n", a.heading)
		for _, y := range a.ways {
			if y.source == "" || seen[y.text] {
				t.Errorf("%q has no source, or stands in the table twice", y.text)
			}
			seen[y.text] = true
			fmt.Fprintf(&b, "| %s | %s | %s |\n", y.text, y.source, y.behind)
		}
	}
	return fmt.Sprintf("\n%d ways.\n", len(seen)) + b.String() + "\n"
}
