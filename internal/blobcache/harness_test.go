package blobcache_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/blobcache"
	"github.com/pratique/pratique/internal/upstream"
)

// origin is a registry that serves blobs, counts what it is asked, and can be
// told to misbehave.
type origin struct {
	url string

	mu     sync.Mutex
	blobs  map[string]map[digest.Digest][]byte // by repository
	asked  map[string]int                      // by method and kind: "GET", "HEAD", "range"
	answer http.HandlerFunc                    // instead of whole GETs; nil: as it should
}

func startOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{blobs: map[string]map[digest.Digest][]byte{}, asked: map[string]int{}}
	s := httptest.NewServer(o)
	t.Cleanup(s.Close)
	o.url = s.URL
	return o
}

// put makes the repository have the blob.
func (o *origin) put(repo string, content []byte) digest.Digest {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := digest.FromBytes(content)
	if o.blobs[repo] == nil {
		o.blobs[repo] = map[digest.Digest][]byte{}
	}
	o.blobs[repo][d] = content
	return d
}

// misbehave answers GETs of whole blobs.
func (o *origin) misbehave(h http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = h
}

func (o *origin) count(kind string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[kind]
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repo, d, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	if !ok {
		return // the ping
	}
	kind := r.Method
	if r.Header.Get("Range") != "" {
		kind = "range"
	}
	o.mu.Lock()
	o.asked[kind]++
	content, ok := o.blobs[repo][digest.Digest(d)]
	if r.Method == http.MethodDelete {
		delete(o.blobs[repo], digest.Digest(d))
	}
	answer := o.answer
	o.mu.Unlock()
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
	case kind == http.MethodGet && answer != nil:
		answer(w, r)
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
	}
}

// open opens a cache in dir and runs it until the test ends.
func open(t *testing.T, dir string, limit int64) *blobcache.Cache {
	t.Helper()
	c, stop := openFor(t, dir, limit)
	t.Cleanup(stop)
	return c
}

// openFor is open for a while: stop ends the cache.
func openFor(t *testing.T, dir string, limit int64) (c *blobcache.Cache, stop func()) {
	t.Helper()
	c, err := blobcache.Open(blobcache.Options{Dir: dir, Limit: limit})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	await(t, "the cache to run", c.Running)
	return c, func() {
		cancel()
		select {
		case err := <-done:
			must(t, err)
		case <-time.After(10 * time.Second):
			t.Error("the cache does not end")
		}
	}
}

// through puts the cache before the origin.
func through(t *testing.T, c *blobcache.Cache, o *origin) *blobcache.Registry {
	t.Helper()
	r, err := upstream.New(upstream.Config{Name: "origin", URL: o.url, IdleTimeout: 2 * time.Second})
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return c.Through(r, "origin")
}

// pull reads a whole blob the way a door does.
func pull(ctx context.Context, r *blobcache.Registry, repo string, d digest.Digest) ([]byte, error) {
	body, _, err := r.Blob(ctx, repo, d, 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// settled waits until no fill is under way.
func settled(t *testing.T, c *blobcache.Cache) {
	t.Helper()
	await(t, "the fills to end", func() bool { return c.Stats().Filling == 0 })
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// goroutines checks at the end of the test that those it began have ended.
func goroutines(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				buf := make([]byte, 64<<10)
				t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
				return
			}
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
