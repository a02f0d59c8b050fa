package advisory_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
)

// TestReuseChangesNothing builds random contents, from segments and from
// nothing, with an older index to copy from and without: the files are the same
// to the byte.
func TestReuseChangesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	all := make([]advisory.Advisory, 300)
	for i := range all {
		all[i] = randomAdvisory(random)
	}
	dir := t.TempDir()
	path, _ := build(t, dir, 1, all, scores())
	for round := range 10 {
		for range random.IntN(4) {
			all[random.IntN(len(all))] = randomAdvisory(random)
		}
		fresh, _ := build(t, t.TempDir(), uint64(round+2), all, scores())
		b, err := advisory.NewBuilder(dir)
		if err != nil {
			t.Fatal(err)
		}
		b.Reuse(open(t, path))
		cut := random.IntN(len(all))
		for i, part := range [][]advisory.Advisory{all[:cut], all[cut:]} {
			if _, err := b.AddSegment(saveSegment(t, part, i == 0), nil); err != nil {
				t.Fatal(err)
			}
		}
		if path, _, err = b.Finish(uint64(round+2), built); err != nil {
			t.Fatal(err)
		}
		want, errWant := os.ReadFile(fresh)
		got, errGot := os.ReadFile(path)
		if err := errors.Join(errWant, errGot); err != nil || len(want) < 4096 {
			t.Fatal(err)
		}
		// The revision before may have the same content and sequence.
		if !bytes.Equal(want[4096:], got[4096:]) {
			t.Fatalf("round %d: files differ", round)
		}
	}
}

func randomAdvisory(random *rand.Rand) advisory.Advisory {
	a := sample()[random.IntN(2)]
	a.ID = fmt.Sprintf("CVE-%d", random.IntN(100))
	a.Package = fmt.Sprintf("p%d", random.IntN(40))
	a.Modified = built.Add(time.Duration(random.IntN(3)) * time.Hour)
	a.Summary = fmt.Sprintf("%d", random.IntN(3))
	return a
}

func saveSegment(t *testing.T, advisories []advisory.Advisory, withScores bool) string {
	t.Helper()
	b, err := advisory.NewBuilder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range advisories {
		if err := errors.Join(b.Add(a), b.Note(a.ID, a.Modified, []byte(a.Package))); err != nil {
			t.Fatal(err)
		}
	}
	if withScores {
		for _, s := range scores() {
			if err := b.AddScore(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "x.segment")
	if err := b.Save(path, []byte("meta")); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSegmentWithout(t *testing.T) {
	path := saveSegment(t, sample(), true)
	b, err := advisory.NewBuilder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if meta, err := b.AddSegment(path, map[string]bool{"MAL-1": true}); err != nil || string(meta) != "meta" {
		t.Fatalf("%q, %v", meta, err)
	}
	file, _, err := b.Finish(1, built)
	if err != nil {
		t.Fatal(err)
	}
	ix := open(t, file)
	for _, want := range sample() {
		got, err := ix.Lookup(want.Ecosystem, want.Package)
		if n := len(got); err != nil || (n == 0) != (want.ID == "MAL-1") {
			t.Errorf("%s: %d, %v", want.ID, n, err)
		}
	}
	if _, ok, err := ix.Score("CVE-2021-1"); !ok || err != nil {
		t.Errorf("score: %v, %v", ok, err)
	}
	notes := map[string]string{}
	meta, err := advisory.EachNote(path, func(id string, modified time.Time, note []byte) error {
		notes[id] = string(note)
		if id == "MAL-1" && !modified.Equal(built) {
			t.Errorf("modified %s", modified)
		}
		return nil
	})
	want := map[string]string{"DEBIAN-CVE-2023-0286": "openssl", "DEBIAN-CVE-2005-2541": "tar", "PYSEC-2021-1": "Flask_Login", "MAL-1": "left-pad"}
	if diff := cmp.Diff(want, notes); diff != "" || err != nil || string(meta) != "meta" {
		t.Errorf("%v %q %s", err, meta, diff)
	}
}

// TestDamagedSegment: no damage passes, neither to a build nor to a reader of
// notes.
func TestDamagedSegment(t *testing.T) {
	whole, err := os.ReadFile(saveSegment(t, sample(), true))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "damaged")
	for i := 0; i < 2*len(whole); i += 11 {
		b := bytes.Clone(whole)
		if i < len(b) {
			b[i] ^= 0x15
		} else {
			b = b[:i-len(b)]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readSegment(t, path); !errors.Is(err, advisory.ErrCorrupt) {
			t.Fatalf("damage %d of %d: %v", i, len(whole), err)
		}
		if _, err := advisory.EachNote(path, func(string, time.Time, []byte) error { return nil }); !errors.Is(err, advisory.ErrCorrupt) {
			t.Fatalf("damage %d of %d: notes: %v", i, len(whole), err)
		}
	}
}

func readSegment(t *testing.T, path string) error {
	b, err := advisory.NewBuilder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.AddSegment(path, nil)
	if err == nil {
		_, _, err = b.Finish(1, built)
	}
	return errors.Join(err, b.Abort())
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte("PRATSEG\x02\x00\x00\x00\x00\x00"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(dir, "fuzzed")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := advisory.EachNote(path, func(string, time.Time, []byte) error { return nil })
		if err != nil && !errors.Is(err, advisory.ErrCorrupt) {
			t.Error(err)
		}
	})
}
