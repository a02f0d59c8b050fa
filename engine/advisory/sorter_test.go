package advisory_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pratique/pratique/engine/advisory"
)

// TestSortedOnDisk builds the same in memory of two sizes and in two orders, with
// a package that has part in every run.
func TestSortedOnDisk(t *testing.T) {
	const n = 20_000
	order := rand.New(rand.NewPCG(3, 3)).Perm(n)
	add := func(i int) advisory.Advisory {
		a := synthetic(i)
		a.Summary = fmt.Sprintf("%0400d", i)
		return a
	}
	var digests []string
	for _, shuffled := range []bool{false, true} {
		b, err := advisory.NewBuilder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if shuffled {
			b.ShrinkArena(8 << 10) // some 1,600 runs, merged in three levels
		}
		for i := range n {
			if shuffled {
				i = order[i]
			}
			if err := b.Add(add(i)); err != nil {
				t.Fatal(err)
			}
		}
		path, rev, err := b.Finish(1, built)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, rev.Digest)
		ix := open(t, path)
		kernel, err := ix.Lookup("Debian:12", "linux")
		if err != nil || len(kernel) != n/50 {
			t.Errorf("%d advisories of the kernel, %v", len(kernel), err)
		}
		for i := 1; i < n; i += 997 {
			want := add(i)
			got, err := ix.Lookup(want.Ecosystem, want.Package)
			if err != nil || len(got) == 0 {
				t.Errorf("%s: %d, %v", want.Package, len(got), err)
			}
		}
		if err := ix.Check(); err != nil {
			t.Error(err)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("the order of adding makes the digest: %v", digests)
	}
}
