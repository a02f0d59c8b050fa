package main_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/imagetest"
)

var update = flag.Bool("update", false, "write docs/lockouts.md anew, if every cell of it has been done")

// lockout is one row of the table: something that somebody with the right to do
// it must be able to do, whatever the gate refuses.
type lockout struct {
	what    string
	source  string   // who was locked out by it, or who asks for it
	clients []string // each does it for itself
	run     func(t *testing.T, b bench)
}

// bench is what a row has to work with.
type bench struct {
	client     // nil where the client has no images: helm, cosign
	name       string
	any        any // the client itself, with what only it can do
	s          *server
	house      *house // for rows done by people with a name
	repository string // of this row and client alone
}

// ref is a reference into the row's repository.
func (b bench) ref(tag string) string { return b.s.registry + "/" + b.repository + ":" + tag }

// good is an image that passes, and bad one that is refused. No other row or
// client has them: a client that has the content already asks for less.
func (b bench) good() imagetest.Image { return unique("good-"+b.repository, 0) }
func (b bench) bad() imagetest.Image  { return unique("bad-"+b.repository, 0) }

// opened are the clients by the name that the table has for them.
var opened = map[string]func(t testing.TB) any{
	"docker":  func(t testing.TB) any { return clients.Docker(t) },
	"ctr":     func(t testing.TB) any { return clients.Containerd(t) },
	"podman":  func(t testing.TB) any { return clients.Podman(t) },
	"buildah": func(t testing.TB) any { return clients.Buildah(t) },
	"skopeo":  func(t testing.TB) any { return clients.Skopeo(t) },
	"crane":   func(t testing.TB) any { return clients.NewCrane(t) },
	"oras":    func(t testing.TB) any { return clients.NewOras(t) },
	"helm":    func(t testing.TB) any { return clients.NewHelm(t) },
	"cosign":  func(t testing.TB) any { return clients.NewCosign(t) },
}

// chapter is a part of the table with rows that are done by the same people.
type chapter struct {
	title string
	rows  []lockout
}

func chapters() []chapter {
	return []chapter{
		{"By anybody, on an open loopback", slices.Concat(pushRows(), readRows(), artifactRows(), deleteRows())},
		{"By people with a name, where nobody else may do anything", rightRows()},
		{"By anybody, while something happens", weatherRows()},
	}
}

// TestLockouts runs every row of the table with each of its clients against
// running servers, prints the table, and compares it with docs/lockouts.md.
func TestLockouts(t *testing.T) {
	var rows []lockout
	for _, c := range chapters() {
		rows = append(rows, c.rows...)
	}
	endings := &endings{by: map[string]string{}}
	t.Cleanup(func() {
		t.Logf("lock-outs:\n%s", table(rows, endings.of))
		writeLockouts(t, rows, endings.of)
	})
	compareLockouts(t)
	s, _ := serveLockouts(t)
	h := newHouse(t)
	for _, name := range columns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := opened[name](t)
			for i, row := range rows {
				if !slices.Contains(row.clients, name) {
					continue
				}
				t.Run(row.what, func(t *testing.T) {
					t.Cleanup(func() { endings.add(row, name, t) })
					b := bench{name: name, any: c, s: s, house: h, repository: fmt.Sprintf("row%d/%s", i+1, name)}
					b.client, _ = c.(client)
					row.run(t, b)
				})
			}
		})
	}
}

// done is how a row ends well.
const done = "ok"

// endings remembers how each row ended. It is safe for concurrent use.
type endings struct {
	mu sync.Mutex
	by map[string]string
}

func (e *endings) add(row lockout, client string, t *testing.T) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case t.Failed():
		e.by[row.what+client] = "LOCKED OUT"
	case !t.Skipped():
		e.by[row.what+client] = done
	}
}

func (e *endings) of(row lockout, client string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ending := e.by[row.what+client]; ending != "" {
		return ending
	}
	return "not run"
}

// table is one line for each row and client.
func table(rows []lockout, ending func(lockout, string) string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for _, name := range row.clients {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.what, name, row.source, ending(row, name))
		}
	}
	if err := w.Flush(); err != nil {
		return err.Error()
	}
	return b.String()
}

const (
	lockoutsPage = "../../docs/lockouts.md"
	lockoutsHead = `# Lock-outs

What a gate must not do: stop somebody who has the right to go on. Each line is
done by real clients against a running ` + "`pratique serve`" + ` (` + "`TestLockouts`" + ` in
[cmd/pratique](../cmd/pratique/lockout_test.go)), and is green, or the test fails.
A ✓ is a cell that was done: the page is written by
` + "`go test ./cmd/pratique -run TestLockouts -update`" + `, and only when every one of them
was. The source is who was locked out by another gate, or where it is asked for.

oras is the library of the oras command line, and crane's is that of ko and
kaniko. A cell is empty where the client has no such command, or where another
column stands for it: podman and buildah are built on skopeo's library, helm on
that of oras. Signing and deleting by the digest of what is refused reads it first
with cosign and oras, which takes a name (anonymous clients are told why not).
`
)

// page is docs/lockouts.md as the table has it.
func page() string {
	var b strings.Builder
	b.WriteString(lockoutsHead)
	line := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	for _, c := range chapters() {
		b.WriteString("\n## " + c.title + "\n\n")
		line(append([]string{"may", "source"}, columns...)...)
		line(slices.Repeat([]string{"---"}, len(columns)+2)...)
		for _, row := range c.rows {
			cells := []string{row.what, row.source}
			for _, name := range columns {
				cells = append(cells, map[bool]string{true: "✓"}[slices.Contains(row.clients, name)])
			}
			line(cells...)
		}
	}
	return b.String()
}

// compareLockouts holds docs/lockouts.md against the table, so that the page
// always says what is covered.
func compareLockouts(t *testing.T) {
	t.Helper()
	if *update {
		return
	}
	got, err := os.ReadFile(lockoutsPage)
	fatal(t, err)
	if diff := cmp.Diff(page(), string(got)); diff != "" {
		t.Errorf("docs/lockouts.md is not that of the table, run with -update (-table +page):\n%s", diff)
	}
}

// writeLockouts writes docs/lockouts.md if that is asked for and what it says has
// been done.
func writeLockouts(t *testing.T, rows []lockout, ending func(lockout, string) string) {
	t.Helper()
	if !*update {
		return
	}
	for _, row := range rows {
		for _, name := range row.clients {
			if got := ending(row, name); got != done {
				t.Errorf("docs/lockouts.md is not written: %s, %s: %s", row.what, name, got)
			}
		}
	}
	if !t.Failed() {
		fatal(t, os.WriteFile(lockoutsPage, []byte(page()), 0o644))
	}
}

// columns of the page.
var columns = []string{"docker", "ctr", "podman", "buildah", "skopeo", "crane", "oras", "helm", "cosign"}

// layoutOf writes an image as a layout.
func layoutOf(t testing.TB, im imagetest.Image) string {
	t.Helper()
	dir := t.TempDir()
	if err := im.WriteLayout(dir, "1"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mustPush loads and pushes an image.
func (b bench) mustPush(t testing.TB, im imagetest.Image, tag string) {
	t.Helper()
	b.Load(layoutOf(t, im), b.ref(tag))
	if out, err := b.Push(b.ref(tag)); err != nil {
		t.Fatalf("push of %s: %v\n%s", b.ref(tag), err, out)
	}
}

// mustPull forgets and pulls an image, and compares digests with the server's.
func (b bench) mustPull(t testing.TB, tag string) {
	t.Helper()
	b.Remove(b.ref(tag))
	if out, err := b.Pull(b.ref(tag)); err != nil {
		t.Fatalf("pull of %s: %v\n%s", b.ref(tag), err, out)
	}
	if got, want := b.Digest(b.ref(tag)), b.s.digest(b.repository, tag); got != want {
		t.Errorf("pulled %s, the server has %s", got, want)
	}
}

// mustBeRefused makes sure that the row is about something that is refused.
func (b bench) mustBeRefused(t testing.TB, tag string) {
	t.Helper()
	b.Remove(b.ref(tag))
	if out, err := b.Pull(b.ref(tag)); err == nil {
		t.Fatalf("%s was pulled\n%s", b.ref(tag), out)
	}
}
