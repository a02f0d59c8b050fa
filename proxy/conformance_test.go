package proxy_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
)

// The requirements of the distribution specification that concern a registry,
// as a table. What the text says stands in it once; the checks are written from
// the text alone. -update rewrites the list of docs/conformance.md.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md

var update = flag.Bool("update", false, "rewrite the list of requirements in docs/conformance.md")

// section is a heading of the specification and what stands below it.
type section struct {
	heading string
	rows    []requirement
}

// requirement is one thing that a registry has to do.
type requirement struct {
	endpoint string // of the section "Endpoints", or the code of "Error Codes"
	level    string // the word of RFC 2119; plain where the text has none
	text     string
	names    naming
	run      func(*probe)
}

const (
	must      = "MUST"
	mustNot   = "MUST NOT"
	should    = "SHOULD"
	shouldNot = "SHOULD NOT"
	may       = "MAY"  // if it is done, then as the text says
	plain     = "says" // stated as a fact
)

// naming says which digests name the content of a check.
type naming int

const (
	once        naming = iota // sha256
	each                      // sha256, and again sha512
	passiveEach               // like each, in mode passive alone: mode policy refuses the content
)

func (n naming) algorithms() []digest.Algorithm {
	if n == once {
		return []digest.Algorithm{digest.SHA256}
	}
	return []digest.Algorithm{digest.SHA256, digest.SHA512}
}

func requirements() []section {
	return slices.Concat(
		pullRequirements(), headRequirements(), uploadRequirements(), chunkRequirements(), mountRequirements(), contentRequirements(), pushRequirements(),
		tagsRequirements(), referrersRequirements(), deleteRequirements(), apiRequirements(),
	)
}

// modes are those in which a conforming registry is expected. In mode policy
// the checks use content that the policy lets pass.
func modes() []string { return []string{gate.ModePassive, gate.ModePolicy} }

// TestConformance checks every requirement, in each mode and with each digest
// algorithm, over the embedded registry. With -v it prints the whole table.
func TestConformance(t *testing.T) {
	results := map[string]string{}
	for _, mode := range modes() {
		t.Run(mode, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Mode = mode }), Upstreams: second(t, limit)})
			for i, s := range requirements() {
				for j, r := range s.rows {
					results[fmt.Sprint(mode, i, j)] = r.check(t, d, mode, fmt.Sprintf("conformance/r%d-%d", i, j))
				}
			}
		})
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "section\twhere\tlevel\trequirement\t"+strings.Join(modes(), "\t"))
	for i, s := range requirements() {
		for j, r := range s.rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s", s.heading, r.endpoint, r.level, r.text)
			for _, mode := range modes() {
				fmt.Fprintf(w, "\t%s", cmp.Or(results[fmt.Sprint(mode, i, j)], "not run"))
			}
			fmt.Fprintln(w)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
}

// check runs one row in one mode and tells how it went.
func (r requirement) check(t *testing.T, d *door, mode, repository string) string {
	if r.names == passiveEach && mode != gate.ModePassive {
		return "refused by policy"
	}
	var failed []string
	for _, algorithm := range r.names.algorithms() {
		name := r.text
		if r.names != once {
			name += " (" + algorithm.String() + ")"
		}
		passed := t.Run(name, func(t *testing.T) { r.run(newProbe(t, d, algorithm, repository+"/"+algorithm.String())) })
		if !passed {
			failed = append(failed, algorithm.String())
		}
	}
	switch {
	case failed == nil:
		return "pass"
	case r.names == once:
		return "FAIL"
	}
	return "FAIL " + strings.Join(failed, ", ")
}

// limited is a registry that deletes nothing and asks who pulls by tag to come
// back later. It says when for one repository alone.
type limited struct{ gate.Registry }

func limit(r gate.Registry) gate.Registry { return limited{r} }

func (limited) DeleteTag(context.Context, string, string) error { return image.ErrUnsupported }

func (limited) DeleteManifest(context.Context, string, digest.Digest) error {
	return image.ErrUnsupported
}

func (limited) DeleteBlob(context.Context, string, digest.Digest) error { return image.ErrUnsupported }

func (limited) Resolve(_ context.Context, repository, _ string) (digest.Digest, error) {
	e := &image.UpstreamError{Registry: "reg.example", Status: http.StatusTooManyRequests}
	if repository == "later" {
		e.RetryAfter = 7 * time.Second
	}
	return "", e
}

const (
	conformanceDocument = "../docs/conformance.md"
	listBegin           = "<!-- requirements: written by TestConformanceDocument -->\n"
	listEnd             = "<!-- end of requirements -->\n"
)

// TestConformanceDocument: the document lists what the test covers.
func TestConformanceDocument(t *testing.T) {
	raw, err := os.ReadFile(conformanceDocument)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), listBegin)
	_, after, ok2 := strings.Cut(rest, listEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the list", conformanceDocument)
	}
	want := before + listBegin + listRequirements() + listEnd + after
	if *update {
		if err := os.WriteFile(conformanceDocument, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("%s is not of today, -update rewrites it (-want +got):\n%s", conformanceDocument, diff)
	}
}

// listRequirements is the table for the document.
func listRequirements() string {
	var b strings.Builder
	rows := 0
	for _, s := range requirements() {
		fmt.Fprintf(&b, "\n### %s\n\n| where | level | requirement | digests | modes |\n| --- | --- | --- | --- | --- |\n", s.heading)
		for _, r := range s.rows {
			names, in := "", strings.Join(modes(), ", ")
			if r.names != once {
				names = "sha256, sha512"
			}
			if r.names == passiveEach {
				in = gate.ModePassive
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.endpoint, r.level, r.text, names, in)
			rows++
		}
	}
	return fmt.Sprintf("\n%d requirements.\n", rows) + b.String() + "\n"
}
