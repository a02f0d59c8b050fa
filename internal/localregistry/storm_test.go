package localregistry_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/registrytest"
)

// pusher pushes images over a few blobs that all pushers share, and deletes some
// of its own.
type pusher struct {
	*localregistry.Registry
	id    int
	rng   *rand.Rand
	tries int
	kept  map[[2]string]bool // repository and digest
	// note is told what is done, before a deletion and after a push.
	note func(what, repo string, d digest.Digest)
}

var stormRepos = []string{"storm/a", "storm/b", "storm/a/c"}

const stormBlobs = 6

func newPusher(r *localregistry.Registry, id int) *pusher {
	return &pusher{
		Registry: r, id: id, rng: rand.New(rand.NewPCG(uint64(id), 7)),
		kept: map[[2]string]bool{}, note: func(string, string, digest.Digest) {},
	}
}

// step pushes one image, or deletes one.
func (p *pusher) step(ctx context.Context) error {
	repo := stormRepos[p.rng.IntN(len(stormRepos))]
	if p.rng.IntN(4) == 0 {
		for image := range p.kept {
			delete(p.kept, image)
			p.note("deleting", image[0], digest.Digest(image[1]))
			return p.DeleteManifest(ctx, image[0], digest.Digest(image[1]))
		}
	}
	blobs := []int{p.rng.IntN(stormBlobs), p.rng.IntN(stormBlobs), p.rng.IntN(stormBlobs)}
	p.tries++
	for range 200 { // nothing is leased here: what is not named yet may go at any time
		d, err := p.push(ctx, repo, blobs)
		if errors.Is(err, image.ErrReferenceMissing) {
			continue
		}
		if err == nil {
			p.kept[[2]string{repo, d.String()}] = true
			p.note("pushed", repo, d)
		}
		return err
	}
	return errors.New("no push got through")
}

func (p *pusher) push(ctx context.Context, repo string, blobs []int) (digest.Digest, error) {
	var descs []string
	for i, b := range blobs {
		content := registrytest.Noise(uint64(b), 2000+b)
		d := digest.FromBytes(content)
		if b%2 == 0 {
			d = digest.SHA512.FromBytes(content)
		}
		if err := p.blob(ctx, repo, d, content); err != nil {
			return "", err
		}
		mediaType := gzipLayer
		if i == 0 {
			mediaType = image.MediaTypeConfig
		}
		descs = append(descs, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, d, len(content)))
	}
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s],"annotations":{"push":"%d.%d"}}`,
		image.MediaTypeManifest, descs[0], strings.Join(descs[1:], ","), p.id, p.tries)
	ref := digest.FromBytes(raw).String()
	if p.tries%2 == 0 {
		ref = digest.SHA512.FromBytes(raw).String()
	}
	return digest.FromBytes(raw), p.PutManifest(ctx, repo, ref, image.MediaTypeManifest, raw)
}

// blob gives repo the blob in one of the ways that clients know.
func (p *pusher) blob(ctx context.Context, repo string, d digest.Digest, content []byte) error {
	if _, err := p.StatBlob(ctx, repo, d); err == nil {
		return nil
	}
	mounted, err := p.MountBlob(ctx, repo, stormRepos[p.rng.IntN(len(stormRepos))], d)
	if err != nil || mounted {
		return err
	}
	state, err := p.StartUpload(ctx, repo)
	if err != nil {
		return err
	}
	return p.CommitUpload(ctx, repo, state, 0, d, bytes.NewReader(content), int64(len(content)))
}

// TestCollectInAStorm: collections without any lease while images are pushed,
// mounted and deleted. What was acknowledged is there afterwards, the rest is
// not, and the bytes were counted right all the time.
func TestCollectInAStorm(t *testing.T) {
	dir := t.TempDir()
	r, ctx := open(t, dir), t.Context()
	until := time.Now().Add(2 * time.Second)
	pushers := make([]*pusher, 4)
	var pushing sync.WaitGroup
	for i := range pushers {
		pushers[i] = newPusher(r, i)
		pushing.Go(func() {
			for time.Now().Before(until) {
				if err := pushers[i].step(ctx); err != nil {
					t.Errorf("pusher %d: %v", i, err)
					return
				}
			}
		})
	}
	stop, scratch := make(chan struct{}), registrytest.Noise(99, 100)
	var others sync.WaitGroup
	others.Go(func() { repeat(stop, func() { collect(t, r) }) })
	others.Go(func() {
		repeat(stop, func() {
			err := errors.Join(upload(t, r, stormRepos[0], scratch), r.DeleteBlob(ctx, stormRepos[0], digest.FromBytes(scratch)))
			if err != nil && !errors.Is(err, image.ErrBlobUnknown) {
				t.Error(err)
			}
			if n, err := r.Usage(ctx, stormRepos[0]); err != nil || n < 0 {
				t.Errorf("usage %d, %v", n, err)
			}
		})
	})
	pushing.Wait()
	close(stop)
	others.Wait()

	collect(t, r)
	images := 0
	for _, p := range pushers {
		for image := range p.kept {
			images++
			if err := whole(ctx, r, image[0], digest.Digest(image[1])); err != nil {
				t.Errorf("%v: %v", image, err)
			}
		}
	}
	t.Logf("%d images are left", images)
	var used [3]int64
	for i, repo := range stormRepos {
		used[i], _ = r.Usage(ctx, repo)
	}
	r.Close()
	r = open(t, dir)
	for i, repo := range stormRepos {
		wantUsage(t, r, repo, used[i]) // counted anew
	}
	for _, p := range pushers {
		for image := range p.kept {
			if err := r.DeleteManifest(ctx, image[0], digest.Digest(image[1])); err != nil {
				t.Error(err)
			}
		}
	}
	collect(t, r)
	for _, left := range []string{"docker/registry/v2/blobs", "aliases"} {
		if n := files(t, filepath.Join(dir, left)); n != 0 {
			t.Errorf("%d files are left in %s", n, left)
		}
	}
	for _, repo := range stormRepos {
		wantUsage(t, r, repo, 0)
	}
}

func repeat(stop <-chan struct{}, f func()) {
	for {
		select {
		case <-stop:
			return
		default:
			f()
		}
	}
}

// childEnv names the directory to a process that is about to be killed.
const childEnv = "PRATIQUE_TEST_REGISTRY"

// TestKilledWhileCollecting: kill -9 in the midst of pushes, deletions and
// collections loses nothing that was acknowledged.
func TestKilledWhileCollecting(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		stormUntilKilled(t, dir)
		return
	}
	dir, ctx := t.TempDir(), t.Context()
	kept := map[string]bool{}
	for round := range 4 {
		stormAndKill(t, dir, time.Duration(150+100*round)*time.Millisecond, kept)
		r := open(t, dir)
		for i := range 2 {
			for image := range kept {
				repo, d, _ := strings.Cut(image, "@")
				if err := whole(ctx, r, repo, digest.Digest(d)); err != nil {
					t.Errorf("round %d, collected %d times: %s: %v", round, i, image, err)
				}
			}
			collect(t, r)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept) == 0 {
		t.Error("nothing was pushed")
	}
}

// stormAndKill runs the storm in a process of its own for that long after its
// first push, and notes in kept what it said to have pushed and not to delete.
func stormAndKill(t *testing.T, dir string, d time.Duration, kept map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledWhileCollecting$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a last line without an end was cut by the kill
		}
		if err != nil {
			t.Fatal(err)
		}
		if kill == nil {
			kill = time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
			defer kill.Stop()
		}
		what, image, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "pushed":
			kept[image] = true
		case "deleting":
			delete(kept, image)
		default:
			t.Errorf("the other process says: %s", line)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the other process ended by itself")
	}
}

func stormUntilKilled(t *testing.T, dir string) {
	r := open(t, dir)
	var out sync.Mutex
	var pushing sync.WaitGroup
	until := time.Now().Add(30 * time.Second) // should nobody kill it
	stop := make(chan struct{})
	var collecting sync.WaitGroup
	collecting.Go(func() { repeat(stop, func() { collect(t, r) }) })
	for range 2 {
		p := newPusher(r, int(rand.Uint32()))
		p.note = func(what, repo string, d digest.Digest) {
			out.Lock()
			defer out.Unlock()
			fmt.Printf("%s %s@%s\n", what, repo, d)
		}
		pushing.Go(func() {
			for time.Now().Before(until) {
				if err := p.step(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	pushing.Wait()
	close(stop)
	collecting.Wait()
}
