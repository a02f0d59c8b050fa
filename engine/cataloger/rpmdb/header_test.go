package rpmdb_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
)

var nevr = []field{str(1000, "name"), str(1001, "1.2"), str(1002, "3.el9")}

// facts are the fields of a package that can be compared.
type facts struct {
	Name, Epoch, Version, Release, Arch, Source, License, Vendor, Label string
	Size, InstallTime                                                   int64
}

func TestParseHeader(t *testing.T) {
	least := facts{Name: "name", Version: "1.2", Release: "3.el9"}
	with := func(change func(*facts)) facts {
		f := least
		change(&f)
		return f
	}
	for _, test := range []struct {
		name   string
		fields []field
		want   facts
		err    string
	}{
		{name: "least", want: least},
		{name: "all", fields: []field{numbers(1003, int32s, 7), numbers(1008, int32s, 1700000000), numbers(1009, int32s, 4e9), str(1011, "vendor"), str(1014, "MIT"),
			str(1022, "x86_64"), str(1044, "name-1.2-3.el9.src.rpm"), str(5096, "m:1:2:3")},
			want: facts{"name", "7", "1.2", "3.el9", "x86_64", "name-1.2-3.el9.src.rpm", "MIT", "vendor", "m:1:2:3", 4e9, 1700000000}},
		{name: "epoch 0", fields: []field{numbers(1003, int32s, 0)}, want: with(func(f *facts) { f.Epoch = "0" })},
		{name: "long size wins", fields: []field{numbers(5009, int64s, 1<<40), numbers(1009, int32s, 1)}, want: with(func(f *facts) { f.Size = 1 << 40 })},
		{name: "several languages", fields: []field{{1014, i18n, 2, []byte("MIT\x00other\x00")}}, want: with(func(f *facts) { f.License = "MIT" })},
		{name: "appended entries win", fields: []field{str(1014, "old"), str(1014, "new")}, want: with(func(f *facts) { f.License = "new" })},
		{name: "key", fields: []field{str(1044, "(none)")}, want: least},
		{name: "unknown entries", fields: []field{{1, 99, 1 << 31, nil}}, want: least},
		{name: "number for a text", fields: []field{numbers(1014, int32s, 1)}, err: "is no string"},
		{name: "text for a number", fields: []field{str(1003, "abcd")}, err: "is no number"},
		{name: "negative size", fields: []field{numbers(5009, int64s, 1<<63)}, err: "is no number"},
		{name: "number cut off", fields: []field{{1003, int32s, 1, []byte{0, 0, 1}}}, err: "is no number"},
		{name: "text without end", fields: []field{{1014, 6, 1, []byte("MIT")}}, err: "has no end"},
		{name: "text too long", fields: []field{str(1014, strings.Repeat("x", 1<<16))}, err: "too long"},
		{name: "no type", fields: []field{{1014, 0, 1, []byte("x\x00")}}, err: "type 0"},
		{name: "no count", fields: []field{{1014, 6, 0, []byte("x\x00")}}, err: "count 0"},
		{name: "outside", fields: []field{{1014, 6, 1, nil}}, err: "offset"},
		{name: "empty name", fields: []field{str(1000, "")}, err: "without name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := rpmdb.ParseHeader(makeHeader(slices.Concat(nevr, test.fields)...), rpmdb.DefaultLimits)
			if err != nil || test.err != "" {
				if test.err == "" || err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				return
			}
			got := facts{p.Name, p.Epoch, p.Version, p.Release, p.Arch, p.SourceRPM, p.License, p.Vendor, p.ModularityLabel, p.Size, p.InstallTime}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHeaderSizes(t *testing.T) {
	good := makeHeader(nevr...)
	for n := range good {
		if _, err := rpmdb.ParseHeader(good[:n], rpmdb.DefaultLimits); err == nil {
			t.Errorf("the first %d of %d bytes are a header", n, len(good))
		}
	}
	for name, claim := range map[string][2]uint32{
		"no entries": {0, uint32(len(good) - 8)}, "all entries": {1<<32 - 1, 0}, "entries that wrap": {1 << 28, uint32(len(good) - 8)}, "data": {3, 1<<32 - 1},
	} {
		bad := slices.Clone(good)
		binary.BigEndian.PutUint32(bad, claim[0])
		binary.BigEndian.PutUint32(bad[4:], claim[1])
		if _, err := rpmdb.ParseHeader(bad, rpmdb.DefaultLimits); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFiles(t *testing.T) {
	base := list(1117, "bin", "sh", "passwd")
	dirs := list(1118, "/", "/bin/", "/etc/")
	places := numbers(1116, int32s, 0, 1, 2)
	digests := list(1035, "", "aa", "bb")
	modes := numbers(1030, int16s, 0o40755, 0o100755, 0o100644)
	flags := numbers(1037, int32s, 0, 0, rpmdb.FlagConfig)
	for _, test := range []struct {
		name   string
		fields []field
		want   []fileLine
		err    string
	}{
		{name: "none"},
		{name: "all", fields: []field{base, dirs, places, digests, modes, flags},
			want: []fileLine{{"/bin", 0, 0o40755, ""}, {"/bin/sh", 0, 0o100755, "aa"}, {"/etc/passwd", 1, 0o100644, "bb"}}},
		{name: "paths alone", fields: []field{base, dirs, places}, want: []fileLine{{Path: "/bin"}, {Path: "/bin/sh"}, {Path: "/etc/passwd"}}},
		{name: "old", fields: []field{list(1027, "/a", "/b/c")}, want: []fileLine{{Path: "/a"}, {Path: "/b/c"}}},
		{name: "no directories", fields: []field{base}, err: "0 directories"},
		{name: "more directories than files", fields: []field{list(1117, "a"), dirs, numbers(1116, int32s, 0)}, err: "3 directories"},
		{name: "fewer places", fields: []field{base, dirs, numbers(1116, int32s, 0)}, err: "1116"},
		{name: "no such directory", fields: []field{base, dirs, numbers(1116, int32s, 0, 3, 0)}, want: []fileLine{{Path: "/bin"}}, err: "directory 3 of 3"},
		{name: "negative directory", fields: []field{base, dirs, numbers(1116, int32s, 1<<31, 0, 0)}, err: "directory 2147483648"},
		{name: "fewer digests", fields: []field{base, dirs, places, list(1035, "a")}, err: "1035"},
		{name: "fewer modes", fields: []field{base, dirs, places, numbers(1030, int16s, 1)}, err: "1030"},
		{name: "flags of another width", fields: []field{base, dirs, places, numbers(1037, int64s, 1, 2, 3)}, err: "1037"},
		{name: "names cut off", fields: []field{dirs, places, {1117, stringArray, 3, []byte("a\x00b\x00c")}}, want: []fileLine{{Path: "/a"}, {Path: "/bin/b"}}, err: "has no end"},
		{name: "digests cut off", fields: []field{base, dirs, places, {1035, stringArray, 3, []byte("a\x00b")}}, want: []fileLine{{Path: "/bin", Digest: "a"}}, err: "digest of file 1"},
		{name: "directories cut off", fields: []field{base, places, {1118, stringArray, 3, []byte("/\x00/bin/\x00")}}, err: "has fewer"},
		{name: "long name", fields: []field{list(1027, strings.Repeat("x", 4097))}, err: "too long"},
		{name: "long directory", fields: []field{list(1117, "a"), list(1118, strings.Repeat("x", 5000)), numbers(1116, int32s, 0)}, err: "too long"},
		{name: "too many", fields: []field{{1027, stringArray, 1 << 31, []byte("/\x00")}}, err: "more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := rpmdb.ParseHeader(makeHeader(slices.Concat(nevr, test.fields)...), rpmdb.DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			var got []fileLine
			err = p.Files(func(path string, flags uint32, mode uint16, digest string) bool {
				got = append(got, fileLine{path, flags, mode, digest})
				return true
			})
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestFilesOfLongDirectories: a directory's name is written once and counts for
// each of its files.
func TestFilesOfLongDirectories(t *testing.T) {
	const files = 100_000
	dir := "/" + strings.Repeat("x", 4000) + "/"
	fields := []field{list(1118, dir), {1117, stringArray, files, make([]byte, files)}, {1116, int32s, files, make([]byte, 4*files)}}
	p, err := rpmdb.ParseHeader(makeHeader(slices.Concat(nevr, fields)...), rpmdb.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	err = p.Files(func(string, uint32, uint16, string) bool { count++; return true })
	if err == nil || count > 5000 {
		t.Errorf("%d files, %v", count, err)
	}
}

func TestIsKey(t *testing.T) {
	for name, want := range map[string]bool{"gpg-pubkey": true, "gpg": false, "bash": false} {
		p, err := rpmdb.ParseHeader(smallHeader(name, 0), rpmdb.DefaultLimits)
		if err != nil || p.IsKey() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesStop(t *testing.T) {
	p, err := rpmdb.ParseHeader(makeHeader(append(slices.Clone(nevr), list(1027, "/a", "/b"))...), rpmdb.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	if err := p.Files(func(string, uint32, uint16, string) bool { count++; return false }); err != nil || count != 1 {
		t.Errorf("%d files, %v", count, err)
	}
}
