package advisory_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
)

// TestAddIndex: what is carried from an index is what was once put into it, to
// the digest; and what is newer beside it wins.
func TestAddIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	all := sample()
	for range 200 {
		all = append(all, randomAdvisory(random))
	}
	facts := func(b *advisory.Builder) error {
		if err := b.AddKEV("CVE-2023-0286", advisory.KEVEntry{Added: built}); err != nil {
			return err
		}
		return b.AddEPSS("CVE-2023-0286", 0.5, 0.9)
	}
	finish := func(fill func(b *advisory.Builder) error) *advisory.Index {
		b, err := advisory.NewBuilder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := fill(b); err != nil {
			t.Fatal(err)
		}
		path, _, err := b.Finish(1, built)
		if err != nil {
			t.Fatal(err)
		}
		return open(t, path)
	}
	add := func(b *advisory.Builder, all []advisory.Advisory) error {
		for _, a := range all {
			if err := b.Add(a); err != nil {
				return err
			}
		}
		return nil
	}
	whole := finish(func(b *advisory.Builder) error {
		for _, s := range scores() {
			if err := b.AddScore(s); err != nil {
				return err
			}
		}
		if err := facts(b); err != nil {
			return err
		}
		return add(b, all)
	})
	everything := advisory.Carry{Ecosystems: map[string]bool{}, Scores: true, KEV: true, EPSS: true}
	for _, a := range all {
		everything.Ecosystems[a.Ecosystem] = true
	}
	again := finish(func(b *advisory.Builder) error { b.AddIndex(whole, everything); return nil })
	if again.Revision().Digest != whole.Revision().Digest {
		t.Error("an index that carries all of another one has other content")
	}
	newer := sample()[0]
	newer.Modified = newer.Modified.Add(time.Hour)
	newer.Summary = "newer"
	part := finish(func(b *advisory.Builder) error {
		b.AddIndex(whole, advisory.Carry{Ecosystems: map[string]bool{newer.Ecosystem: true}, KEV: true})
		return add(b, []advisory.Advisory{newer})
	})
	got, err := part.Lookup(newer.Ecosystem, newer.Package)
	if err != nil || len(got) != 1 || got[0].Summary != "newer" {
		t.Errorf("%v, %v", got, err)
	}
	if _, ok, err := part.Score(scores()[0].CVE); ok || err != nil {
		t.Errorf("scores came along: %v", err)
	}
	cve, ok, err := part.CVE("CVE-2023-0286")
	if diff := cmp.Diff(advisory.CVEFacts{KEV: &advisory.KEVEntry{Added: built}}, cve); diff != "" || !ok || err != nil {
		t.Errorf("%v %v %s", ok, err, diff)
	}
}
