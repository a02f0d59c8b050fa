package rpmdb_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	oracle "github.com/knqyf263/go-rpmdb/pkg"
	_ "modernc.org/sqlite"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
	"github.com/pratique/pratique/internal/sharedtest"
)

// images are those of the shared corpus that have an rpm database.
var images = []struct{ name, file, kind string }{
	{"almalinux-8.8-micro", "var/lib/rpm/Packages", rpmdb.KindBerkeley},
	{"almalinux-9.0-micro", "var/lib/rpm/rpmdb.sqlite", rpmdb.KindSQLite},
	{"rpm-ndb-sle15", "usr/lib/sysimage/rpm/Packages.db", rpmdb.KindNDB},
	{"rpm-sqlite-mariner", "var/lib/rpm/rpmdb.sqlite", rpmdb.KindSQLite},
	{"rpm-bdb-libuuid", "var/lib/rpm/Packages", rpmdb.KindBerkeley},
}

// layerFile gives a file of an image's layers.
func layerFile(t testing.TB, layout, name string) []byte {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(layout, "blobs", "sha256", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatalf("no blobs in %s: %v", layout, err)
	}
	for _, blob := range blobs {
		f, err := os.Open(blob)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			continue // a manifest or config
		}
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			if strings.TrimPrefix(h.Name, "./") == name {
				content, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				return content
			}
		}
	}
	t.Fatalf("no %s in %s", name, layout)
	return nil
}

type fileLine struct {
	Path   string
	Flags  uint32
	Mode   uint16
	Digest string
}

// read reads a database whole, and the files of its packages too.
func read(db, wal []byte) (kind string, packages []rpmdb.Package, files [][]fileLine, err error) {
	var log *rpmdb.File
	if wal != nil {
		log = &rpmdb.File{ReaderAt: bytes.NewReader(wal), Size: int64(len(wal))}
	}
	kind, err = rpmdb.Read(rpmdb.File{ReaderAt: bytes.NewReader(db), Size: int64(len(db))}, log, rpmdb.DefaultLimits, func(p *rpmdb.Package) error {
		var list []fileLine
		err := p.Files(func(path string, flags uint32, mode uint16, digest string) bool {
			list = append(list, fileLine{path, flags, mode, digest})
			return true
		})
		packages, files = append(packages, *p), append(files, list)
		return err
	})
	return kind, packages, files, err
}

func TestRealDatabases(t *testing.T) {
	dir := sharedtest.Dir(t, "corpus")
	for _, test := range images {
		t.Run(test.name, func(t *testing.T) {
			type line struct {
				Name, Version, Arch, License string
				Source                       string `json:"source_rpm"`
			}
			var truth struct {
				Platforms map[string]struct{ Packages []line }
			}
			raw, err := os.ReadFile(filepath.Join(dir, test.name+".truth.json"))
			if err == nil {
				err = json.Unmarshal(raw, &truth)
			}
			if err != nil {
				t.Fatal(err)
			}
			kind, packages, _, err := read(layerFile(t, filepath.Join(dir, test.name), test.file), nil)
			if err != nil || kind != test.kind {
				t.Fatalf("%s, %v", kind, err)
			}
			var got []line
			for _, p := range packages {
				epoch := p.Epoch
				if epoch == "" {
					epoch = "0"
				}
				if !p.IsKey() {
					got = append(got, line{p.Name, rpmdb.EVR(epoch, p.Version, p.Release), p.Arch, p.License, p.SourceRPM})
				}
			}
			order := func(a, b line) int { return strings.Compare(a.Name+a.Version, b.Name+b.Version) }
			for _, platform := range truth.Platforms {
				platform.Packages = slices.DeleteFunc(platform.Packages, func(l line) bool { return l.Name == "gpg-pubkey" })
				slices.SortFunc(platform.Packages, order)
				slices.SortFunc(got, order)
				if diff := cmp.Diff(platform.Packages, got); diff != "" {
					t.Errorf("packages (-want +got)\n%s", diff)
				}
			}
		})
	}
}

// TestLikeOracle compares every field and file with another reader.
func TestLikeOracle(t *testing.T) {
	dir := sharedtest.Dir(t, "corpus")
	for _, test := range images {
		t.Run(test.name, func(t *testing.T) {
			compareWithOracle(t, layerFile(t, filepath.Join(dir, test.name), test.file))
		})
	}
}

func compareWithOracle(t *testing.T, content []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := oracle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	want, err := db.ListPackages()
	if err != nil {
		t.Fatal(err)
	}
	_, got, files, err := read(content, nil)
	if err != nil || len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%d packages, the oracle has %d: %v", len(got), len(want), err)
	}
	for i, p := range got {
		w := want[i]
		a := []any{w.Name, w.EpochNum(), w.Version, w.Release, w.Arch, w.SourceRpm, w.License, w.Vendor, w.Modularitylabel, int64(w.Size), int64(w.InstallTime)}
		epoch := 0
		for _, digit := range p.Epoch {
			epoch = 10*epoch + int(digit-'0')
		}
		b := []any{p.Name, epoch, p.Version, p.Release, p.Arch, p.SourceRPM, p.License, p.Vendor, p.ModularityLabel, p.Size, p.InstallTime}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s (-oracle +got)\n%s", p.Name, diff)
		}
		listed, err := w.InstalledFiles()
		if err != nil {
			t.Fatal(err)
		}
		var lines []fileLine
		for _, f := range listed {
			lines = append(lines, fileLine{f.Path, uint32(f.Flags), f.Mode, f.Digest})
		}
		if diff := cmp.Diff(lines, files[i]); diff != "" {
			t.Errorf("%s: files (-oracle +got)\n%s", p.Name, diff)
		}
	}
}

func TestBrokenDatabase(t *testing.T) {
	layout := filepath.Join(sharedtest.Dir(t, "corpus"), "hostile", "rpm-broken-sqlite")
	kind, packages, _, err := read(layerFile(t, layout, "var/lib/rpm/rpmdb.sqlite"), nil)
	if err == nil || kind != rpmdb.KindSQLite || len(packages) > 0 {
		t.Errorf("%s, %d packages, %v", kind, len(packages), err)
	}
}
