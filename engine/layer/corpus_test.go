package layer_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/internal/sharedtest"
)

type store struct {
	t   testing.TB
	dir string
}

func (s store) blob(d digest.Digest) []byte {
	raw, err := os.ReadFile(filepath.Join(s.dir, "blobs", "sha256", d.Encoded()))
	if err != nil {
		s.t.Logf("blob: %v", err)
		return nil
	}
	return raw
}

// squash analyses an image of an OCI layout; nil when its manifest or config
// cannot be read, which is the caller's to see.
func (s store) squash(d digest.Digest) *inventory.Image {
	m, err := image.ParseManifest(s.blob(d), "")
	for err == nil && m.Index {
		m, err = image.ParseManifest(s.blob(m.Manifests[0].Digest), "")
	}
	if err != nil {
		s.t.Logf("manifest: %v", err)
		return nil
	}
	config, err := image.ParseConfig(s.blob(m.Config.Digest))
	if err != nil {
		s.t.Logf("config: %v", err)
		return nil
	}
	in := inventory.SquashInput{Manifest: m.Digest, Config: *config, ConfigDigest: m.Config.Digest}
	reports := map[digest.Digest]*inventory.Report{}
	for _, l := range m.Layers {
		if _, ok := reports[l.Digest]; !ok {
			reports[l.Digest] = s.analyze(l.Digest)
		}
		in.Layers = append(in.Layers, inventory.SquashLayer{Digest: l.Digest, Size: l.Size, Report: reports[l.Digest]})
	}
	return inventory.Squash(in)
}

func (s store) analyze(d digest.Digest) *inventory.Report {
	raw := s.blob(d)
	if raw == nil {
		return nil
	}
	config := layer.DefaultConfig()
	config.Limits.FreeBytes = 64 << 20 // the bomb is found sooner; no lawful layer here unpacks to 200 times its size
	report, err := analyzer(s.t, config).Analyze(s.t.Context(), bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	if report.Digest != digest.FromBytes(raw) || report.Size != int64(len(raw)) {
		s.t.Errorf("digest %s of %d bytes, want %s of %d", report.Digest, report.Size, digest.FromBytes(raw), len(raw))
	}
	if report.Digest != d {
		return nil // the caller refuses such a blob
	}
	return report
}

func load(t testing.TB, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type truthPackage struct{ Name, Version string }

type truth struct {
	Main     string
	Go       string
	Manifest digest.Digest
	Packages []truthPackage
	OS       []truthPackage `json:"packages_os"`
	Npm      []truthPackage `json:"packages_npm"`
	Python   []truthPackage
	Modules  []truthPackage
	Java     []truthPackage `json:"components"`
}

// names gives "type name version", sorted, of what the truth file lists.
func (tr truth) names(kind string) []string {
	var all []string
	add := func(kind string, list []truthPackage) {
		for _, p := range list {
			all = append(all, kind+" "+p.Name+" "+p.Version)
		}
	}
	add(kind, tr.Packages)
	add("apk", tr.OS)
	add("npm", tr.Npm)
	add("python", tr.Python)
	add("go", tr.Modules)
	add("java", tr.Java)
	if tr.Go != "" {
		all = append(all, "go stdlib "+tr.Go)
	}
	slices.Sort(all)
	return all
}

// beyondTruth lists what is found beyond the truth files, and why that is right.
// cmd/pratique's tests of findings have a list of their own.
var beyondTruth = map[string]string{
	"node-app: npm shop-api 1.4.2": "the app's own package.json",
	"java-app: archive-too-deep":   "a jar that holds archives nested 100 deep",

	"java-app: java org.apache.tomcat.embed:tomcat-embed-websocket 9.0.65": "named by its jar's manifest and settings alone",
}

func TestRealImages(t *testing.T) {
	dir := sharedtest.Dir(t, "corpus")
	for _, test := range []struct{ name, kind, ecosystem string }{
		{"alpine-3.8", "apk", "Alpine:v3.8"},
		{"alpine-3.12", "apk", "Alpine:v3.12"},
		{"alpine-3.20", "apk", "Alpine:v3.20"},
		{"alpine-3.20-multiarch", "apk", "Alpine:v3.20"},
		{"node-app", "npm", "Alpine:v3.20"},
		{"go-app", "go", ""},
		{"python-site", "python", ""},
		{"debian12-large-db", "deb", "Debian:12"},
		{"debian12-distroless", "deb", "Debian:12"},
		{"almalinux-8.8-micro", "rpm", "AlmaLinux:8"},
		{"almalinux-9.0-micro", "rpm", "AlmaLinux:9"},
		{"rpm-bdb-libuuid", "rpm", "AlmaLinux:8"},
		{"rpm-ndb-sle15", "rpm", "SUSE:Linux Enterprise Server 15 SP3"},
		{"rpm-sqlite-mariner", "rpm", "Azure Linux:2"},
		{"java-app", "java", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var file struct{ Platforms map[string]truth }
			load(t, filepath.Join(dir, test.name+".truth.json"), &file)
			for arch, want := range file.Platforms {
				got := store{t, filepath.Join(dir, test.name)}.squash(want.Manifest)
				var names []string
				for _, p := range got.Packages {
					name := p.Type + " " + p.Name + " " + p.Version
					if beyondTruth[test.name+": "+name] == "" {
						names = append(names, name)
					}
				}
				slices.Sort(names)
				if diff := cmp.Diff(want.names(test.kind), names); diff != "" {
					t.Errorf("%s: packages (-want +got)\n%s", arch, diff)
				}
				if got.Distro.Ecosystem != test.ecosystem || got.Platform.Architecture != arch {
					t.Errorf("%s: %+v %+v", arch, got.Distro, got.Platform)
				}
				for _, g := range got.Gaps {
					if beyondTruth[test.name+": "+g.Code] == "" {
						t.Errorf("%s: gap %+v", arch, g)
					}
				}
			}
		})
	}
}

func TestDebianSourcesAndOwners(t *testing.T) {
	dir := sharedtest.Dir(t, "corpus")
	var file struct {
		Platforms map[string]struct {
			Manifest digest.Digest
			Packages []struct {
				Name, Version, Source string
				SourceVersion         string `json:"source_version"`
			}
			Python []struct {
				Path  string
				Owned bool `json:"owned_by_dpkg"`
			}
		}
	}
	load(t, filepath.Join(dir, "debian12-large-db.truth.json"), &file)
	truth := file.Platforms["amd64"]
	sources, owned := map[string]string{}, map[string]bool{}
	for _, p := range (store{t, filepath.Join(dir, "debian12-large-db")}).squash(truth.Manifest).Packages {
		sources[p.Name] = p.Source + " " + p.SourceVersion
		owned[p.Location] = p.OwnedBy != ""
	}
	for _, p := range truth.Packages {
		if sources[p.Name] != p.Source+" "+p.SourceVersion {
			t.Errorf("%s: source %q, want %q", p.Name, sources[p.Name], p.Source+" "+p.SourceVersion)
		}
	}
	for _, p := range truth.Python {
		if owned[p.Path] != p.Owned {
			t.Errorf("%s: owned %v, want %v", p.Path, owned[p.Path], p.Owned)
		}
	}
}

func TestHostileImages(t *testing.T) {
	dir := filepath.Join(sharedtest.Dir(t, "corpus"), "hostile")
	var file struct {
		Cases map[string]struct {
			Digest   digest.Digest
			Expect   string
			Findings []struct{ Package, Version string }
			Absent   []string `json:"must_not_report"`
		}
	}
	load(t, filepath.Join(dir, "hostile.truth.json"), &file)
	callers := []string{"config-not-json", "media-type-unknown"} // what Squash cannot see
	blindOrPackages := []string{"database-is-fifo", "database-symlink-out", "rpm-broken-sqlite", "windows-image", "foreign-layer", "gzip-bomb"}
	for name, want := range file.Cases {
		t.Run(name, func(t *testing.T) {
			got := store{t, filepath.Join(dir, name)}.squash(want.Digest)
			if got == nil {
				if !slices.Contains(callers, name) {
					t.Fatal("manifest or config not read")
				}
				return
			}
			checkPrintable(t, got)
			names := map[string]bool{}
			for _, p := range got.Packages {
				names[p.Name+" "+p.Version] = true
			}
			for _, absent := range want.Absent {
				if names[absent] {
					t.Errorf("%s is reported", absent)
				}
			}
			blind := len(got.Blind()) > 0
			for _, f := range want.Findings {
				found := names[f.Package+" "+f.Version]
				if f.Version == "" {
					found = names[f.Package+" 3.0.20-1~deb12u2"]
				}
				if !found && !blind {
					t.Errorf("%s %s is not reported", f.Package, f.Version)
				}
				if !found && want.Expect == "scan" {
					t.Errorf("%s %s is not in the inventory", f.Package, f.Version)
				}
			}
			mustBlind := slices.Contains(blindOrPackages, name) || want.Expect == "refuse" && !slices.Contains(callers, name)
			if mustBlind && !blind {
				t.Errorf("no blind gap: %+v", got.Gaps)
			}
			if want.Expect == "scan" && blind {
				t.Errorf("blind: %+v", got.Blind())
			}
			if name == "zip-bomb-jar" && len(got.Gaps) == 0 {
				t.Error("no gap for the jar")
			}
		})
	}
}

func checkPrintable(t *testing.T, im *inventory.Image) {
	t.Helper()
	for _, g := range im.Gaps {
		for _, s := range []string{g.Path, g.Detail} {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd || r == 0x202e }) {
				t.Errorf("gap %q has control characters", s)
			}
		}
	}
}
