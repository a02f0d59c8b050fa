package advisory_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
)

var built = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func sample() []advisory.Advisory {
	return []advisory.Advisory{
		{
			ID: "DEBIAN-CVE-2023-0286", Aliases: []string{"CVE-2023-0286"}, Ecosystem: "Debian:12", Package: "openssl",
			Summary: "X.400 address type confusion", URL: "https://security-tracker.debian.org/tracker/CVE-2023-0286",
			Published: built.AddDate(-1, 0, 0), Modified: built.AddDate(0, -1, 0),
			Ranges: []advisory.Range{{Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "0"}, {Fixed: "3.0.8-1"}}}},
			CVSS:   []string{"CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:H"}, Rating: "high", RatingSource: advisory.DebianUrgency,
		},
		{
			ID: "DEBIAN-CVE-2005-2541", Aliases: []string{"CVE-2005-2541"}, Ecosystem: "Debian:12", Package: "tar",
			Ranges: []advisory.Range{{Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "0"}}}},
			Rating: "negligible", RatingSource: advisory.DebianUrgency, VendorFinal: true, WillNotFix: true,
		},
		{
			ID: "PYSEC-2021-1", Aliases: []string{"CVE-2021-1", "GHSA-1"}, Ecosystem: "PyPI", Package: "Flask_Login",
			Ranges:   []advisory.Range{{Type: "SEMVER", Events: []advisory.Event{{Introduced: "1.0"}, {LastAffected: "1.2"}, {Limit: "2"}}}, {Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "3"}}}},
			Versions: []string{"1.0", "1.1", "1.2"},
		},
		{ID: "MAL-1", Ecosystem: "npm", Package: "left-pad", Versions: []string{"1.0", "1.1", "1.2"}, Modified: built},
	}
}

func scores() []advisory.Score {
	return []advisory.Score{
		{CVE: "CVE-2023-0286", Vector: "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:H", Base: 7.4, Source: "nvd@nist.gov"},
		{CVE: "CVE-2021-1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Base: 9.8},
	}
}

// build makes an index file of the given content.
func build(t testing.TB, dir string, sequence uint64, advisories []advisory.Advisory, scores []advisory.Score, coverage ...advisory.Coverage) (string, advisory.Revision) {
	t.Helper()
	b, err := advisory.NewBuilder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range advisories {
		if err := b.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range scores {
		if err := b.AddScore(s); err != nil {
			t.Fatal(err)
		}
	}
	b.SetCoverage(coverage)
	path, rev, err := b.Finish(sequence, built)
	if err != nil {
		t.Fatal(err)
	}
	return path, rev
}

func open(t testing.TB, path string) *advisory.Index {
	t.Helper()
	ix, err := advisory.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	return ix
}

func TestIndexRoundTrip(t *testing.T) {
	coverage := advisory.Coverage{Ecosystem: "Debian:12", Source: "osv", Records: 2, Newest: built, Synced: built}
	path, rev := build(t, t.TempDir(), 7, sample(), scores(), coverage)
	ix := open(t, path)
	if diff := cmp.Diff(rev, ix.Revision()); diff != "" || rev.Sequence != 7 || !rev.Built.Equal(built) {
		t.Errorf("revision: %s", diff)
	}
	if want := fmt.Sprintf("vulndb-%020d-%s.idx", 7, rev.Digest[len("sha256:"):][:16]); filepath.Base(path) != want {
		t.Errorf("file is %s, want %s", filepath.Base(path), want)
	}
	for _, want := range sample() {
		got, err := ix.Lookup(want.Ecosystem, want.Package)
		if err != nil {
			t.Fatal(err)
		}
		// The zero time of the sample comes back as the zero time in UTC.
		if diff := cmp.Diff([]advisory.Advisory{want}, got); diff != "" {
			t.Errorf("%s: %s", want.ID, diff)
		}
	}
	for _, name := range []string{"flask-login", "Flask.Login", "flask__login"} {
		if got, err := ix.Lookup("PyPI", name); err != nil || len(got) != 1 {
			t.Errorf("PyPI %s: %d advisories, %v", name, len(got), err)
		}
	}
	for _, miss := range [][2]string{{"Debian:11", "openssl"}, {"Debian:12", "opens"}, {"Debian:12", ""}, {"", "CVE-2021-1"}, {"npm", "Left-Pad"}, {"npm", "a\x00b"}} {
		if got, err := ix.Lookup(miss[0], miss[1]); err != nil || len(got) != 0 {
			t.Errorf("%q: %d advisories, %v", miss, len(got), err)
		}
	}
	for _, want := range scores() {
		if got, ok, err := ix.Score(want.CVE); err != nil || !ok || got != want {
			t.Errorf("score %+v, %v, %v; want %+v", got, ok, err, want)
		}
	}
	if _, ok, err := ix.Score("CVE-2000-1"); ok || err != nil {
		t.Errorf("score of an unknown CVE: %v, %v", ok, err)
	}
	if got, ok := ix.Covers("Debian:12"); !ok || got != coverage {
		t.Errorf("coverage %+v, %v", got, ok)
	}
	if _, ok := ix.Covers("Debian:13"); ok {
		t.Error("an ecosystem without records is covered")
	}
}

func TestDigestIsOfContent(t *testing.T) {
	reversed := sample()
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	_, first := build(t, t.TempDir(), 1, sample(), scores(), advisory.Coverage{Ecosystem: "npm", Records: 1, Synced: built})
	_, second := build(t, t.TempDir(), 2, append(reversed, sample()...), scores(), advisory.Coverage{Ecosystem: "npm", Records: 1, Synced: built.Add(time.Hour)})
	if first.Digest != second.Digest {
		t.Errorf("order, repetition, sequence or sync time changed the digest: %s, %s", first.Digest, second.Digest)
	}
	_, third := build(t, t.TempDir(), 1, sample()[1:], scores(), advisory.Coverage{Ecosystem: "npm", Records: 1})
	if first.Digest == third.Digest {
		t.Error("an advisory less, the same digest")
	}
}

func TestFinishKeepsEqualFile(t *testing.T) {
	dir := t.TempDir()
	path, rev := build(t, dir, 1, sample(), scores())
	again, same := build(t, dir, 2, sample(), scores())
	if again != path || same != rev {
		t.Errorf("second build of the same content: %s %+v", again, same)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v, %v", entries, err)
	}
}

func TestBuilderKeepsNewestOfOneID(t *testing.T) {
	older, newer := sample()[0], sample()[0]
	newer.Modified = older.Modified.Add(time.Hour)
	newer.Ranges = []advisory.Range{{Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "0"}, {Fixed: "3.0.9-1"}}}}
	twin := newer
	twin.Versions = []string{"1"}
	path, _ := build(t, t.TempDir(), 1, []advisory.Advisory{newer, older, twin}, nil)
	got, err := open(t, path).Lookup("Debian:12", "openssl")
	if err != nil || len(got) != 2 || got[0].Ranges[0].Events[1].Fixed != "3.0.9-1" || got[1].Ranges[0].Events[1].Fixed != "3.0.9-1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBuilderRefuses(t *testing.T) {
	b, err := advisory.NewBuilder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	for _, a := range []advisory.Advisory{
		{ID: "X-1", Package: "p"}, {ID: "X-1", Ecosystem: "npm"}, {Ecosystem: "npm", Package: "p"},
		{ID: "X-1", Ecosystem: "npm\x00", Package: "p"}, {ID: "X-1", Ecosystem: "npm", Package: "a\x00b"},
	} {
		if b.Add(a) == nil {
			t.Errorf("%+v was taken", a)
		}
	}
	for _, s := range []advisory.Score{{Base: 5}, {CVE: "CVE-1-1", Base: 11}, {CVE: "CVE-1-1", Base: -1}} {
		if b.AddScore(s) == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".vulndb-1.tmp"), []byte("killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := advisory.NewBuilder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Add(sample()[0]), b.Abort(), b.Abort()); err != nil {
		t.Error(err)
	}
	if b.Add(sample()[0]) == nil {
		t.Error("an aborted builder takes advisories")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestDamageIsNoticed flips bytes all over a file of some pages: an answer is
// right, or it is ErrCorrupt.
func TestDamageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	advisories := sample()
	for i := range 150 {
		a := sample()[0]
		a.Package, a.Summary = fmt.Sprintf("package-%d", i), fmt.Sprintf("%d", i*i)
		advisories = append(advisories, a)
	}
	path, _ := build(t, dir, 1, advisories, scores(), advisory.Coverage{Ecosystem: "npm", Records: 1})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	opened, failed := 0, 0
	for i := 0; i < len(whole); i += 1511 {
		b := bytes.Clone(whole)
		b[i] ^= 0x41
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		ix, err := advisory.Open(damaged)
		if err != nil {
			if !errors.Is(err, advisory.ErrCorrupt) {
				t.Errorf("byte %d: %v", i, err)
			}
			continue
		}
		opened++
		n := checkDamaged(t, ix, fmt.Sprintf("byte %d", i), advisories)
		if n == len(advisories) {
			t.Errorf("byte %d: no look-up succeeds", i)
		}
		failed += n
		ix.Close()
	}
	if opened == 0 || failed < opened {
		t.Errorf("%d damaged files opened, %d look-ups failed", opened, failed)
	}
	for _, n := range []int{0, 1, 4095, 4096, 4097, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(damaged, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if ix, err := advisory.Open(damaged); !errors.Is(err, advisory.ErrCorrupt) {
			t.Errorf("%d bytes: %v, %v", n, ix, err)
		}
	}
}

// checkDamaged holds every answer of a damaged file to what was written, and
// counts those that are refused.
func checkDamaged(t *testing.T, ix *advisory.Index, what string, advisories []advisory.Advisory) (failed int) {
	t.Helper()
	for _, want := range advisories {
		got, err := ix.Lookup(want.Ecosystem, want.Package)
		if errors.Is(err, advisory.ErrCorrupt) {
			failed++
		} else if err != nil || len(got) != 1 || got[0].Package != want.Package || got[0].Summary != want.Summary {
			t.Errorf("%s: wrong answer: %v %+v", what, err, got)
		}
	}
	for _, want := range scores() {
		got, ok, err := ix.Score(want.CVE)
		if errors.Is(err, advisory.ErrCorrupt) {
			failed++
		} else if err != nil || !ok || got != want {
			t.Errorf("%s: wrong score %+v %v %v", what, got, ok, err)
		}
	}
	return failed
}

func TestCloseWhileLookingUp(t *testing.T) {
	path, _ := build(t, t.TempDir(), 1, sample(), scores())
	ix := open(t, path)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				got, err := ix.Lookup("Debian:12", "openssl")
				if errors.Is(err, advisory.ErrClosed) {
					return
				}
				if err != nil || len(got) != 1 {
					t.Errorf("%d advisories, %v", len(got), err)
					return
				}
			}
		})
	}
	if err := errors.Join(ix.Close(), ix.Close()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, _, err := ix.Score("CVE-2021-1"); !errors.Is(err, advisory.ErrClosed) {
		t.Errorf("score of a closed index: %v", err)
	}
}

func TestNormalizeName(t *testing.T) {
	for _, tt := range []struct{ ecosystem, name, want string }{
		{"PyPI", "Flask_Login", "flask-login"}, {"PyPI", "zope.interface", "zope-interface"}, {"PyPI", "a-_.b", "a-b"},
		{"npm", "JSONStream", "JSONStream"}, {"Go", "github.com/Masterminds/goutils", "github.com/Masterminds/goutils"}, {"Debian:12", "libstdc++6", "libstdc++6"},
	} {
		if got := advisory.NormalizeName(tt.ecosystem, tt.name); got != tt.want {
			t.Errorf("NormalizeName(%q, %q) = %q, want %q", tt.ecosystem, tt.name, got, tt.want)
		}
	}
}

func FuzzDecodeValue(f *testing.F) {
	f.Add(advisory.EncodeValue(sample()))
	f.Add(advisory.EncodeValue(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := advisory.DecodeValue("npm", value)
		if err != nil {
			if !errors.Is(err, advisory.ErrCorrupt) {
				t.Errorf("error is not ErrCorrupt: %v", err)
			}
			return
		}
		again, err := advisory.DecodeValue("npm", advisory.EncodeValue(got))
		if err != nil {
			t.Fatalf("what was decoded cannot be written: %v", err)
		}
		if len(again) != len(got) {
			t.Errorf("%d advisories became %d", len(got), len(again))
		}
		_, _ = advisory.DecodeScore("CVE-2021-1", value)
	})
}

func FuzzOpen(f *testing.F) {
	path, _ := build(f, f.TempDir(), 1, sample(), scores())
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:5000])
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(dir, "fuzzed")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		ix, err := advisory.Open(path)
		if err != nil {
			return
		}
		defer ix.Close()
		_, _ = ix.Lookup("Debian:12", "openssl")
		_, _, _ = ix.Score("CVE-2021-1")
	})
}
