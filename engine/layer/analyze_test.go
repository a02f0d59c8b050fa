package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	it "github.com/pratique/pratique/internal/imagetest"
)

func analyze(t testing.TB, blob []byte) *inventory.Report {
	t.Helper()
	r, err := analyzer(t, layer.DefaultConfig()).Analyze(t.Context(), bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	if want := digest.FromBytes(blob); r.Digest != want || r.Size != int64(len(blob)) {
		t.Errorf("stored bytes: %s of %d, want %s of %d", r.Digest, r.Size, want, len(blob))
	}
	return r
}

// analyzers are those of the tests, by their configuration: one takes a while to
// prepare.
var analyzers sync.Map

func analyzer(t testing.TB, c layer.Config) *layer.Analyzer {
	t.Helper()
	key := fmt.Sprintf("%+v", c)
	if known, ok := analyzers.Load(key); ok {
		return known.(*layer.Analyzer)
	}
	a, err := layer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	analyzers.Store(key, a)
	return a
}

func codes(gaps []inventory.Gap) []string {
	list := []string{}
	for _, g := range gaps {
		list = append(list, string(g.Kind)+" "+g.Code)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func named(packages []inventory.Package) []string {
	list := []string{}
	for _, p := range packages {
		list = append(list, p.Name+" "+p.Version)
	}
	return list
}

var alpine = it.Alpine([]it.Apk{it.VulnerableSSL})

// TestFormats: what the bytes are, and what is wrong with the stream.
func TestFormats(t *testing.T) {
	plain, gz, zs := it.Plain(alpine...), it.Gzip(alpine...), it.Zstd(alpine...)
	half := it.Tar(alpine...)[:700]
	for _, test := range []struct {
		name, format string
		blob         []byte
		gaps         []string
		diffID       digest.Digest
	}{
		{"plain", "tar", plain.Blob, nil, plain.DiffID},
		{"gzip", "tar+gzip", gz.Blob, nil, plain.DiffID},
		{"zstd", "tar+zstd", zs.Blob, nil, plain.DiffID},
		{"zstd behind a skippable frame", "tar+zstd", append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"), zs.Blob...), nil, plain.DiffID},
		{"no entry", "tar", make([]byte, 1024), nil, digest.FromBytes(make([]byte, 1024))},
		{"empty", "empty", nil, nil, ""},
		{"json", "json", []byte(` {"a":1}`), nil, ""},
		{"text", "other", []byte("hello"), nil, ""},
		{"xz", "other", []byte("\xfd7zXZ\x00 and so on"), nil, ""},
		{"gzip of text", "other", gzipOf("hello"), nil, digest.FromString("hello")},
		{"gzip cut", "tar+gzip", gz.Blob[:len(gz.Blob)/2], []string{"blind layer-truncated"}, ""},
		{"gzip, then garbage", "tar+gzip", append(slices.Clone(gz.Blob), "twenty bytes garbage"...), []string{"blind layer-corrupt"}, ""},
		{"zstd cut", "tar+zstd", zs.Blob[:len(zs.Blob)/2], []string{"blind layer-truncated"}, ""},
		{"zstd, then garbage", "tar+zstd", append(slices.Clone(zs.Blob), "garbage"...), []string{"blind layer-corrupt"}, ""},
		{"tar cut", "tar", half, []string{"blind tar-invalid"}, digest.FromBytes(half)},
		{"data after the tar", "tar", append(slices.Clone(plain.Blob), "hidden"...), []string{"partial tar-trailing-data"}, digest.FromString(string(plain.Blob) + "hidden")},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := analyze(t, test.blob)
			if r.Format != test.format || r.DiffID != test.diffID {
				t.Errorf("%s %s, want %s %s", r.Format, r.DiffID, test.format, test.diffID)
			}
			if diff := cmp.Diff(append([]string{}, test.gaps...), codes(r.Gaps)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// oldHeader is the header of an empty file in the oldest tar format: no magic
// word, a name as it is given, and a checksum that is followed by after.
func oldHeader(name string, sum func(byte) int, after string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	for at, field := range map[int]string{100: "0000644", 108: "0000000", 116: "0000000", 124: "00000000000", 136: "14000000000", 148: "        "} {
		copy(h[at:], field)
	}
	h[156] = '0'
	total := 0
	for _, b := range h {
		total += sum(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00%s", total, after))
	return h
}

// TestTarThatLooksLikeJSON: the first name in an archive may begin like a JSON
// document. What a runtime would unpack is an archive all the same.
func TestTarThatLooksLikeJSON(t *testing.T) {
	unsigned, signed := func(b byte) int { return int(b) }, func(b byte) int { return int(int8(b)) }
	for _, test := range []struct {
		name   string
		header []byte
	}{
		{"plain checksum", oldHeader("{", unsigned, " ")},
		{"rubbish after the checksum", oldHeader("{", unsigned, "x")},
		{"checksum of signed bytes", oldHeader("{\xff\xfe", signed, " ")},
		{"a list", oldHeader("[", unsigned, "x")},
		{"behind a byte order mark", oldHeader("\xef\xbb\xbf {", signed, "x")},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := analyze(t, append(test.header, it.Tar(alpine...)...))
			if r.Format != "tar" || len(r.Packages) == 0 {
				t.Errorf("%s with %d packages", r.Format, len(r.Packages))
			}
		})
	}
}

func gzipOf(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestReaderFails(t *testing.T) {
	boom := errors.New("connection reset")
	for name, l := range map[string]it.Layer{"plain": it.Plain(alpine...), "gzip": it.Gzip(alpine...), "zstd": it.Zstd(alpine...)} {
		for _, at := range []int{0, 100, len(l.Blob)} {
			r := io.MultiReader(bytes.NewReader(l.Blob[:at]), iotest.ErrReader(boom))
			if report, err := analyzer(t, layer.DefaultConfig()).Analyze(t.Context(), r); !errors.Is(err, boom) || report != nil {
				t.Errorf("%s after %d bytes: report %v, error %v", name, at, report, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := analyzer(t, layer.DefaultConfig()).Analyze(ctx, bytes.NewReader(l.Blob)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: ended context: %v", name, err)
		}
	}
}

// TestEntries: how tar entries become entries of the report.
func TestEntries(t *testing.T) {
	entry := func(name string, kind byte) it.Content {
		return it.Content{Entry: it.Entry{Name: name, Typeflag: kind}}
	}
	for _, test := range []struct {
		name    string
		entries []it.Content
		want    []inventory.Entry
		gaps    []string
	}{
		{"kinds", []it.Content{it.Dir("d"), it.File("d/f", "x"), it.Symlink("d/l", "../x"), it.Fifo("p"), it.HardLink("h", "d/f")},
			[]inventory.Entry{{Path: "d", Kind: 'd'}, {Path: "d/f", Kind: 'f'}, {Path: "d/l", Kind: 'l', Link: "../x"}, {Path: "p", Kind: 's'}, {Path: "h", Kind: 'f', Link: "d/f"}}, nil},
		{"paths are cleaned", []it.Content{it.File("./a", ""), it.File("/b//c", ""), it.Dir("."), it.File("a/./../b", "")},
			[]inventory.Entry{{Path: "a", Kind: 'f'}, {Path: "b/c", Kind: 'f'}, {Path: "b", Kind: 'f'}}, nil},
		{"paths that climb", []it.Content{it.File("../../a", ""), it.File("..", "")}, []inventory.Entry{{Path: "a", Kind: 'f'}}, []string{"partial path-climbs"}},
		{"whiteouts", []it.Content{it.Whiteout("a/b"), it.Whiteout("c"), it.Opaque("d"), it.Opaque("")},
			[]inventory.Entry{{Path: "a/b", Kind: 'w'}, {Path: "c", Kind: 'w'}, {Path: "d", Kind: 'o'}, {Path: "", Kind: 'o'}}, nil},
		{"odd whiteouts", []it.Content{it.File(".wh.", ""), it.File("a/.wh..", ""), it.File("a/.wh...", ""), it.File("a/.wh..wh.b", ""), it.File("a/.wh..wh..opqX", "")},
			[]inventory.Entry{}, []string{"partial whiteout-odd"}},
		{"below a whiteout's name", []it.Content{it.File("a/.wh.b/c", "")}, []inventory.Entry{{Path: "a/.wh.b/c", Kind: 'f'}}, nil},
		{"too long", []it.Content{it.File(strings.Repeat("d/", 3000)+"x", "")}, []inventory.Entry{}, []string{"partial path-too-long"}},
		{"unknown type", []it.Content{entry("x", 'Z')}, []inventory.Entry{{Path: "x", Kind: 's'}}, []string{"partial entry-type-unknown"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := analyze(t, it.Plain(test.entries...).Blob)
			if diff := cmp.Diff(test.want, paths(r)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(append([]string{}, test.gaps...), codes(r.Gaps)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// paths are the entries of a report without their attributes.
func paths(r *inventory.Report) []inventory.Entry {
	all := []inventory.Entry{}
	for e := range r.Entries.All() {
		all = append(all, inventory.Entry{Path: e.Path, Kind: e.Kind, Link: e.Link})
	}
	return all
}

// TestAttributes: what a tar says of a file, and the digest of its content.
func TestAttributes(t *testing.T) {
	program := it.File("usr/bin/netd", "content")
	program.Mode, program.Uid, program.Gid = 0o104755, 1000, 4_000_000_000
	program.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04"}
	large := it.File("large", strings.Repeat("0123456789abcdef", 64<<10))
	r := analyze(t, it.Gzip(program, it.Dir("tmp"), large, it.File("empty", "")).Blob)
	want := []inventory.Entry{
		{Path: "usr/bin/netd", Kind: inventory.File, Mode: 0o4755, UID: 1000, GID: 4_000_000_000, Size: 7, Sum: sha256.Sum256([]byte("content")), Caps: "010000020004"},
		{Path: "tmp", Kind: inventory.Dir, Mode: 0o755},
		{Path: "large", Kind: inventory.File, Mode: 0o644, Size: 1 << 20, Sum: sha256.Sum256([]byte(large.Body))},
		{Path: "empty", Kind: inventory.File, Mode: 0o644, Sum: sha256.Sum256(nil)},
	}
	if diff := cmp.Diff(want, slices.Collect(r.Entries.All())); diff != "" {
		t.Error(diff)
	}
	config := layer.DefaultConfig()
	config.FileDigests = false
	r, err := analyzer(t, config).Analyze(t.Context(), bytes.NewReader(it.Gzip(program).Blob))
	if err != nil {
		t.Fatal(err)
	}
	for e := range r.Entries.All() {
		if e.HasSum() {
			t.Errorf("%s has a digest that was not asked for", e.Path)
		}
	}
}

// TestNamesSurviveJSON: two names that differ stay different in a stored report.
func TestNamesSurviveJSON(t *testing.T) {
	r := analyze(t, it.Plain(it.File("a\xff", ""), it.File("a\xfe", ""), it.File("a\ufffd", ""), it.File("a\n\x1b[2J", ""), it.File(`a\xff`, ""), it.File("é", "")).Blob)
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back inventory.Report
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	want := []string{`a\xff`, `a\xfe`, "a\ufffd", `a\x0a\x1b[2J`, `a\x5cxff`, "é"}
	var got []string
	for e := range back.Entries.All() {
		got = append(got, e.Path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRepeatsAndLinks: a name that comes twice, and a file with two names.
func TestRepeatsAndLinks(t *testing.T) {
	bad, good := it.ApkDatabase(it.VulnerableSSL), it.ApkDatabase(it.GoodSSL)
	moved := bad
	moved.Name = "srv/lib/apk/db/installed"
	for _, test := range []struct {
		name    string
		entries []it.Content
		want    []string
		gaps    []string
	}{
		{"the last of a name wins", []it.Content{bad, good}, []string{"libcrypto3 3.3.7-r0"}, nil},
		{"a directory wins too", []it.Content{bad, it.Dir("lib/apk/db/installed")}, []string{}, nil},
		{"hard link to a database", []it.Content{moved, it.HardLink("lib/apk/db/installed", "/srv/lib/apk/db/installed")}, []string{"libcrypto3 3.3.2-r0", "libcrypto3 3.3.2-r0"}, nil},
		{"hard link to an unread file", []it.Content{it.File("x", bad.Body), it.HardLink("lib/apk/db/installed", "x")}, []string{}, []string{"blind hardlink-unread"}},
		{"hard link to nothing", []it.Content{it.HardLink("a/package.json", "../../etc/passwd")}, []string{}, []string{"partial hardlink-unread"}},
		{"hard link to another kind", []it.Content{it.Npm("a", "b", "1"), it.HardLink("lib/apk/db/installed", "a/node_modules/b/package.json")}, []string{"b 1"}, []string{"blind hardlink-unread"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := analyze(t, it.Gzip(test.entries...).Blob)
			if diff := cmp.Diff(test.want, named(r.Packages)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(append([]string{}, test.gaps...), codes(r.Gaps)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	zeros := strings.Repeat("\x00", 1<<20)
	bomb := it.Gzip(it.File("zeros", zeros), it.ApkDatabase(it.GoodSSL))
	many := it.Gzip(it.File("a", ""), it.File("b", ""), it.File("c", ""))
	odd := it.Gzip(it.File("../a", ""), it.File("../b", ""), it.File("../c", ""))
	two := it.Gzip(it.ApkDatabase(it.GoodSSL, it.VulnerableSSL))
	for _, test := range []struct {
		name  string
		layer it.Layer
		set   func(*layer.Limits)
		gaps  []string
	}{
		{"bomb", bomb, func(l *layer.Limits) { l.FreeBytes = 64 << 10 }, []string{"blind layer-too-large"}},
		{"size", bomb, func(l *layer.Limits) { l.Uncompressed = 64 << 10 }, []string{"blind layer-too-large"}},
		{"entries", many, func(l *layer.Limits) { l.Entries = 2 }, []string{"blind layer-too-many-entries"}},
		{"path bytes", many, func(l *layer.Limits) { l.PathBytes = 2 }, []string{"blind layer-too-many-entries"}},
		{"gaps", odd, func(l *layer.Limits) { l.Gaps = 1 }, []string{"partial more-gaps", "partial path-climbs"}},
		{"packages", two, func(l *layer.Limits) { l.Packages = 1 }, []string{"blind too-many-packages"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := layer.DefaultConfig()
			test.set(&config.Limits)
			r, err := analyzer(t, config).Analyze(t.Context(), bytes.NewReader(test.layer.Blob))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.gaps, codes(r.Gaps)); diff != "" {
				t.Error(diff)
			}
			if r.Digest != digest.FromBytes(test.layer.Blob) {
				t.Error("the stored bytes were not hashed to their end")
			}
			if blindStream := test.gaps[0] == "blind layer-too-large"; blindStream != (r.DiffID == "") {
				t.Errorf("diffID %q", r.DiffID)
			}
		})
	}
	if _, err := layer.New(layer.Config{Licenses: layer.LicensesOff}); !errors.Is(err, layer.ErrLimits) {
		t.Errorf("zero limits: %v", err)
	}
}

// TestSparse: a sparse file may claim any size at no cost.
func TestSparse(t *testing.T) {
	header := []byte(strings.Repeat("\x00", 512))
	copy(header, "lib/apk/db/installed")
	copy(header[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        S")
	copy(header[257:], "ustar  \x00")
	copy(header[386:], "00000000000\x0000000000000\x00")
	copy(header[483:], "77777777777\x00") // 8 GiB of hole
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	if _, err := tar.NewReader(bytes.NewReader(header)).Next(); err != nil {
		t.Fatal(err)
	}
	if got := codes(analyze(t, append(header, make([]byte, 1024)...)).Gaps); !slices.Equal(got, []string{"blind sparse-too-large"}) {
		t.Error(got)
	}
}

// FuzzAnalyze: any bytes give a report with the right digest, and no panic.
func FuzzAnalyze(f *testing.F) {
	entries := append(alpine, it.Whiteout("x"), it.Symlink("l", "a"), it.HardLink("h", "lib/apk/db/installed"))
	f.Add(it.Plain(entries...).Blob)
	f.Add(it.Gzip(entries...).Blob)
	f.Add(it.Zstd(entries...).Blob)
	config := layer.DefaultConfig()
	config.Limits.Uncompressed = 16 << 20
	reader := analyzer(f, config)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := reader.Analyze(context.Background(), bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if r.Digest != digest.FromBytes(raw) {
			t.Error("digest")
		}
		inventory.Squash(inventory.SquashInput{Layers: []inventory.SquashLayer{{Digest: r.Digest, Report: r}, {Report: r}, {}, {Report: r}}})
	})
}
