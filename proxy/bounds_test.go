package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// soon is when a request that costs little must have been answered, on a slow
// machine and with the race detector.
const soon = 15 * time.Second

func indexOf(children ...image.Descriptor) []byte {
	return mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": children})
}

// bomb is an index of n entries, all the same.
func bomb(child image.Descriptor, n int) (raw []byte, self image.Descriptor) {
	child.Platform = nil
	children := make([]image.Descriptor, n)
	for i := range children {
		children[i] = child
	}
	raw = indexOf(children...)
	return raw, image.Descriptor{MediaType: image.MediaTypeIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// TestNestedIndexBombOnPush: indexes in indexes name an image 27 million times;
// it is looked at once.
func TestNestedIndexBombOnPush(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	d.push("app", "1", im)
	registry, child := d.pusher("app"), im.Descriptor()
	for level := range 3 {
		raw, self := bomb(child, 300)
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		if err := registry.PutManifest(ctx, "app", fmt.Sprint("level", level), image.MediaTypeIndex, raw); err != nil {
			t.Errorf("level %d: %v", level, err)
		}
		cancel()
		child = self
	}
}

// TestNestedIndexBombOnPull: the same from an upstream, until it is deeper than
// anybody needs: then it is refused.
func TestNestedIndexBombOnPull(t *testing.T) {
	ups := second(t, nil)
	d := open(t, gatetest.Options{Upstreams: ups})
	im := imagetest.Clean()
	d.push("reg.example/app", "1", im)
	child := im.Descriptor()
	client := &http.Client{Timeout: soon}
	for level, want := range []int{200, 200, 200, 200, 403} {
		raw, self := bomb(child, 300)
		if err := ups[0].Registry.PutManifest(t.Context(), "app", fmt.Sprint("level", level), image.MediaTypeIndex, raw); err != nil {
			t.Fatal(err)
		}
		// Each is recorded here when it is asked for: the next finds it known.
		res, err := client.Get(d.url + "/v2/reg.example/app/manifests/" + self.Digest.String())
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != want {
			t.Errorf("level %d: HTTP %d %v, want %d", level, res.StatusCode, err, want)
		}
		child = self
	}
}

// TestLongWords: what a client made long does not make answers long.
func TestLongWords(t *testing.T) {
	const (
		maxBody   = 64 << 10
		maxHeader = 8 << 10 // what proxies in between commonly take
	)
	d := open(t, gatetest.Options{})
	im, registry := imagetest.Clean(), d.pusher("app")
	if err := registry.PushBlobs(t.Context(), "app", im); err != nil {
		t.Fatal(err)
	}
	word := strings.Repeat("x", 1<<20)
	for _, tt := range []struct{ name, manifest string }{
		{"media type of a layer", strings.Replace(string(im.Manifest), im.Layers[0].MediaType, "application/vnd.oci.image.layer."+word, 1)},
		{"media type of the config", strings.Replace(string(im.Manifest), image.MediaTypeConfig, word, 1)},
		{"a key twice", `{"` + word + `":1,"` + word + `":2}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bearer := registry.Header.Get("Authorization")
			for _, call := range []struct {
				method string
				body   string
			}{{"PUT", tt.manifest}, {"HEAD", ""}, {"GET", ""}} {
				got := d.call(call.method, "/v2/app/manifests/1", []byte(call.body), "Authorization", bearer, "Content-Type", image.MediaTypeManifest)
				if call.method == "GET" && got.status == 200 {
					continue // the manifest itself
				}
				if n := len(got.body); n > maxBody {
					t.Errorf("%s: HTTP %d with a body of %d bytes", call.method, got.status, n)
				}
				for name, values := range got.header {
					if n := len(strings.Join(values, "")); n > maxHeader {
						t.Errorf("%s: HTTP %d with %s of %d bytes", call.method, got.status, name, n)
					}
				}
			}
		})
	}
}

// TestChunkOfAnotherLength: a chunk that is not as long as its range says is
// refused before a byte of it counts, and the upload goes on.
func TestChunkOfAnotherLength(t *testing.T) {
	d := open(t, gatetest.Options{})
	bearer := "Bearer " + d.token("repository:app:pull,push")
	at := d.call("POST", "/v2/app/blobs/uploads/", nil, "Authorization", bearer).header.Get("Location")
	for _, tt := range []struct {
		name, contentRange string
		status             int
	}{
		{"shorter range", "0-1", 416}, {"longer range", "0-9", 416}, {"backwards", "5-0", 416}, {"no range", "all", 416},
		{"the right one", "0-4", 202},
	} {
		if got := d.call("PATCH", at, []byte("hello"), "Authorization", bearer, "Content-Range", tt.contentRange); got.status != tt.status {
			t.Errorf("%s: HTTP %d %s, want %d", tt.name, got.status, got.body, tt.status)
		}
	}
	if got := d.call("PUT", at+"?digest="+digest.FromString("hello").String(), nil, "Authorization", bearer); got.status != http.StatusCreated {
		t.Errorf("the end: HTTP %d %s", got.status, got.body)
	}
}
