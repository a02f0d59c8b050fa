package cataloger_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/pratique/pratique/engine/cataloger"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata want")

// TestFiles reads the files of each archive in testdata; the last one, "want",
// tells what they say.
func TestFiles(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, file := range archive.Files[:len(archive.Files)-1] {
				got.WriteString(file.Name + "\n")
				for _, line := range detailed(read(t, file.Name, string(file.Data))) {
					got.WriteString("\t" + line + "\n")
				}
			}
			want := &archive.Files[len(archive.Files)-1]
			if want.Name != "want" {
				t.Fatalf("the last file is %s", want.Name)
			}
			if *update {
				want.Data = []byte(got.String())
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// detailed tells also the licence, the evidence and the place in an archive.
func detailed(r *cataloger.Result) []string {
	lines := told(r)
	for i, p := range r.Packages {
		line := &lines[len(r.Databases)+i]
		if p.License != "" {
			*line += " [" + p.License + "]"
		}
		if p.Evidence != "" {
			*line += " (" + p.Evidence + ")"
		}
		if p.Inner != "" {
			*line += " in " + p.Inner
		}
	}
	for i, g := range r.Gaps {
		lines[len(lines)-len(r.Gaps)+i] += ": " + g.Detail
	}
	return lines
}
