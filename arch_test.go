// Package pratique_test holds the rules about the tree itself: which package
// may import which, where the big dependencies live, and how long a file may
// be. The rules are data; changing one is a decision, said in the commit.
package pratique_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pratique/pratique/"

// order lists all packages, by line. A package imports only from lines above
// its own: nothing of the same line, nothing below. An entry that ends in
// "/..." stands for the packages below it too, which may import one another.
var order = [][]string{
	{"engine/image", "engine/license", "engine/pkgver", "policies",
		"internal/bytesize", "internal/flight", "internal/lru", "internal/serve", "internal/spool"},
	{"engine/inventory", "engine/advisory", "internal/upstream", "internal/localregistry",
		"internal/imagetest", "internal/registrytest", "internal/clients", "internal/faultnet"},
	{"engine/cataloger/...", "engine/secret", "engine/finding", "engine/misconfig", "internal/blobcache", "internal/feeds", "internal/sharedtest"},
	{"engine/layer", "engine/match", "engine/policy", "engine/sbom"},
	{"engine/policy/bundle", "engine/policy/rego", "internal/catalog", "internal/verdicts"},
	{"engine", "internal/audit", "internal/auth", "internal/notify"},
	{"internal/gate", "internal/scan"},
	{"proxy", "internal/admission/...", "internal/api", "internal/garbage"},
	{"internal/gatetest"},
	{"internal/config", "internal/doctor"},
	{"cmd/pratique", "deploy"},
}

// testHelpers are for tests alone, of any line, and for helpers of lines below
// their own.
var testHelpers = []string{"internal/imagetest", "internal/registrytest", "internal/clients", "internal/faultnet", "internal/sharedtest", "internal/gatetest"}

// homes says which packages may import a big dependency. Where tests is true,
// so may the tests of any package.
var homes = []struct {
	imports  []string // import path prefixes
	packages []string
	tests    bool
}{
	{imports: []string{"github.com/open-policy-agent/opa"}, packages: []string{"engine/policy/rego"}},
	{imports: []string{"github.com/redis/go-redis"}, packages: []string{"internal/verdicts"}},
	{imports: []string{"database/sql", "modernc.org/sqlite", "github.com/jackc/pgx"}, packages: []string{"internal/catalog"}, tests: true},
	{imports: []string{"github.com/distribution/distribution/v3/registry"},
		packages: []string{"internal/localregistry", "internal/registrytest", "internal/clients"}},
	{imports: []string{"github.com/google/go-containerregistry"},
		packages: []string{"internal/upstream", "internal/imagetest", "internal/registrytest", "internal/clients"}, tests: true},
	{imports: []string{"github.com/aws", "cloud.google.com/go", "github.com/Azure"}, packages: []string{"internal/upstream"}},
	{imports: []string{"k8s.io"}, packages: []string{"internal/admission", "deploy"}, tests: true},
	{imports: []string{"github.com/containerd/containerd/api", "google.golang.org/grpc"}, packages: []string{"internal/scan"}},
	{imports: []string{"github.com/zricethezav/gitleaks"}, packages: []string{"engine/secret"}},
	{imports: []string{"github.com/google/licensecheck", "github.com/github/go-spdx"}, packages: []string{"engine/license"}},
	{imports: []string{"github.com/CycloneDX/cyclonedx-go", "github.com/spdx/tools-golang"}, packages: []string{"engine/sbom"}},
	{imports: []string{"helm.sh", "sigs.k8s.io/kustomize", "github.com/hashicorp/hcl"}, packages: []string{"deploy"}},
}

// maxLines is the most a file may have; see the budgets in CONTRIBUTING.md.
const maxLines = 500

// source is one Go file of the module.
type source struct {
	path    string // slash-separated, from the module root
	imports []string
	lines   int
}

func (s source) pkg() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func TestImportOrder(t *testing.T) {
	for _, f := range sources(t) {
		if f.pkg() == "." {
			continue
		}
		home, line := place(f.pkg())
		if home == "" {
			t.Errorf("%s: package %s has no place in the order", f.path, f.pkg())
			continue
		}
		for _, imported := range f.imports {
			rest, ok := strings.CutPrefix(imported, module)
			if !ok {
				continue
			}
			if why := forbidden(f, home, line, rest); why != "" {
				t.Errorf("%s imports %s: %s", f.path, rest, why)
			}
		}
	}
}

// forbidden tells why the file, of the given home on the given line, may not
// import the package, or "".
func forbidden(f source, home string, line int, imported string) string {
	other, otherLine := place(imported)
	switch {
	case other == "":
		return "has no place in the order"
	case other == home:
		return ""
	case slices.Contains(testHelpers, other):
		if f.isTest() || slices.Contains(testHelpers, home) && otherLine < line {
			return ""
		}
		return "is for tests alone"
	case f.isTest() && otherLine == line:
		return "" // tests may use neighbours, as the package may not
	case otherLine == line:
		return "stands on the same line of the order"
	case otherLine > line:
		return "stands below it in the order"
	}
	return ""
}

func TestHomes(t *testing.T) {
	for _, f := range sources(t) {
		home, _ := place(f.pkg())
		for _, imported := range f.imports {
			for _, rule := range homes {
				within := func(prefix string) bool { return below(imported, prefix) }
				if !slices.ContainsFunc(rule.imports, within) || slices.Contains(rule.packages, home) {
					continue
				}
				if !rule.tests || !f.isTest() {
					t.Errorf("%s imports %s, whose home is %s", f.path, imported, strings.Join(rule.packages, ", "))
				}
			}
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range sources(t) {
		if f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", f.path, f.lines, maxLines)
		}
	}
}

// place finds the entry of the order that a package belongs to, and its line.
// The entry is empty if there is none.
func place(pkg string) (entry string, line int) {
	for i, entries := range order {
		for _, candidate := range entries {
			parent, tree := strings.CutSuffix(candidate, "/...")
			if pkg == parent || tree && below(pkg, parent) {
				return parent, i
			}
		}
	}
	return "", 0
}

// below tells whether a path is the prefix or lies in it.
func below(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// sources reads every Go file of the module, whatever its build constraints.
// The files are opened here, and not by the go command, so that a cached pass
// of this test is one of the same files.
func sources(t *testing.T) []source {
	t.Helper()
	var files []source
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "dist") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		f, err := read(name)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(name string) (source, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return source{}, err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ImportsOnly)
	if err != nil {
		return source{}, err
	}
	f := source{path: filepath.ToSlash(name), lines: strings.Count(string(data), "\n")}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		f.imports = append(f.imports, imported)
	}
	return f, nil
}
