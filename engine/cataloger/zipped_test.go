package cataloger_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger"
)

// zipped makes a zip of names and contents in turn.
func zipped(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = f.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func readAt(t testing.TB, path, body string) *cataloger.Result {
	t.Helper()
	c := cataloger.ForPath(path)
	if c == nil || c.ReadAt == nil {
		t.Fatalf("nothing reads %s in any order", path)
	}
	out := cataloger.NewResult(path, limits)
	c.ReadAt(cataloger.File{ReaderAt: strings.NewReader(body), Size: int64(len(body))}, out)
	return out
}

func TestZipped(t *testing.T) {
	yarn, egg := "app/.yarn/cache/a-npm-1.0.0-0123-4567.zip", "site-packages/x-1-py3.8.egg"
	manifest := `{"name":"@s/a","version":"1.0.0","license":"MIT"}`
	whole := zipped(t, "node_modules/@s/a/package.json", manifest, "node_modules/@s/a/lib/package.json", `{"name":"not","version":"1"}`,
		"node_modules/@s/a/node_modules/b/package.json", `{"name":"b","version":"2"}`)
	many := make([]string, 0, 4000)
	for range 1100 {
		many = append(many, "node_modules/a/package.json", manifest)
	}
	for _, test := range []struct {
		name, path, body string
		want             []string
	}{
		{"yarn", yarn, whole, []string{"npm @s/a 1.0.0 [MIT] in node_modules/@s/a/package.json", "npm b 2 in node_modules/@s/a/node_modules/b/package.json"}},
		{"yarn, shared cache", "root/.yarn/berry/cache/a.zip", whole, []string{"npm @s/a 1.0.0 [MIT] in node_modules/@s/a/package.json", "npm b 2 in node_modules/@s/a/node_modules/b/package.json"}},
		{"yarn without a package", yarn, zipped(t, "x", "y"), []string{"partial yarn-archive: an archive of Yarn's cache holds no package.json where its package should be"}},
		{"yarn, broken manifest", yarn, zipped(t, "node_modules/a/package.json", "{"), []string{"partial npm-manifest: package.json could not be read: the object does not end: EOF"}},
		{"yarn, too large", yarn, zipped(t, "node_modules/a/package.json", strings.Repeat(" ", 5<<20)), []string{"partial yarn-archive: an archive of Yarn's cache could not be read: read zipped file: the files in it are too large or too many"}},
		{"egg", egg, zipped(t, "x/__init__.py", "", "EGG-INFO/PKG-INFO", "Name: x\nVersion: 1\n"), []string{"python x 1 in EGG-INFO/PKG-INFO"}},
		{"egg without metadata", egg, zipped(t, "EGG-INFO/top_level.txt", "x"), []string{"partial python-egg: a zipped Python egg has no metadata"}},
		{"egg without a version", egg, zipped(t, "EGG-INFO/PKG-INFO", "Name: x\n"), []string{"partial python-metadata: the Python package's metadata have no name or no version"}},
		{"egg is no zip", egg, "nonsense", []string{"partial python-egg: a zipped Python egg could not be read: read zip directory: zip: not a valid zip file"}},
		{"egg, half of a zip", egg, whole[:len(whole)/2], []string{"partial python-egg: a zipped Python egg could not be read: read zip directory: zip: not a valid zip file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, detailed(readAt(t, test.path, test.body))); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("yarn, many", func(t *testing.T) {
		out := readAt(t, yarn, zipped(t, many...))
		if len(out.Packages) != 1000 || len(out.Gaps) != 1 {
			t.Errorf("%d packages, gaps %v", len(out.Packages), out.Gaps)
		}
	})
	t.Run("directory too large", func(t *testing.T) {
		files := make([]string, 0, 4000)
		for range 2000 {
			files = append(files, strings.Repeat("x", 5000), "")
		}
		want := []string{"partial python-egg: a zipped Python egg could not be read: read zip directory: its directory is too large"}
		if diff := cmp.Diff(want, detailed(readAt(t, egg, zipped(t, files...)))); diff != "" {
			t.Error(diff)
		}
	})
}
