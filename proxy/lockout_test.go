package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// The tests of this file are about what passes: nobody else's doing, and no
// accident, may hold it up.

// TestVerdictOutlivesWhoAskedFirst: whoever makes a verdict for all who wait for
// it may hang up.
func TestVerdictOutlivesWhoAskedFirst(t *testing.T) {
	d, store := unjudged(t, imagetest.Clean())
	goOn := store.pause()
	defer goOn()
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	req, err := http.NewRequestWithContext(ctx, "GET", d.url+"/v2/app/manifests/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
			res.Body.Close()
			t.Error("the first request was not cut")
		}
	})
	await(t, store.puts)
	for len(store.gets) > 0 {
		<-store.gets // of the first
	}
	group.Go(func() { d.wantStatus("/v2/app/manifests/1", 200) })
	await(t, store.gets)
	time.Sleep(50 * time.Millisecond) // for the second to join the first
	hangUp()
	time.Sleep(50 * time.Millisecond) // for the server to notice
	goOn()
	group.Wait()
}

// TestForeignLayerElsewhere: a manifest that is unscannable where its layer is
// but a foreign URL is an image like any other where the layer is.
func TestForeignLayerElsewhere(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	layer := im.Layers[0].Descriptor()
	layer.MediaType, layer.URLs = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []string{"https://example.com/layer"}
	im.Manifest = mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "layers": []image.Descriptor{layer},
		"config": image.Descriptor{MediaType: image.MediaTypeConfig, Digest: im.ID(), Size: int64(len(im.Config))},
	})
	bare := im
	bare.Layers = nil
	d.push("evil", "1", bare)
	d.wantStatus("/v2/evil/manifests/1", 403)
	d.push("app", "1", im)
	d.wantStatus("/v2/app/manifests/1", 200)
}

// misnaming calls every manifest one of docker's, and has them all.
type misnaming struct {
	gate.Registry
	raw []byte
}

func (m misnaming) Manifest(context.Context, string, string) ([]byte, string, error) {
	return m.raw, image.MediaTypeDockerManifest, nil
}

// TestMediaTypeOfAnotherUpstream: what one upstream calls a manifest that says
// nothing itself is not told to the clients of another.
func TestMediaTypeOfAnotherUpstream(t *testing.T) {
	im := imagetest.Clean()
	im.Manifest = []byte(strings.Replace(string(im.Manifest), `"mediaType":"`+image.MediaTypeManifest+`",`, "", 1))
	for _, first := range []string{"/v2/reg.example/evil/manifests/", "/v2/app/manifests/"} {
		d := open(t, gatetest.Options{Upstreams: second(t, func(r gate.Registry) gate.Registry { return misnaming{r, im.Manifest} })})
		d.push("app", "1", im)
		d.call("GET", first+im.Digest().String(), nil)
		d.call("GET", "/v2/reg.example/evil/manifests/"+im.Digest().String(), nil)
		got := d.call("GET", "/v2/app/manifests/1", nil)
		if name := got.header.Get("Content-Type"); got.status != 200 || name != image.MediaTypeManifest {
			t.Errorf("after %s: HTTP %d, Content-Type %s", first, got.status, name)
		}
	}
}

// TestInlineChildOfUnseenIndex: nobody will ask for a child that the index
// carries inline, so the index itself has it analysed.
func TestInlineChildOfUnseenIndex(t *testing.T) {
	for _, tt := range []struct {
		name   string
		image  imagetest.Image
		status int
	}{
		{"clean", imagetest.Clean(), 200},
		{"vulnerable", imagetest.Vulnerable(), 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ups := second(t, nil)
			d := open(t, gatetest.Options{Upstreams: ups})
			putBehind(t, ups[0].Registry, "app", tt.image.Digest().String(), tt.image)
			child := tt.image.Descriptor()
			child.Data = tt.image.Manifest
			if err := ups[0].Registry.PutManifest(t.Context(), "app", "multi", image.MediaTypeIndex, indexOf(child)); err != nil {
				t.Fatal(err)
			}
			d.wantStatus("/v2/reg.example/app/manifests/multi", tt.status)
		})
	}
}

// stuck gives no blob of the repository slow until the request ends.
type stuck struct{ gate.Registry }

func (s stuck) Blob(ctx context.Context, repository string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error) {
	if repository == "slow" {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	return s.Registry.Blob(ctx, repository, d, offset, length)
}

// TestSlowUpstreamHoldsUpNobodyElse: layers that never come hold up neither the
// other images of their upstream nor, however many they are, other upstreams.
func TestSlowUpstreamHoldsUpNobodyElse(t *testing.T) {
	ups := second(t, func(r gate.Registry) gate.Registry { return stuck{r} })
	d := open(t, gatetest.Options{Upstreams: ups, Config: configure(func(c *gate.Config) { c.Wait = 100 * time.Millisecond })})
	slow := func(tag string, layers int) {
		var all []imagetest.Layer
		for i := range layers {
			all = append(all, imagetest.Plain(imagetest.File(tag, fmt.Sprint(i))))
		}
		putBehind(t, ups[0].Registry, "slow", tag, imagetest.Build(all...))
		d.wantStatus("/v2/reg.example/slow/manifests/"+tag, http.StatusTooManyRequests)
	}
	served := func(path string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if d.call("GET", path, nil).status == 200 {
				return
			}
		}
		t.Errorf("%s was not served in 10 s", path)
	}
	slow("large", 40)
	putBehind(t, ups[0].Registry, "good", "1", imagetest.Clean())
	served("/v2/reg.example/good/manifests/1")
	for i := range 10 {
		slow(fmt.Sprint("small", i), 4)
	}
	putBehind(t, d.Local, "good", "1", imagetest.Node())
	if got := d.call("GET", "/v2/good/manifests/1", nil); got.status == http.StatusTooManyRequests {
		served("/v2/good/manifests/1")
	}
}

// TestDeleteHalfDone: what was deleted upstream, and not here because of a
// crash, can be deleted again.
func TestDeleteHalfDone(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	d.push("app", "1", im)
	if err := d.Local.DeleteManifest(t.Context(), "app", im.Digest()); err != nil {
		t.Fatal(err)
	}
	path := "/v2/app/manifests/" + im.Digest().String()
	d.call("DELETE", path, nil, "Authorization", d.pusher("app").Header.Get("Authorization"))
	d.wantStatus(path, 404)
}

// TestEmptyConfigIsSharedByArtifacts: the empty document that all artifacts have
// for a config stays open to them, whatever else names it.
func TestEmptyConfigIsSharedByArtifacts(t *testing.T) {
	d := open(t, gatetest.Options{})
	sbom := imagetest.Layer{Blob: []byte(`{"sbom":true}`), MediaType: "application/spdx+json"}
	artifact := dressed("{}", "application/vnd.oci.empty.v1+json", sbom)
	odd := dressed("{}", image.MediaTypeConfig, imagetest.Vulnerable().Layers[0])
	d.push("app", "sbom", artifact)
	d.wantStatus("/v2/app/blobs/"+artifact.ID().String(), 200)
	d.push("app", "odd", odd)
	d.wantStatus("/v2/app/manifests/odd", 403)
	d.wantStatus("/v2/app/manifests/sbom", 200)
	d.wantStatus("/v2/app/blobs/"+artifact.ID().String(), 200)
	d.wantStatus("/v2/app/blobs/"+odd.Layers[0].Descriptor().Digest.String(), 403)
}

// TestContentTypeOfAPush: what clients and the proxies between say of a manifest
// is taken as long as it does not contradict the manifest.
func TestContentTypeOfAPush(t *testing.T) {
	d := open(t, gatetest.Options{})
	im, registry := imagetest.Clean(), d.pusher("app")
	if err := registry.PushBlobs(t.Context(), "app", im); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{image.MediaTypeManifest, image.MediaTypeManifest + "; charset=utf-8", "application/json", "application/octet-stream", ""} {
		if err := registry.PutManifest(t.Context(), "app", "1", name, im.Manifest); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := registry.PutManifest(t.Context(), "app", "1", image.MediaTypeIndex, im.Manifest); err == nil {
		t.Error("an image that is sent as an index was taken")
	}
}

// TestTooManyUploads: who leaves upload after upload open pays with the oldest
// of them; others lose none, and may begin new ones.
func TestTooManyUploads(t *testing.T) {
	const most = 200
	d := open(t, gatetest.Options{})
	bearer := "Bearer " + d.token("repository:many:pull,push", "repository:app:pull,push")
	start := func(repository string) string {
		got := d.call("POST", "/v2/"+repository+"/blobs/uploads/", nil, "Authorization", bearer)
		if got.status != http.StatusAccepted {
			t.Fatalf("POST to %s: HTTP %d %s", repository, got.status, got.body)
		}
		return got.header.Get("Location")
	}
	other := start("app")
	var many []string
	for range most + 1 {
		many = append(many, start("many"))
	}
	for _, tt := range []struct {
		name, upload string
		status       int
	}{
		{"the oldest", many[0], 404}, {"the one after it", many[1], 204}, {"the newest", many[most], 204},
		{"that of another repository", other, 204}, {"a new one of another repository", start("app"), 204},
	} {
		if got := d.call("GET", tt.upload, nil, "Authorization", bearer); got.status != tt.status {
			t.Errorf("%s: HTTP %d, want %d", tt.name, got.status, tt.status)
		}
	}
}
