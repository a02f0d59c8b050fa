package gate_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// registry is an upstream in memory that counts what it is asked and answers
// when it is let. What it does not need for that panics.
type registry struct {
	gate.Registry
	mu      sync.Mutex
	content map[digest.Digest][]byte
	tags    map[string]digest.Digest
	asked   map[string]int
	hold    chan struct{} // nil: answers at once; else when closed
	waiting chan string   // told of every question before it is held
}

func newRegistry(images ...imagetest.Image) *registry {
	r := &registry{content: map[digest.Digest][]byte{}, tags: map[string]digest.Digest{}, asked: map[string]int{}, waiting: make(chan string, 1000)}
	for _, im := range images {
		r.content[im.Digest()] = im.Manifest
		for d, blob := range im.Blobs() {
			r.content[d] = blob
		}
	}
	return r
}

// ask counts a question, and waits for hold.
func (r *registry) ask(ctx context.Context, question string) error {
	r.mu.Lock()
	r.asked[question]++
	hold := r.hold
	r.mu.Unlock()
	r.waiting <- question
	if hold == nil {
		return nil
	}
	select {
	case <-hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause makes questions from now on wait for the function that it returns.
func (r *registry) pause() (goOn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hold := make(chan struct{})
	r.hold = hold
	return func() {
		r.mu.Lock()
		if r.hold == hold {
			r.hold = nil
		}
		r.mu.Unlock()
		close(hold)
	}
}

func (r *registry) move(tag string, d digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags[tag] = d
}

func (r *registry) count(question string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[question]
}

// Resolve answers what held when it was asked, however long it is held.
func (r *registry) Resolve(ctx context.Context, _, tag string) (digest.Digest, error) {
	r.mu.Lock()
	d, ok := r.tags[tag]
	r.mu.Unlock()
	if err := r.ask(ctx, tag); err != nil {
		return "", err
	}
	if !ok {
		return "", image.ErrManifestUnknown
	}
	return d, nil
}

func (r *registry) Manifest(ctx context.Context, _, ref string) ([]byte, string, error) {
	if err := r.ask(ctx, ref); err != nil {
		return nil, "", err
	}
	raw, ok := r.content[digest.Digest(ref)]
	if !ok {
		return nil, "", image.ErrManifestUnknown
	}
	return raw, image.MediaTypeManifest, nil
}

func (r *registry) Blob(ctx context.Context, _ string, d digest.Digest, _, _ int64) (io.ReadCloser, int64, error) {
	if err := r.ask(ctx, d.String()); err != nil {
		return nil, 0, err
	}
	blob, ok := r.content[d]
	if !ok {
		return nil, 0, image.ErrBlobUnknown
	}
	return io.NopCloser(bytes.NewReader(blob)), int64(len(blob)), nil
}

// target is a repository of the registry, as an upstream of its own.
func (r *registry) target() gate.Target {
	return gate.Target{Upstream: r.upstream(), Repository: "app"}
}

func (r *registry) upstream() *gate.Upstream {
	return &gate.Upstream{Name: "memory", Prefix: "memory.example", Hostnames: []string{"memory.example"}, Registry: r}
}

func parse(t *testing.T, im imagetest.Image) *image.Manifest {
	t.Helper()
	m, err := image.ParseManifest(im.Manifest, "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// metric reads one figure as it is exposed.
func metric(t *testing.T, s *gatetest.System, name string) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
