package main_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/registrytest"
)

const (
	baselineRounds = 1000            // aborted pushes, and as many aborted pulls
	baselineWarm   = 30              // of each before the measure, so that pools and caches are filled
	baselineWait   = 2 * time.Minute // idle connections to the upstream are kept for a minute and a half
)

// What may be there after it all beyond what was there before: idle connections
// and what the runtime keeps. A leak of one in a hundred would show.
const (
	baselineGoroutines = 8
	baselineFiles      = 8
	baselineHeap       = 24 << 20 // bytes
	baselineMemory     = 64 << 20 // bytes, resident; without the race detector, which keeps its notes
)

// TestBaseline: clients that go away in the middle leave nothing behind. A
// thousand pushes and a thousand pulls are broken off at every point; then
// goroutines, memory, open files and the spool are where they were.
func TestBaseline(t *testing.T) {
	// Otherwise the runtime keeps what it once had for minutes.
	t.Setenv("GOMEMLIMIT", "64MiB")
	feed := filepath.Join(t.TempDir(), "osv")
	writeFeed(t, feed, 0)
	for _, c := range []struct {
		name      string
		upstreams func(t *testing.T) string
	}{
		{"embedded", func(*testing.T) string { return `[{name: local, embedded: true, default: true}]` }},
		{"remote", func(t *testing.T) string {
			return fmt.Sprintf(`[{name: remote, url: %q, default: true}]`, registrytest.StartDistribution(t, registrytest.Options{}).URL)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, filepath.Join(t.TempDir(), "data"), append(smallFeed(feed), "--set", "log.level=warn", "--set", "upstreams="+c.upstreams(t))...)
			b := newBaseline(t, s)
			b.run(baselineWarm)
			b.rest()
			before := measure(t, s)
			start := time.Now()
			b.run(baselineRounds)
			during := measure(t, s)
			b.settle(before)
			t.Logf("%d pushes and pulls broken off in %v: before %v, at the end %v, after %v",
				baselineRounds, time.Since(start).Round(time.Second), before, during, measure(t, s))
		})
	}
}

// baseline is clients that push to and pull from one server, and go away.
type baseline struct {
	t     *testing.T
	s     *server
	image imagetest.Image
	blob  []byte // a layer of its manifest
	big   []byte // what is pushed and never arrives

	mu   sync.Mutex
	left map[string]string // address of an upload that was left open -> repository
}

func newBaseline(t *testing.T, s *server) *baseline {
	r := rand.New(rand.NewPCG(1, 1))
	im := imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL}, imagetest.File("noise", string(noise(r, 512<<10))))...))
	s.push("app", im)
	if status, body := s.pull("app"); status != http.StatusOK {
		t.Fatalf("HTTP %d %s", status, body)
	}
	return &baseline{t: t, s: s, image: im, blob: im.Layers[0].Blob, left: map[string]string{}, big: imagetest.Plain(imagetest.File("noise", string(noise(r, 256<<10)))).Blob}
}

// run breaks off n pushes and n pulls, eight at a time.
func (b *baseline) run(n int) {
	next := make(chan int)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			d := newDoor(b.s.registry)
			defer d.client.CloseIdleConnections()
			r := rand.New(rand.NewPCG(2, uint64(worker)))
			for i := range next {
				b.push(d, r, i)
				b.pull(d, r, i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

// push goes away in the middle of a PATCH, of a PUT or of a POST, between two
// requests, or in the middle of a manifest.
func (b *baseline) push(d *door, r *rand.Rand, i int) {
	repo := fmt.Sprintf("push%d", i%4)
	auth, err := d.token(repo, "pull,push")
	if err != nil {
		b.t.Error(err)
		return
	}
	leave := 1 + r.IntN(len(b.big)-1)
	if i%5 == 4 {
		d.do(ask{method: http.MethodPut, path: "/v2/" + repo + "/manifests/1", header: auth, body: vanishing(b.image.Manifest, r.IntN(len(b.image.Manifest))), size: int64(len(b.image.Manifest))})
		return
	}
	w := []way{{chunks: 3, leave: leave}, {chunks: 0, leave: leave}, {chunks: 2, between: true}, {chunks: -1, leave: leave}}[i%5]
	location, err := d.upload(repo, auth, digest.FromBytes(b.big), b.big, w)
	if err == nil {
		b.t.Error("a push that was broken off is acknowledged")
	}
	if location == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left[location] = repo
}

// pull goes away in the middle of a manifest or of a layer.
func (b *baseline) pull(d *door, r *rand.Rand, i int) {
	a := ask{method: http.MethodGet, path: "/v2/app/manifests/1", most: 1 + r.Int64N(int64(len(b.image.Manifest)-1))}
	if i%3 > 0 {
		a.path, a.most = "/v2/app/blobs/"+digest.FromBytes(b.blob).String(), 1+r.Int64N(int64(len(b.blob)-1))
	}
	if got := d.do(a); got.status != http.StatusOK || int64(len(got.body)) != a.most {
		b.t.Errorf("GET %s: %s, %d bytes of %d", a.path, got.note(), len(got.body), a.most)
	}
}

// rest ends the uploads that the warming left open, so that the measure before is
// that of a program with none. Those of the test itself stay open, so that their
// clients could go on: they must cost next to nothing.
func (b *baseline) rest() {
	d := newDoor(b.s.registry)
	defer d.client.CloseIdleConnections()
	for location, repo := range b.left {
		auth, err := d.token(repo, "pull,push")
		fatal(b.t, err)
		r := d.do(ask{method: http.MethodDelete, path: location, header: auth})
		if r.status != http.StatusNoContent && r.status != http.StatusNotFound {
			b.t.Errorf("DELETE %s: %s", location, r.note())
		}
	}
	clear(b.left)
}

// settle waits until the server is where it was.
func (b *baseline) settle(before gauges) {
	b.t.Helper()
	var problems []string
	for end := time.Now().Add(baselineWait); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		now := measure(b.t, b.s)
		problems = nil
		if now.goroutines > before.goroutines+baselineGoroutines || now.files > before.files+baselineFiles ||
			now.heap > before.heap+baselineHeap || !raceEnabled && now.memory > before.memory+baselineMemory {
			problems = append(problems, fmt.Sprintf("%v; before %v", now, before))
		}
		if files := spooled(b.t, b.s); len(files) > 0 {
			problems = append(problems, fmt.Sprintf("the spool has %v", files))
		}
		if len(problems) == 0 {
			return
		}
	}
	b.t.Errorf("not at the baseline after %v: %s", baselineWait, strings.Join(problems, "; "))
}
