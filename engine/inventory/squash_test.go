package inventory_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
)

// lay makes the report of a layer.
func lay(parts ...func(*inventory.Report)) *inventory.Report {
	r := &inventory.Report{Format: "tar", DiffID: digest.FromString(fmt.Sprint(len(parts)))}
	for _, part := range parts {
		part(r)
	}
	return r
}

func entry(kind inventory.EntryKind, path, link string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		r.Entries.Append(inventory.Entry{Path: path, Kind: kind, Link: link})
	}
}

func file(path string) func(*inventory.Report)     { return entry(inventory.File, path, "") }
func dir(path string) func(*inventory.Report)      { return entry(inventory.Dir, path, "") }
func link(path, to string) func(*inventory.Report) { return entry(inventory.Symlink, path, to) }
func special(path string) func(*inventory.Report)  { return entry(inventory.Special, path, "") }
func whiteout(path string) func(*inventory.Report) { return entry(inventory.Whiteout, path, "") }
func opaque(path string) func(*inventory.Report)   { return entry(inventory.OpaqueDir, path, "") }
func npm(path, name string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		file(path)(r)
		r.Packages = append(r.Packages, inventory.Package{Name: name, Version: "1", Type: "npm", Location: path})
	}
}

func gap(kind inventory.GapKind, path string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		if path != "" {
			file(path)(r)
		}
		r.Gaps = append(r.Gaps, inventory.Gap{Kind: kind, Code: "test", Path: path})
	}
}

func database(kind, path string, names ...string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		file(path)(r)
		r.Databases = append(r.Databases, inventory.Database{Path: path, Type: kind})
		for _, name := range names {
			r.Packages = append(r.Packages, inventory.Package{Name: name, Version: "1", Type: kind, Location: path})
		}
	}
}

func list(path, pkg string, files ...string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		file(path)(r)
		for _, f := range files {
			r.Owned = append(r.Owned, inventory.Owned{Package: pkg, Path: f, Database: path})
		}
	}
}

func release(path, id, version string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		file(path)(r)
		r.Releases = append(r.Releases, inventory.OSRelease{Path: path, ID: id, VersionID: version})
	}
}

func squash(layers ...*inventory.Report) *inventory.Image {
	in := inventory.SquashInput{Config: image.Config{OS: "linux", Architecture: "amd64"}}
	for _, r := range layers {
		in.Layers = append(in.Layers, inventory.SquashLayer{Report: r, Digest: "sha256:x"})
		if r != nil {
			in.Config.DiffIDs = append(in.Config.DiffIDs, r.DiffID)
		}
	}
	return inventory.Squash(in)
}

// outcome gives "name" or "name@layer" of packages that are not of the lowest
// layer, and "kind code path" of gaps.
func outcome(im *inventory.Image) (packages, gaps []string) {
	packages, gaps = []string{}, []string{}
	for _, p := range im.Packages {
		name := p.Name
		if p.Layer > 0 {
			name += fmt.Sprint("@", p.Layer)
		}
		packages = append(packages, name)
	}
	for _, g := range im.Gaps {
		gaps = append(gaps, string(g.Kind)+" "+g.Code+" "+g.Path)
	}
	slices.Sort(packages)
	return packages, gaps
}

func TestSquash(t *testing.T) {
	none := []string{}
	apk, rpm := "lib/apk/db/installed", "var/lib/rpm/rpmdb.sqlite"
	base := lay(npm("app/a/package.json", "a"), npm("app/b/package.json", "b"))
	for _, test := range []struct {
		name     string
		layers   []*inventory.Report
		packages []string
		gaps     []string
	}{
		{"nothing", nil, none, none},
		{"layers add up", []*inventory.Report{base, lay(npm("c/package.json", "c"))}, []string{"a", "b", "c@1"}, none},
		{"whiteout of a file", []*inventory.Report{base, lay(whiteout("app/a/package.json"))}, []string{"b"}, none},
		{"whiteout of a directory", []*inventory.Report{base, lay(whiteout("app/a"))}, []string{"b"}, none},
		{"whiteout of nothing", []*inventory.Report{base, lay(whiteout("nope"), whiteout("app/a/x/y"))}, []string{"a", "b"}, none},
		{"whiteout after its own layer's file", []*inventory.Report{base, lay(npm("app/a/package.json", "new"), whiteout("app/a"))}, []string{"b", "new@1"}, none},
		{"opaque directory", []*inventory.Report{base, lay(npm("app/c/package.json", "c"), opaque("app"))}, []string{"c@1"}, none},
		{"opaque root", []*inventory.Report{base, lay(opaque(""))}, none, none},
		{"opaque does not follow the link it replaces", []*inventory.Report{lay(npm("real/a/package.json", "a"), link("app", "real")), lay(dir("app"), opaque("app"))}, []string{"a"}, none},
		{"deleted and brought back", []*inventory.Report{base, lay(whiteout("app/a")), lay(npm("app/a/package.json", "a"))}, []string{"a@2", "b"}, none},
		{"replaced by an uninteresting file", []*inventory.Report{base, lay(file("app/a/package.json"))}, []string{"b"}, none},
		{"directory replaced by a file", []*inventory.Report{base, lay(file("app"))}, none, none},
		{"directory replaced by a link", []*inventory.Report{base, lay(link("app", "/elsewhere"))}, none, none},
		{"directory again", []*inventory.Report{base, lay(dir("app"), dir("app/a"))}, []string{"a", "b"}, none},
		{"link replaced by a directory", []*inventory.Report{lay(npm("real/a/package.json", "a"), link("app", "real")), lay(dir("app"), npm("app/a/package.json", "new"))}, []string{"a", "new@1"}, none},
		{"file through a link", []*inventory.Report{lay(link("app", "real"), npm("real/a/package.json", "a"), npm("app/a/package.json", "new"))}, []string{"new"}, none},
		{"file through a lower link", []*inventory.Report{lay(link("app", "real"), npm("real/a/package.json", "a")), lay(npm("app/a/package.json", "new"))}, []string{"new@1"}, []string{"blind path-through-link app/a/package.json"}},
		{"whiteout through a lower link", []*inventory.Report{lay(link("app", "real"), npm("real/a/package.json", "a")), lay(whiteout("app/a"))}, none, []string{"blind path-through-link app/a"}},
		{"links that go round", []*inventory.Report{lay(link("x", "y"), link("y", "x"), link("z", "z/z/z"), npm("x/package.json", "a"), npm("z/package.json", "b"))}, []string{"a", "b"}, none},
		{"link to above the root", []*inventory.Report{lay(link("d/up", "../../../srv"), npm("d/up/package.json", "a"), file("srv/package.json"))}, none, none},
		{"same layer twice", []*inventory.Report{base, base}, []string{"a", "b"}, none},
		{"same layer twice, between others", []*inventory.Report{base, lay(whiteout("app")), base}, []string{"a@2", "b@2"}, none},
		{"database rewritten", []*inventory.Report{lay(database("apk", apk, "old", "stays")), lay(database("apk", apk, "stays", "new"))}, []string{"new@1", "stays"}, none},
		{"database emptied", []*inventory.Report{lay(database("apk", apk, "old")), lay(database("apk", apk))}, none, none},
		{"database in a chroot", []*inventory.Report{lay(database("apk", apk, "a"), database("apk", "srv/"+apk, "b"))}, []string{"a", "b"}, none},
		{"database behind a link", []*inventory.Report{lay(link("lib", "usr/lib"), database("apk", "usr/"+apk, "a"))}, []string{"a"}, none},
		{"database is a link to something unread", []*inventory.Report{lay(link("var/lib/dpkg/status", "/etc/passwd"))}, none, []string{"blind database-unreadable var/lib/dpkg/status"}},
		{"database's directory is a link", []*inventory.Report{lay(link("lib/apk", "/x"), file("x/db/installed"))}, none, []string{"blind database-unreadable lib/apk"}},
		{"database is a pipe", []*inventory.Report{lay(special(apk))}, none, []string{"blind database-unreadable " + apk}},
		{"Nix store", []*inventory.Report{lay(database("nix-store", "nix/var/nix/db/db.sqlite"))}, none, []string{"blind nix-store-unread nix/var/nix/db/db.sqlite"}},
		{"Nix store deleted", []*inventory.Report{lay(database("nix-store", "nix/var/nix/db/db.sqlite")), lay(whiteout("nix"))}, none, none},
		{"log of another layer than its database", []*inventory.Report{lay(database("rpm", rpm, "a")), lay(database("write-ahead-log", rpm+"-wal"))}, []string{"a"}, []string{"blind database-log-apart " + rpm}},
		{"log of its database's layer", []*inventory.Report{lay(database("rpm", rpm, "a"), database("write-ahead-log", rpm+"-wal"))}, []string{"a"}, none},
		{"no database", []*inventory.Report{lay(release("etc/os-release", "debian", "12"))}, none, []string{"partial database-missing "}},
		{"gap", []*inventory.Report{lay(gap("partial", "a/package.json"))}, none, []string{"partial test a/package.json"}},
		{"gap deleted", []*inventory.Report{lay(gap("partial", "a/package.json")), lay(whiteout("a"))}, none, none},
		{"gap of the stream stays", []*inventory.Report{lay(gap("blind", "")), lay(opaque(""))}, none, []string{"blind test "}},
		{"layer not read", []*inventory.Report{nil}, none, []string{"blind diffid-mismatch ", "blind layer-unread "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			packages, gaps := outcome(squash(test.layers...))
			if diff := cmp.Diff(test.packages, packages); diff != "" {
				t.Errorf("packages (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.gaps, gaps); diff != "" {
				t.Errorf("gaps (-want +got)\n%s", diff)
			}
		})
	}
}

func TestSquashChecks(t *testing.T) {
	r := &inventory.Report{Format: "tar", Digest: "sha256:a", DiffID: "sha256:b", Size: 5}
	good := inventory.SquashInput{Config: image.Config{OS: "linux", DiffIDs: []digest.Digest{"sha256:b"}},
		Layers: []inventory.SquashLayer{{Digest: "sha256:a", Size: 5, Report: r}}}
	for _, test := range []struct {
		name   string
		change func(*inventory.SquashInput)
		want   []string
	}{
		{"good", func(*inventory.SquashInput) {}, []string{}},
		{"size", func(in *inventory.SquashInput) { in.Layers[0].Size = 6 }, []string{"blind size-mismatch "}},
		{"size of another blob with this tar", func(in *inventory.SquashInput) { in.Layers[0].Size, in.Layers[0].Digest = 6, "sha256:c" }, []string{}},
		{"diffID", func(in *inventory.SquashInput) { in.Config.DiffIDs = []digest.Digest{"sha256:c"} }, []string{"blind diffid-mismatch "}},
		{"too few diffIDs", func(in *inventory.SquashInput) { in.Config.DiffIDs = nil }, []string{"blind diffid-mismatch "}},
		{"Windows", func(in *inventory.SquashInput) { in.Config.OS = "windows" }, []string{"blind os-unsupported "}},
		{"no tar", func(in *inventory.SquashInput) { in.Layers[0].Report = &inventory.Report{Format: "json"} }, []string{"blind layer-not-tar "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := good
			in.Layers = slices.Clone(good.Layers)
			test.change(&in)
			if _, gaps := outcome(inventory.Squash(in)); !slices.Equal(gaps, test.want) {
				t.Errorf("%q, want %q", gaps, test.want)
			}
		})
	}
}

func TestOwnership(t *testing.T) {
	site, status := "usr/lib/python3/dist-packages/x.egg-info/PKG-INFO", "var/lib/dpkg/status"
	python := func(path string) func(*inventory.Report) {
		return func(r *inventory.Report) {
			file(path)(r)
			r.Packages = append(r.Packages, inventory.Package{Name: "x", Version: "1", Type: "python", Location: path})
		}
	}
	claim := list("var/lib/dpkg/info/p.list", "p", "lib/x/PKG-INFO")
	for _, test := range []struct {
		name   string
		layers []*inventory.Report
		want   string
	}{
		{"claimed, through a link", []*inventory.Report{lay(link("lib", "usr/lib"), database("deb", status, "p"), claim, python("usr/lib/x/PKG-INFO"))}, "p"},
		{"claimed in an upper layer", []*inventory.Report{lay(python("lib/x/PKG-INFO")), lay(database("deb", status, "p"), claim)}, "p"},
		{"package not installed", []*inventory.Report{lay(database("deb", status, "q"), claim, python("lib/x/PKG-INFO"))}, ""},
		{"claim deleted", []*inventory.Report{lay(database("deb", status, "p"), claim, python("lib/x/PKG-INFO")), lay(whiteout("var/lib/dpkg/info"))}, ""},
		{"claim of another root", []*inventory.Report{lay(database("deb", "srv/"+status, "p"), claim, python("lib/x/PKG-INFO"))}, ""},
		{"distroless", []*inventory.Report{lay(database("deb", "var/lib/dpkg/status.d/p", "p"), python(site))}, "dpkg"},
		{"dist-packages without dpkg", []*inventory.Report{lay(python(site))}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, p := range squash(test.layers...).Packages {
				if p.Type == "python" && p.OwnedBy != test.want {
					t.Errorf("owned by %q, want %q", p.OwnedBy, test.want)
				}
			}
		})
	}
}

func TestDistro(t *testing.T) {
	for _, test := range []struct{ id, version, want string }{
		{"alpine", "3.20.3", "Alpine:v3.20"}, {"alpine", "3.23_alpha20250612", "Alpine:edge"}, {"alpine", "edge", "Alpine:edge"}, {"alpine", "3", ""},
		{"debian", "12", "Debian:12"}, {"debian", "12.7", "Debian:12"}, {"debian", "", ""}, {"debian", "sid", ""},
		{"ubuntu", "22.04", "Ubuntu:22.04:LTS"}, {"ubuntu", "23.04", "Ubuntu:23.04"}, {"ubuntu", "23.10", "Ubuntu:23.10"}, {"ubuntu", "24.10", "Ubuntu:24.10"},
		{"wolfi", "20230201", "Wolfi"}, {"chainguard", "1", "Chainguard"}, {"almalinux", "9.0", "AlmaLinux:9"}, {"rocky", "9.0", "Rocky Linux:9"}, {"madeup", "9", ""},
		{"rhel", "9.4", "Red Hat:enterprise_linux:9::baseos"}, {"centos", "7", "Red Hat:enterprise_linux:7::baseos"}, {"amzn", "2023", "Amazon Linux:2023"},
		{"ol", "8.9", "Oracle Linux:8"}, {"sles", "15.5", "SUSE:Linux Enterprise Server 15 SP5"}, {"sles", "15", "SUSE:Linux Enterprise Server 15"},
		{"opensuse-leap", "15.5", "openSUSE:Leap 15.5"}, {"opensuse-tumbleweed", "20240101", "openSUSE:Tumbleweed"},
		{"mariner", "2.0.20230107", "Azure Linux:2"}, {"azurelinux", "3.0", "Azure Linux:3"}, {"photon", "5.0", "Photon OS:5.0"}, {"photon", "", ""},
	} {
		got := ""
		if all := inventory.Ecosystems(inventory.OSRelease{ID: test.id, VersionID: test.version}); len(all) > 0 {
			got = all[0]
		}
		if got != test.want {
			t.Errorf("%s %s: %q, want %q", test.id, test.version, got, test.want)
		}
	}
	for _, test := range []struct {
		name   string
		layers []*inventory.Report
		want   string
	}{
		{"etc wins", []*inventory.Report{lay(release("etc/os-release", "alpine", "3.20.3"), release("usr/lib/os-release", "debian", "12"))}, "alpine"},
		{"through a link", []*inventory.Report{lay(link("etc/os-release", "../usr/lib/os-release"), release("usr/lib/os-release", "debian", "12"))}, "debian"},
		{"older files are weaker", []*inventory.Report{lay(release("etc/debian_version", "debian", "12"), release("usr/lib/os-release", "ubuntu", "22.04"))}, "ubuntu"},
		{"upper layer", []*inventory.Report{lay(release("etc/os-release", "alpine", "3.20.3")), lay(release("etc/os-release", "alpine", "3.21.0"))}, "alpine"},
	} {
		if got := squash(test.layers...).Distro.ID; got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestPURL(t *testing.T) {
	r := lay(release("etc/os-release", "debian", "12"), file("f"), file("var/lib/dpkg/status"))
	r.Packages = append(r.Packages, []inventory.Package{
		{Type: "deb", Name: "libssl3", Version: "1:3.0.1-1~x", Arch: "amd64", Location: "f"},
		{Type: "npm", Name: "@babel/core", Version: "7.0.0", Location: "f"},
		{Type: "go", Name: "golang.org/x/net", Version: "v0.7.0", Location: "f"},
		{Type: "go", Name: "stdlib", Version: "go1.21.0", Location: "f"},
		{Type: "python", Name: "Jinja2", Version: "3.1.2", Location: "f"},
	}...)
	var got []string
	for _, p := range squash(r).Packages {
		got = append(got, p.PURL)
	}
	want := []string{"pkg:deb/debian/libssl3@1:3.0.1-1~x?arch=amd64&distro=debian-12", "pkg:golang/golang.org/x/net@v0.7.0",
		"pkg:golang/stdlib@1.21.0", "pkg:npm/%40babel/core@7.0.0", "pkg:pypi/jinja2@3.1.2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCleanPath(t *testing.T) {
	for _, test := range []struct {
		in, want string
		climbs   bool
	}{
		{"a/b", "a/b", false}, {"./a//b/", "a/b", false}, {"/a/./b", "a/b", false}, {"", "", false}, {"/", "", false}, {".", "", false},
		{"a/../b", "b", false}, {"../a", "a", true}, {"a/../../b", "b", true}, {"..", "", true}, {".wh.x", ".wh.x", false}, {"a\\b\x01", `a\x5cb\x01`, false},
	} {
		if got, climbs := inventory.CleanPath(test.in); got != test.want || climbs != test.climbs {
			t.Errorf("%q: %q %v, want %q %v", test.in, got, climbs, test.want, test.climbs)
		}
	}
}

// TestTooComplex: paths that cost more than an image may end in a blind gap.
func TestTooComplex(t *testing.T) {
	deep := ""
	for range 500 {
		deep += "/d"
	}
	r := lay()
	for i := range 3000 {
		link(fmt.Sprintf("%d%s/l", i, deep), "x")(r)
	}
	if _, gaps := outcome(squash(r)); !slices.Contains(gaps, "blind image-too-complex ") {
		t.Errorf("gaps %q", gaps)
	}
}

func BenchmarkSquash(b *testing.B) {
	var layers []*inventory.Report
	for l := range 2 {
		r := lay()
		for i := range 25_000 {
			path := fmt.Sprintf("usr/lib/node_modules/p%d/dir%d/file%d", i/50, i/10, i)
			if i%50 == 0 {
				npm(fmt.Sprintf("usr/lib/node_modules/p%d/package.json", i/50+l*300), fmt.Sprint("p", i))(r)
			}
			file(path)(r)
		}
		database("deb", "var/lib/dpkg/status", "a", "b", "c")(r)
		layers = append(layers, r)
	}
	for b.Loop() {
		squash(layers...)
	}
}
