package imagetest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	it "github.com/pratique/pratique/internal/imagetest"
)

func TestImagesParse(t *testing.T) {
	for name, im := range map[string]it.Image{"clean": it.Clean(), "vulnerable": it.Vulnerable(), "node": it.Node(), "no layer": it.Build()} {
		m, err := image.ParseManifest(im.Manifest, image.MediaTypeManifest)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, err := image.ParseConfig(im.Config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.Digest != im.Digest() || m.Config.Digest != im.ID() || len(m.Layers) != len(c.DiffIDs) {
			t.Errorf("%s: %+v %+v", name, m, c)
		}
	}
	if one, again := it.Clean(), it.Clean(); one.Digest() != again.Digest() || one.Digest() == it.Vulnerable().Digest() {
		t.Error("images are not made the same each time")
	}
	x := it.BuildIndex(it.Clean(), it.Vulnerable())
	if m, err := image.ParseManifest(x.Raw, ""); err != nil || !m.Index || m.Digest != x.Digest() {
		t.Errorf("index: %+v %v", m, err)
	}
}

func TestWriteLayout(t *testing.T) {
	dir := t.TempDir()
	x := it.BuildIndex(it.Clean(), it.Node())
	if err := x.WriteLayout(dir, "1"); err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil || len(blobs) != 1+2+2+2 {
		t.Errorf("%d blobs, %v", len(blobs), err)
	}
	for _, path := range blobs {
		raw, err := os.ReadFile(path)
		if err != nil || digest.FromBytes(raw).Encoded() != filepath.Base(path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestPush pushes to a stand-in that keeps what it is sent.
func TestPush(t *testing.T) {
	kept := map[string]string{}
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch {
		case strings.Contains(r.URL.Path, "refused"):
			http.Error(w, "DENIED", http.StatusForbidden)
		case r.Method == http.MethodPost:
			w.Header().Set("Location", "/session?state=a%2Fb")
			w.WriteHeader(http.StatusAccepted)
		case r.URL.Path == "/session":
			if r.URL.Query().Get("state") != "a/b" {
				t.Errorf("session %s", r.URL)
			}
			kept[r.URL.Query().Get("digest")] = string(body)
			w.WriteHeader(http.StatusCreated)
		default:
			kept[fmt.Sprint(r.URL.Path, " ", r.Header.Get("Content-Type"), " ", r.Header.Get("X-Test"))] = string(body)
			w.WriteHeader(http.StatusCreated)
		}
	}))
	defer registry.Close()
	to := it.Registry{URL: registry.URL, Header: http.Header{"X-Test": {"yes"}}}
	x := it.BuildIndex(it.Vulnerable())
	if err := to.PushIndex(t.Context(), "app", "1", x); err != nil {
		t.Fatal(err)
	}
	im := x.Images[0]
	want := map[string]string{
		"/v2/app/manifests/1 " + image.MediaTypeIndex + " yes":                               string(x.Raw),
		"/v2/app/manifests/" + im.Digest().String() + " " + image.MediaTypeManifest + " yes": string(im.Manifest),
	}
	for d, blob := range im.Blobs() {
		want[d.String()] = string(blob)
	}
	for key, body := range want {
		if kept[key] != body {
			t.Errorf("%s was not kept as it was sent", key)
		}
	}
	var status *it.StatusError
	if err := to.Push(t.Context(), "refused", "1", im); !errors.As(err, &status) || status.Status != http.StatusForbidden || !strings.Contains(status.Body, "DENIED") {
		t.Errorf("error %v", err)
	}
}
