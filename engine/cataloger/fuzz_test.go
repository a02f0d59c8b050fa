package cataloger_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/pratique/pratique/engine/cataloger"
	"github.com/pratique/pratique/engine/inventory"
)

// FuzzCatalogers: no cataloger panics, whatever the content, and what it says is
// fit for print. The path chooses the cataloger, as in a layer.
func FuzzCatalogers(f *testing.F) {
	for _, body := range []string{"Package: a\nVersion: 1\n\n", "/usr/bin/a\n", "P:a\nV:1\nF:b\nR:c\n\n", "ID=a\nX=\"\n"} {
		for _, path := range []string{"var/lib/dpkg/status", "var/lib/dpkg/info/a.list", "lib/apk/db/installed", "etc/os-release"} {
			f.Add(path, []byte(body))
		}
	}
	f.Add("program", []byte(goProgram("go1.21.0", modules)))
	f.Add("x.egg", []byte(zipped(f, "EGG-INFO/PKG-INFO", "Name: x\nVersion: 1\n")))
	f.Add("a/.yarn/cache/a.zip", []byte(zipped(f, "node_modules/a/package.json", `{"name":"a","version":"1"}`)))
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Name, file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		path, _ = inventory.CleanPath(path)
		c := cataloger.ForPath(path)
		if c != byScan(path) {
			t.Fatalf("%q: the table of names and the scan of all disagree", path)
		}
		if c == nil && len(path)%2 == 0 { // most paths that a fuzzer makes are nobody's
			path = paths[len(path)/2%len(paths)]
			c = cataloger.ForPath(path)
		}
		if c == nil {
			c = cataloger.ForContent(body[:min(len(body), cataloger.HeadSize)])
		}
		if c == nil {
			return
		}
		out := cataloger.NewResult(path, limits)
		if c.ReadAt != nil {
			c.ReadAt(cataloger.File{ReaderAt: strings.NewReader(string(body)), Size: int64(len(body))}, out)
		} else {
			c.Read(strings.NewReader(string(body)), out)
		}
		for _, p := range out.Packages {
			if p.Name == "" || p.Version == "" || p.Name != inventory.Printable(p.Name) && !strings.Contains(p.Name, `\`) {
				t.Errorf("package %+v", p)
			}
		}
		if c.Database && len(out.Databases) == 0 {
			t.Errorf("%s is no database to %s", path, c.Name)
		}
		if slices.ContainsFunc(out.Gaps, func(g inventory.Gap) bool { return g.Code == "" || g.Detail == "" }) {
			t.Errorf("gaps %+v", out.Gaps)
		}
	})
}
