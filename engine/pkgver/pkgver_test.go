package pkgver_test

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/pkgver"
	"github.com/pratique/pratique/internal/sharedtest"
)

func TestCompare(t *testing.T) {
	tests := []struct {
		name, ecosystem, a, b string
		want                  int
	}{
		{"release suffix", "Debian:12", "3.0.8-1", "3.0.11-1~deb12u2", -1},
		{"debian tilde", "Debian:12", "1.0~rc1-1", "1.0-1", -1},
		{"debian epoch", "Debian:11", "1:1.2.11", "2.0", +1},
		{"alpine revision", "Alpine:v3.20", "3.3.1-r0", "3.3.1-r3", -1},
		{"alpine pre-release", "Alpine:v3.20", "1.0_rc1-r0", "1.0-r0", -1},
		{"alpine patch without underscore", "Alpine:v3.12", "1.8.31p1-r1", "1.8.31p2-r0", -1},
		{"alpine revision after a dot", "Alpine:v3.9", "10.2.24.r0", "10.2.24-r1", -1},
		{"npm", "npm", "4.17.20", "4.17.21", -1},
		{"npm leading v", "npm", "v4.17.21", "4.17.21", 0},
		{"npm pre-release", "npm", "5.0.0-beta.1", "5.0.0", -1},
		{"pypi", "PyPI", "2.0", "2.0.0", 0},
		{"pypi pre-release", "PyPI", "2.0rc1", "2.0", -1},
		{"pypi capital", "PyPI", "2.0RC1", "2.0rc1", 0},
		{"go module", "Go", "v0.7.0", "0.17.0", -1},
		{"go module pre-release", "Go", "v1.2.3-beta", "1.2.3", -1},
		{"go pseudo-version", "Go", "v0.0.0-20220722155217-630584e8d5aa", "0.0.0-20220906165146-f3363e06e74c", -1},
		{"go incompatible", "Go", "v2.8.2+incompatible", "2.8.2", 0},
		{"go toolchain", "Go", "go1.21.0", "1.21.0", 0},
		{"go toolchain without patch", "Go", "go1.20", "1.20.0", 0},
		{"go toolchain rc", "Go", "go1.21rc2", "go1.21.0", -1},
		{"go toolchain rc and semver rc", "Go", "go1.21rc2", "1.21.0-rc.3", -1},
		{"go toolchain rc after rc", "Go", "1.21rc10", "1.21rc2", +1},
		{"go toolchain beta before rc", "Go", "go1.18beta2", "go1.18rc1", -1},
		{"go toolchain rc of a patch", "Go", "go1.9.2rc2", "1.9.2", -1},
		{"go release begins with -0", "Go", "go1.21rc1", "1.21.0-0", +1},
		{"go vendor suffix", "Go", "go1.20.5-google", "1.20.5", 0},
		{"go vendor words", "Go", "go1.24.4 X:boringcrypto", "1.24.4", 0},
		{"go vendor package release", "Go", "go1.19.9-1.el9", "1.19.9", 0},
		{"go devel", "Go", "devel go1.22-4d6ac0b1b2 Mon Jul 3 10:00:00 2023", "go1.22rc1", -1},
		{"go devel after -0", "Go", "devel go1.22-4d6ac0b1b2", "1.22.0-0", +1},
		{"product with a letter", "NVD", "1.1.1t", "1.1.1w", -1},
		{"product without the letter", "NVD", "1.1.1", "1.1.1a", -1},
		{"product with a patch", "NVD", "9.6p1", "9.6", +1},
		{"product before a release", "NVD", "3.0.0-alpha1", "3.0.0", -1},
		{"product with two numbers", "NVD", "2.90", "2.100", -1},
		{"azure linux, a fix without the tag of the distribution", "Azure Linux:3", "20240524git3e722403cd16-6.azl3", "20240524git3e722403cd16-6", +1},
		{"azure linux, before the fix", "Azure Linux:3", "3.3.0-2.azl3", "3.3.3-1", -1},
		{"mariner", "Azure Linux:2", "1.1.1k-30.cm2", "1.1.1k-28.cm2", +1},
		{"photon", "Photon OS:5.0", "3.0.13-1.ph5", "3.0.13-2.ph5", -1},
		{"photon tilde", "Photon OS:4.0", "6.2~rc1-1.ph4", "6.2-1.ph4", -1},
		{"photon epoch", "Photon OS:3.0", "1:2.1-1.ph3", "9.0-1.ph3", +1},
		{"rpm", "AlmaLinux:9", "1:3.0.7-24.el9", "1:3.0.7-25.el9_3", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, order := range []struct {
				a, b string
				want int
			}{{tt.a, tt.b, tt.want}, {tt.b, tt.a, -tt.want}} {
				got, err := pkgver.Compare(tt.ecosystem, order.a, order.b)
				if err != nil {
					t.Fatal(err)
				}
				if got != order.want {
					t.Errorf("Compare(%q, %q, %q) = %d, want %d", tt.ecosystem, order.a, order.b, got, order.want)
				}
			}
		})
	}
}

func TestCompareErrors(t *testing.T) {
	tests := []struct {
		name, ecosystem, version string
		want                     error
	}{
		{"no ecosystem", "", "1.0", pkgver.ErrUnknownEcosystem},
		{"unknown ecosystem", "Haiku:r1", "1.0", pkgver.ErrUnknownEcosystem},
		{"empty", "npm", "", pkgver.ErrInvalidVersion},
		{"go devel build", "Go", "(devel)", pkgver.ErrInvalidVersion},
		{"go devel commit", "Go", "devel +abc123", pkgver.ErrInvalidVersion},
		{"go word", "Go", "gopher", pkgver.ErrInvalidVersion},
		{"npm tag", "npm", "latest", pkgver.ErrInvalidVersion},
		{"npm four numbers", "npm", "1.2.3.4", pkgver.ErrInvalidVersion},
		{"npm git url", "npm", "git+https://example.com/x.git", pkgver.ErrInvalidVersion},
		{"debian blank", "Debian:12", "1.0 1", pkgver.ErrInvalidVersion},
		{"debian no upstream", "Debian:12", "1:", pkgver.ErrInvalidVersion},
		{"alpine word", "Alpine:v3.20", "edge", pkgver.ErrInvalidVersion},
		{"alpine unknown suffix", "Alpine:v3.20", "1.0_foo1-r0", pkgver.ErrInvalidVersion},
		{"pypi free form", "PyPI", "2004d", pkgver.ErrInvalidVersion},
		{"rpm blank", "Red Hat", "1 2", pkgver.ErrInvalidVersion},
		{"maven blank", "Maven", "1.0 final", pkgver.ErrInvalidVersion},
		{"control character", "PyPI", "1.0\x00", pkgver.ErrInvalidVersion},
		{"too long", "npm", "1.0." + strings.Repeat("9", 300), pkgver.ErrInvalidVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := pkgver.Compare(tt.ecosystem, tt.version, "1.0"); !errors.Is(err, tt.want) {
				t.Errorf("Compare(%q, %q, 1.0) error %v, want %v", tt.ecosystem, tt.version, err, tt.want)
			}
			if _, err := pkgver.Compare(tt.ecosystem, "1.0", tt.version); !errors.Is(err, tt.want) {
				t.Errorf("Compare(%q, 1.0, %q) error %v, want %v", tt.ecosystem, tt.version, err, tt.want)
			}
		})
	}
	if _, err := (pkgver.Version{}).Compare("1"); !errors.Is(err, pkgver.ErrInvalidVersion) {
		t.Errorf("the zero Version compares: %v", err)
	}
}

func TestKnown(t *testing.T) {
	for ecosystem, want := range map[string]bool{"Debian:12": true, "Ubuntu:22.04:LTS": true, "npm": true, "GIT": false, "": false, "OSS-Fuzz": false} {
		if got := pkgver.Known(ecosystem); got != want {
			t.Errorf("Known(%q) = %v, want %v", ecosystem, got, want)
		}
	}
}

// orderings are files of lines "A < B" and the ecosystems whose order they state.
var orderings = []struct{ file, ecosystem string }{
	{"alpine-versions.txt", "Alpine"},
	{"alpine-versions-generated.txt", "Alpine"},
	{"cran-versions.txt", "CRAN"},
	{"cran-versions-generated.txt", "CRAN"},
	{"debian-versions.txt", "Debian"},
	{"debian-versions-generated.txt", "Debian"},
	{"hackage-versions.txt", "Hackage"},
	{"maven-versions.txt", "Maven"},
	{"maven-versions-generated.txt", "Maven"},
	{"nuget-versions.txt", "NuGet"},
	{"packagist-versions.txt", "Packagist"},
	{"packagist-versions-generated.txt", "Packagist"},
	{"pub-versions.txt", "Pub"},
	{"pypi-versions.txt", "PyPI"},
	{"pypi-versions-generated.txt", "PyPI"},
	{"redhat-versions.txt", "Red Hat"},
	{"rubygems-versions.txt", "RubyGems"},
	{"rubygems-versions-generated.txt", "RubyGems"},
	{"semver-versions.txt", "npm"},
	{"semver-versions.txt", "Go"},
}

// refused counts the lines of the shared data that are refused on purpose, by
// ecosystem and file, because one side is no version of the ecosystem. The
// library gives an order to those too, and below or above what they belong is a
// guess.
var refused = map[string]int{
	"Alpine alpine-versions.txt":       31, // "1-r", "0..8", "1.2_blah", ".1", "a": apk calls each invalid
	"PyPI pypi-versions.txt":           11, // "0.9-doduo": before PEP 440, "-class.-jw...": a defect of a build tool
	"PyPI pypi-versions-generated.txt": 69, // "0.7.10p1", "0.4m1", "4.11-final", "2013-09-11T19-27-10"
	"Red Hat redhat-versions.txt":      9,  // Greek letters
	"npm semver-versions.txt":          1,  // "1.1.3.4.5": five numbers
	"Go semver-versions.txt":           1,
}

func TestSharedOrderings(t *testing.T) {
	dir := sharedtest.Dir(t, "data", "versions")
	for _, o := range orderings {
		t.Run(o.ecosystem+"/"+o.file, func(t *testing.T) {
			checkOrderings(t, o.ecosystem, filepath.Join(dir, o.file))
		})
	}
}

func TestFixtureOrderings(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		ecosystem := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(ecosystem, func(t *testing.T) { checkOrderings(t, ecosystem, file) })
	}
}

func checkOrderings(t *testing.T, ecosystem, file string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, errs := 0, 0
	for scan := bufio.NewScanner(f); scan.Scan(); {
		line := scan.Text()
		part := strings.Split(line, " ")
		if line == "" || part[0] == "#" || part[0] == "//" {
			continue
		}
		lines++
		got, err := pkgver.Compare(ecosystem, part[0], part[2])
		if errors.Is(err, pkgver.ErrInvalidVersion) {
			errs++
			t.Logf("%q: %v", line, err)
			continue
		}
		if want := strings.Index("<=>", part[1]) - 1; err != nil || got != want {
			t.Errorf("%q: got %d, %v", line, got, err)
		}
	}
	if want := refused[ecosystem+" "+filepath.Base(file)]; errs != want {
		t.Errorf("%d of %d lines refused, want %d", errs, lines, want)
	}
}

func FuzzCompare(f *testing.F) {
	ecosystems := []string{"Debian:12", "Alpine:v3.20", "Go", "npm", "PyPI", "Red Hat", "Maven", "RubyGems", "NuGet", "Packagist", "Pub", "CRAN", "Hackage"}
	for i, pair := range [][2]string{{"1.0-1", "1:1.0~rc1"}, {"1.2_rc1-r0", "1.2-r1"}, {"go1.21rc2", "1.21.0"}, {"1.2.3-a.b", "1.2.3-a.5"}, {"1!2.0.post1", "2.0.dev3+l"}, {"1:1.0-1.el9", "1.0^git1-1"}} {
		f.Add(uint8(i), pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, which uint8, a, b string) {
		ecosystem := ecosystems[int(which)%len(ecosystems)]
		ab, errAB := pkgver.Compare(ecosystem, a, b)
		ba, errBA := pkgver.Compare(ecosystem, b, a)
		if (errAB == nil) != (errBA == nil) {
			t.Fatalf("%s: %q and %q: one direction fails: %v, %v", ecosystem, a, b, errAB, errBA)
		}
		if errAB == nil && ab != -ba {
			t.Errorf("%s: %q and %q: %d one way, %d the other", ecosystem, a, b, ab, ba)
		}
		if aa, err := pkgver.Compare(ecosystem, a, a); err == nil && aa != 0 {
			t.Errorf("%s: %q differs from itself: %d", ecosystem, a, aa)
		}
	})
}
