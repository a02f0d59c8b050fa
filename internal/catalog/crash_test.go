package catalog_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/catalog"
)

// crashEnv makes the test program write to the catalog that it names until it
// is killed.
const crashEnv = "PRATIQUE_TEST_CRASH"

// step is what the writer does in one round: several transactions.
func step(t testing.TB, c *catalog.Catalog, i int) error {
	m := written(t, i)
	if err := c.Uploaded(ctx, app, m.Layers[1].Digest, "ann", now); err != nil {
		return err
	}
	if err := c.Record(ctx, app, m, fmt.Sprintf("t%d", i), "ann", now); err != nil {
		return err
	}
	if err := c.PutKeys(ctx, m.Digest, []catalog.Key{{Ecosystem: "npm", Package: "a"}, {Ecosystem: "npm", Package: "b"}}); err != nil {
		return err
	}
	return c.PutSubject(ctx, m.Digest, inventory.Subject{Kind: inventory.KindImage, Maker: inventory.Maker{Engine: 1}, DiffIDsMatch: true}, &inventory.Image{Manifest: m.Digest})
}

// written is the manifest of a round.
func written(t testing.TB, i int) *image.Manifest {
	return imageOf(t, "common", fmt.Sprint("layer ", i))
}

// TestWriteUntilKilled is the process that TestKilledWhileWriting kills. It
// prints the number of each round that has been acknowledged.
func TestWriteUntilKilled(t *testing.T) {
	path := os.Getenv(crashEnv)
	if path == "" {
		return // not run as that process
	}
	c := openAt(t, path)
	next := must[catalog.Counts](t)(c.Counts(ctx)).Images // the round that was cut is made good
	for i := next; ; i++ {
		check(t, step(t, c, i))
		fmt.Println("done", i)
	}
}

// TestKilledWhileWriting: a writer is killed in the middle of things, several
// times. What it was told is kept is there, and what is there is whole.
func TestKilledWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	total := 0
	for round := range 4 {
		acknowledged := killed(t, path, 5+7*round, time.Duration(round)*time.Millisecond)
		total = max(total, acknowledged+1)
		c, err := catalog.Open(ctx, path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		consistent(t, c, total)
		total = must[catalog.Counts](t)(c.Counts(ctx)).Images
		check(t, c.Close())
		if found := pragma[string](t, path, "integrity_check"); found != "ok" {
			t.Fatalf("round %d: integrity check: %s", round, found)
		}
	}
}

// killed runs a writer for some acknowledged rounds and a moment more, kills it,
// and tells the last round that it said was done.
func killed(t *testing.T, path string, rounds int, more time.Duration) (last int) {
	t.Helper()
	writer := exec.Command(os.Args[0], "-test.run=^TestWriteUntilKilled$", "-test.v=false")
	writer.Env = append(os.Environ(), crashEnv+"="+path)
	writer.Stderr = os.Stderr
	out, err := writer.StdoutPipe()
	check(t, err)
	check(t, writer.Start())
	last = -1
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		var number string
		if _, err := fmt.Sscanf(lines.Text(), "done %s", &number); err != nil {
			t.Errorf("the writer says %q", lines.Text())
		}
		if last, err = strconv.Atoi(number); err != nil {
			t.Error(err)
		}
		if n == rounds { // what it writes until it dies is read on, but not waited for
			time.AfterFunc(more, func() { _ = writer.Process.Kill() })
		}
	}
	if err := writer.Wait(); err == nil || writer.ProcessState.Exited() {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return last
}

// consistent checks that the first rounds are there in full, and those after
// them either not at all or so that nothing is half there.
func consistent(t *testing.T, c *catalog.Catalog, acknowledged int) {
	t.Helper()
	n := must[catalog.Counts](t)(c.Counts(ctx))
	if n.Manifests < acknowledged || n.Manifests > acknowledged+1 || n.Images < acknowledged {
		t.Fatalf("%+v after %d acknowledged rounds", n, acknowledged)
	}
	for i := range n.Manifests {
		m := written(t, i)
		raw, _, err := c.Manifest(ctx, app, m.Digest)
		if err != nil || string(raw) != string(m.Raw) {
			t.Fatalf("manifest %d: %q, %v", i, raw, err)
		}
		if tags, err := c.TagsOf(ctx, app, m.Digest); err != nil || len(tags) != 1 {
			t.Fatalf("manifest %d has tags %q, %v", i, tags, err)
		}
		for _, d := range m.Descriptors() {
			if naming, err := c.ManifestsNaming(ctx, app, d.Digest); err != nil || len(naming) == 0 {
				t.Fatalf("manifest %d: blob %s is named by %v, %v", i, d.Digest, naming, err)
			}
		}
		if im, err := c.Image(ctx, m.Digest); err != nil || (im == nil) != (i >= n.Images) {
			t.Fatalf("manifest %d has inventory %+v, %v", i, im, err)
		}
	}
	a, errA := c.ImagesWith(ctx, []catalog.Key{{Ecosystem: "npm", Package: "a"}})
	b, errB := c.ImagesWith(ctx, []catalog.Key{{Ecosystem: "npm", Package: "b"}})
	if errA != nil || errB != nil || len(a) != len(b) || len(a) < acknowledged {
		t.Fatalf("%d images with a, %d with b, %v, %v", len(a), len(b), errA, errB)
	}
}
