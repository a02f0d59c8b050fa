package match_test

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
	"github.com/pratique/pratique/internal/sharedtest"
)

// osvIndex is an Index over the zips of an OSV export.
type osvIndex struct {
	records map[advisory.Key][]advisory.Advisory
	covered map[string]int
}

func (x *osvIndex) Lookup(ecosystem, pkg string) ([]advisory.Advisory, error) {
	return x.records[advisory.Key{Ecosystem: ecosystem, Package: advisory.NormalizeName(ecosystem, pkg)}], nil
}

func (x *osvIndex) Score(string) (advisory.Score, bool, error) { return advisory.Score{}, false, nil }

func (x *osvIndex) CVE(string) (advisory.CVEFacts, bool, error) {
	return advisory.CVEFacts{}, false, nil
}

func (x *osvIndex) Covers(ecosystem string) (advisory.Coverage, bool) {
	n, ok := x.covered[ecosystem]
	return advisory.Coverage{Ecosystem: ecosystem, Records: n}, ok
}

func readOSV(t *testing.T, dir string) *osvIndex {
	t.Helper()
	x := &osvIndex{records: map[advisory.Key][]advisory.Advisory{}, covered: map[string]int{}}
	for _, ecosystem := range []string{"AlmaLinux", "Debian", "Alpine", "Go", "Maven", "npm", "PyPI"} {
		z, err := zip.OpenReader(filepath.Join(dir, ecosystem, "all.zip"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range z.File {
			x.add(t, file)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x *osvIndex) add(t *testing.T, file *zip.File) {
	t.Helper()
	r, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	list, err := advisory.FromOSV(raw)
	if err != nil {
		t.Logf("%s: %v", file.Name, err)
	}
	for _, a := range list {
		key := advisory.Key{Ecosystem: a.Ecosystem, Package: advisory.NormalizeName(a.Ecosystem, a.Package)}
		x.records[key] = append(x.records[key], a)
		x.covered[a.Ecosystem]++
	}
}

// truth is what a truth file says of one platform of an image.
type truth struct {
	Findings    []truthFinding `json:"findings"`
	FindingsOS  []truthFinding `json:"findings_os"`
	FindingsNpm []truthFinding `json:"findings_npm"`
	Packages    []truthPackage `json:"packages"`
	PackagesOS  []truthPackage `json:"packages_os"`
	PackagesNpm []truthPackage `json:"packages_npm"`
	Modules     []truthPackage `json:"modules"`
	Python      []truthPackage `json:"python"`
	Go          string         `json:"go"`
}

type truthFinding struct {
	ID      string  `json:"id"`
	Package string  `json:"package"`
	Version string  `json:"version"`
	Fixed   *string `json:"fixed"`
}

type truthPackage struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Source        string `json:"source"`
	SourceVersion string `json:"source_version"`
	Origin        string `json:"origin"`
	Path          string `json:"path"`
	OwnedByDpkg   bool   `json:"owned_by_dpkg"`
}

// image makes the inventory that the truth describes.
func (tr *truth) image(distro inventory.Distro) *inventory.Image {
	im := &inventory.Image{Distro: distro}
	system := inventory.TypeDeb
	if distro.ID == "alpine" {
		system = inventory.TypeApk
	}
	add := func(typ string, list []truthPackage) {
		for _, p := range list {
			pkg := inventory.Package{
				Name: p.Name, Version: p.Version, Type: typ, Location: cmp.Or(p.Path, "db"),
				Source: cmp.Or(p.Source, p.Origin), SourceVersion: p.SourceVersion,
			}
			if p.OwnedByDpkg {
				pkg.OwnedBy = "dpkg"
			}
			im.Packages = append(im.Packages, pkg)
		}
	}
	add(system, tr.Packages)
	add(system, tr.PackagesOS)
	add(inventory.TypeNpm, tr.PackagesNpm)
	add(inventory.TypeGo, tr.Modules)
	add(inventory.TypePython, tr.Python)
	if tr.Go != "" {
		add(inventory.TypeGo, []truthPackage{{Name: "stdlib", Version: tr.Go}})
	}
	return im
}

// Every finding of the truth is found, and no finding is invented.
func TestCorpus(t *testing.T) {
	dir, exports := sharedtest.Dir(t, "corpus"), sharedtest.Dir(t, "data", "vulndb")
	start := time.Now()
	ix := readOSV(t, exports)
	t.Logf("advisories read in %v", time.Since(start))
	alpine := func(v string) inventory.Distro {
		return inventory.Distro{ID: "alpine", VersionID: v, Ecosystem: "Alpine:v" + v}
	}
	debian12 := inventory.Distro{ID: "debian", VersionID: "12", Ecosystem: "Debian:12"}
	tests := []struct {
		name   string
		distro inventory.Distro
	}{
		{"alpine-3.8", alpine("3.8")},
		{"alpine-3.12", alpine("3.12")},
		{"alpine-3.20", alpine("3.20")},
		{"alpine-3.20-multiarch", alpine("3.20")},
		{"node-app", alpine("3.20")},
		{"go-app", inventory.Distro{}},
		{"python-site", inventory.Distro{}},
		{"debian12-distroless", debian12},
		{"debian12-large-db", debian12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(dir, tt.name+".truth.json"))
			if err != nil {
				t.Fatal(err)
			}
			var doc struct{ Platforms map[string]truth }
			if err := json.Unmarshal(raw, &doc); err != nil {
				t.Fatal(err)
			}
			for arch, tr := range doc.Platforms {
				compareTruth(t, arch, &tr, match.Match(tr.image(tt.distro), ix))
			}
		})
	}
}

func compareTruth(t *testing.T, arch string, tr *truth, got match.Result) {
	t.Helper()
	want := slices.Concat(tr.Findings, tr.FindingsOS, tr.FindingsNpm)
	if len(got.Gaps) != 0 || len(want) > 0 && len(got.Findings) == 0 {
		t.Errorf("%s: %d findings, gaps %v", arch, len(got.Findings), got.Gaps)
	}
	met := make([]bool, len(got.Findings))
	for _, w := range want {
		i := slices.IndexFunc(got.Findings, func(f finding.Finding) bool {
			return f.Package == w.Package && f.Version == w.Version && (f.ID == w.ID || slices.Contains(f.Aliases, w.ID))
		})
		if i < 0 {
			t.Errorf("%s: missed %s in %s %s", arch, w.ID, w.Package, w.Version)
			continue
		}
		met[i] = true
		if f := got.Findings[i]; f.ID == w.ID && len(f.Aliases) < 2 && f.Fixed != fixedOf(w) {
			t.Errorf("%s: %s in %s: fixed in %q, want %q", arch, w.ID, w.Package, f.Fixed, fixedOf(w))
		}
	}
	for i, ok := range met {
		if f := got.Findings[i]; !ok {
			t.Errorf("%s: invented %s", arch, fmt.Sprint(f.ID, f.Aliases, f.Package, f.Version))
		}
	}
	t.Logf("%s: %d findings for %d of the truth", arch, len(got.Findings), len(want))
}

func fixedOf(w truthFinding) string {
	if w.Fixed == nil {
		return ""
	}
	return *w.Fixed
}
