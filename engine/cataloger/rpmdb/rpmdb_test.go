package rpmdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
)

func names(packages []rpmdb.Package) []string {
	var all []string
	for _, p := range packages {
		all = append(all, p.Name)
	}
	return all
}

// TestSmallFixtures reads a real Berkeley DB with one package, and two packages
// cut from the ndb of a SLE 15 image.
func TestSmallFixtures(t *testing.T) {
	for _, test := range []struct {
		file, kind string
		want       []string
	}{
		{"libuuid.Packages.gz", rpmdb.KindBerkeley, []string{
			"libuuid 2.32.1-42.el8_8 x86_64 util-linux-2.32.1-42.el8_8.src.rpm BSD, 7 files from /usr/lib/.build-id"}},
		{"sle15-two.Packages.db.gz", rpmdb.KindNDB, []string{
			"system-user-root 20190513-3.3.1 noarch system-user-root-20190513-3.3.1.src.rpm MIT, 1 files from /usr/lib/sysusers.d/system-user-root.conf",
			"libbz2-1 1.0.6-5.11.1 x86_64 bzip2-1.0.6-5.11.1.src.rpm BSD-3-Clause, 3 files from /usr/lib64/libbz2.so.1"}},
	} {
		t.Run(test.file, func(t *testing.T) {
			kind, packages, files, err := read(unzip(t, test.file), nil)
			if err != nil || kind != test.kind {
				t.Fatalf("%s, %v", kind, err)
			}
			var got []string
			for i, p := range packages {
				got = append(got, fmt.Sprintf("%s %s %s %s %s, %d files from %s", p.Name, rpmdb.EVR(p.Epoch, p.Version, p.Release),
					p.Arch, p.SourceRPM, p.License, len(files[i]), files[i][0].Path))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			compareWithOracle(t, unzip(t, test.file))
		})
	}
}

// TestLayouts reads databases of the test's own writers: what lies on the page
// of the hash table itself, which the fixtures do not have, big-endian ones and
// all sizes of pages.
func TestLayouts(t *testing.T) {
	blobs := [][]byte{smallHeader("tiny", 0), smallHeader("small", 300), smallHeader("middle", 5000), smallHeader("large", 200_000)}
	want := []string{"tiny", "small", "middle", "large"}
	check := func(t *testing.T, db []byte, kind string) {
		t.Helper()
		got, packages, _, err := read(db, nil)
		if err != nil || got != kind || !slices.Equal(names(packages), want) {
			t.Errorf("%s: %v, %v", got, names(packages), err)
		}
	}
	for _, size := range []int{512, 4096, 65536} {
		check(t, makeBerkeley(binary.LittleEndian, size, blobs...), rpmdb.KindBerkeley)
		check(t, makeBerkeley(binary.BigEndian, size, blobs...), rpmdb.KindBerkeley)
	}
	check(t, makeNDB(blobs...), rpmdb.KindNDB)
}

func TestUnknownContent(t *testing.T) {
	for name, content := range map[string][]byte{
		"empty":          nil,
		"short":          []byte("RpmP"),
		"text":           []byte(strings.Repeat("text ", 100)),
		"short SQLite":   []byte("SQLite format 3\x00"),
		"zeros":          make([]byte, 8192),
		"short Berkeley": makeBerkeley(binary.LittleEndian, 512)[:40],
		"short ndb":      makeNDB()[:31],
	} {
		t.Run(name, func(t *testing.T) {
			_, packages, _, err := read(content, nil)
			var partial *rpmdb.PartialError
			if err == nil || errors.As(err, &partial) || len(packages) > 0 {
				t.Errorf("%d packages, %v", len(packages), err)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	db := makeNDB(smallHeader("a", 0), smallHeader("b", 0), smallHeader("c", 1000))
	stop := errors.New("stop")
	for _, test := range []struct {
		name   string
		change func(*rpmdb.Limits)
		each   error
		want   error
		count  int
	}{
		{name: "none", change: func(*rpmdb.Limits) {}, count: 3},
		{name: "size", change: func(l *rpmdb.Limits) { l.Size = int64(len(db)) - 1 }, want: rpmdb.ErrTooLarge},
		{name: "packages", change: func(l *rpmdb.Limits) { l.Packages = 2 }, want: rpmdb.ErrTooLarge, count: 2},
		{name: "blob", change: func(l *rpmdb.Limits) { l.Blob = 900 }, want: &rpmdb.PartialError{}, count: 2},
		{name: "each", change: func(*rpmdb.Limits) {}, each: stop, want: stop, count: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			limits, count := rpmdb.DefaultLimits, 0
			test.change(&limits)
			_, err := rpmdb.Read(rpmdb.File{ReaderAt: bytes.NewReader(db), Size: int64(len(db))}, nil, limits, func(*rpmdb.Package) error {
				count++
				return test.each
			})
			var partial *rpmdb.PartialError
			if errors.As(err, &partial) {
				err = &rpmdb.PartialError{}
			}
			if count != test.count || !errors.Is(err, test.want) && !cmp.Equal(err, test.want) {
				t.Errorf("%d packages, %v", count, err)
			}
		})
	}
}

// TestReaderFails: an error of the disk is no damage of the content.
func TestReaderFails(t *testing.T) {
	for name, db := range map[string][]byte{
		"berkeley": makeBerkeley(binary.LittleEndian, 512, smallHeader("a", 5000)),
		"ndb":      makeNDB(smallHeader("a", 5000)),
		"sqlite":   treeDatabase(treePage(0, 13, 0, rowOf(smallHeader("a", 5000)))),
	} {
		for good := range int64(len(db)) / 512 {
			_, err := rpmdb.Read(rpmdb.File{ReaderAt: failing{db[:good*512]}, Size: int64(len(db))}, nil, rpmdb.DefaultLimits, func(*rpmdb.Package) error { return nil })
			if !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: with %d good bytes: %v", name, good*512, err)
			}
		}
	}
}

// failing reads its bytes and then fails.
type failing struct{ good []byte }

func (f failing) ReadAt(b []byte, at int64) (int, error) {
	if at+int64(len(b)) > int64(len(f.good)) {
		return 0, io.ErrClosedPipe
	}
	return copy(b, f.good[at:]), nil
}

// TestNames: what rpm prints and what source packages are called.
func TestNames(t *testing.T) {
	for _, test := range []struct{ source, name, version, release string }{
		{"util-linux-2.32.1-42.el8_8.src.rpm", "util-linux", "2.32.1", "42.el8_8"},
		{"bash-4.4-19.6.1.src.rpm", "bash", "4.4", "19.6.1"},
		{"a-1-2.nosrc.rpm", "a", "1", "2"},
		{"a-1-2.x86_64.rpm", "", "", ""},
		{"1-2.src.rpm", "", "", ""},
		{"-1-2.src.rpm", "", "", ""},
		{"a--2.src.rpm", "", "", ""},
		{"a-1-.src.rpm", "", "", ""},
		{"", "", "", ""},
	} {
		if n, v, r := rpmdb.SourceName(test.source); n != test.name || v != test.version || r != test.release {
			t.Errorf("%s: %q %q %q", test.source, n, v, r)
		}
	}
	for want, p := range map[string][3]string{"1.0-1": {"", "1.0", "1"}, "0:1.0-1": {"0", "1.0", "1"}, "2:1.0": {"2", "1.0", ""}} {
		if got := rpmdb.EVR(p[0], p[1], p[2]); got != want {
			t.Errorf("EVR: %q, want %q", got, want)
		}
	}
}
