package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
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

// dressed is an image whose config and layer are called what the caller likes.
func dressed(config, configType string, layer imagetest.Layer) imagetest.Image {
	im := imagetest.Image{Config: []byte(config), Layers: []imagetest.Layer{layer}}
	im.Manifest = mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "layers": []image.Descriptor{layer.Descriptor()},
		"config": image.Descriptor{MediaType: configType, Digest: im.ID(), Size: int64(len(config))},
	})
	return im
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// oldTar puts an entry of the oldest tar format in front of an archive. Its name
// begins like a JSON document, and its checksum is written as few writers do:
// followed by rubbish, or as the sum of signed bytes.
func oldTar(archive []byte, name string, signed bool) []byte {
	h := make([]byte, 512)
	copy(h, name)
	for at, field := range map[int]string{100: "0000644", 108: "0000000", 116: "0000000", 124: "00000000000", 136: "14000000000", 148: "        "} {
		copy(h[at:], field)
	}
	h[156] = '0'
	sum := 0
	for _, b := range h {
		if signed {
			sum += int(int8(b))
		} else {
			sum += int(b)
		}
	}
	copy(h[148:], fmt.Sprintf("%06o\x00x", sum))
	return append(h, archive...)
}

// TestDisguises: what a runtime would unpack is no artifact, whatever it is
// made to look like for others.
func TestDisguises(t *testing.T) {
	entries := imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})
	odd := imagetest.Gzip(entries...)
	odd.MediaType = "application/vnd.example"
	config := `{"os":"linux","architecture":"amd64","config":{},%s"rootfs":{"type":"layers","diff_ids":["` + odd.DiffID.String() + `"]}}`
	old := func(name string, signed bool) imagetest.Image {
		blob := oldTar(imagetest.Tar(entries...), name, signed)
		return imagetest.Build(imagetest.Layer{Blob: blob, DiffID: digest.FromBytes(blob), MediaType: "application/vnd.dev.cosign.simplesigning.v1+json"})
	}
	for _, tt := range []struct {
		name  string
		image imagetest.Image
	}{
		{"a tar that begins like JSON, rubbish after the checksum", old("{", false)},
		{"a tar that begins like JSON, signed checksum", old("{\xff\xfe", true)},
		{"a config with a key twice", dressed(fmt.Sprintf(config, `"x":1,"x":2,`), "application/vnd.example+json", odd)},
		{"a config with a field of another type", dressed(fmt.Sprintf(config, `"variant":{},`), "application/vnd.example+json", odd)},
		{"a config that is nested deeply", dressed(fmt.Sprintf(config, `"x":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`,`), "application/vnd.example+json", odd)},
		{"a config that is too large", dressed(fmt.Sprintf(config, `"x":"`+strings.Repeat("x", image.MaxConfigSize)+`",`), "application/vnd.example+json", odd)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gatetest.Options{})
			d.push("app", "1", tt.image)
			layer := tt.image.Layers[0].Descriptor().Digest.String()
			for _, path := range []string{"manifests/1", "manifests/" + tt.image.Digest().String(), "blobs/" + layer} {
				if got := d.call("GET", "/v2/app/"+path, nil); got.status != http.StatusForbidden {
					t.Errorf("%s: HTTP %d, want 403", path, got.status)
				}
			}
		})
	}
}

// TestIndexOpensNoLayer: an index that calls a refused layer its child is not a
// manifest that names the layer.
func TestIndexOpensNoLayer(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("app", "1", bad)
	layer := bad.Layers[0].Descriptor()
	for _, mediaType := range []string{image.MediaTypeManifest, layer.MediaType} {
		layer.MediaType = mediaType
		raw := indexOf(layer)
		// Whether it is taken is the registry's business.
		_ = d.pusher("app").PutManifest(context.Background(), "app", "multi", image.MediaTypeIndex, raw)
		for _, path := range []string{"manifests/multi", "blobs/" + layer.Digest.String(), "manifests/" + layer.Digest.String()} {
			if got := d.call("GET", "/v2/app/"+path, nil); bytes.Contains(got.body, bad.Layers[0].Blob) {
				t.Errorf("child of type %s: GET %s gives the layer away", mediaType, path)
			}
		}
	}
}

// cutting lets something happen just after a blob has been committed.
type cutting struct {
	gate.Registry
	committed func()
}

func (c *cutting) CommitUpload(ctx context.Context, repo, state string, offset int64, d digest.Digest, body io.Reader, size int64) error {
	err := c.Registry.CommitUpload(ctx, repo, state, offset, d, body, size)
	c.committed()
	return err
}

// TestUploadEndsWithoutItsClient: an upload whose client goes away at the last moment
// ends all the same, and holds up nobody who asks for it.
func TestUploadEndsWithoutItsClient(t *testing.T) {
	reg := &cutting{}
	d := open(t, gatetest.Options{Upstreams: second(t, func(r gate.Registry) gate.Registry {
		reg.Registry = r
		return reg
	})})
	bearer := "Bearer " + d.token("repository:reg.example/app:pull,push")
	at := d.call("POST", "/v2/reg.example/app/blobs/uploads/", nil, "Authorization", bearer).header.Get("Location")
	ctx, cancel := context.WithCancel(context.Background())
	reg.committed = func() {
		cancel()
		time.Sleep(50 * time.Millisecond) // for the server to notice
	}
	blob := []byte("a blob")
	req, err := http.NewRequestWithContext(ctx, "PUT", d.url+at+"?digest="+digest.FromBytes(blob).String(), bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer)
	if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
		res.Body.Close()
		t.Fatal("the request was not cut")
	}
	if got := d.call("GET", at, nil, "Authorization", bearer); got.code() != "BLOB_UPLOAD_UNKNOWN" {
		t.Errorf("the upload: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("HEAD", "/v2/reg.example/app/blobs/"+digest.FromBytes(blob).String(), nil, "Authorization", bearer); got.status != 200 {
		t.Errorf("the blob, for its uploader: HTTP %d", got.status)
	}
}

// TestStatusWhileChunksCome is for the race detector.
func TestStatusWhileChunksCome(t *testing.T) {
	d := open(t, gatetest.Options{})
	bearer := "Bearer " + d.token("repository:app:pull,push")
	at := d.call("POST", "/v2/app/blobs/uploads/", nil, "Authorization", bearer).header.Get("Location")
	var wg sync.WaitGroup
	for _, method := range []string{"PATCH", "GET", "PATCH", "GET"} {
		wg.Go(func() {
			for range 20 {
				d.call(method, at, []byte("chunk"), "Authorization", bearer)
			}
		})
	}
	wg.Wait()
	if got := d.call("GET", at, nil, "Authorization", bearer); got.header.Get("Range") != "0-199" {
		t.Errorf("Range %q, want 0-199", got.header.Get("Range"))
	}
}

// TestStorm pushes, pulls and deletes the same images from many sides: no byte
// of the bad one gets out, nothing fails inside, and nothing is left running.
func TestStorm(t *testing.T) {
	d := open(t, gatetest.Options{})
	images := []imagetest.Image{imagetest.Clean(), imagetest.Vulnerable(), imagetest.Node()}
	good, bad := images[0], images[1]
	registry := d.pusher("app")
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	registry.Client = &http.Client{Transport: transport}
	bearer := registry.Header.Get("Authorization")
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	get := func(method, path string, header http.Header) {
		req := httptest.NewRequestWithContext(ctx, method, d.url+"/v2/app/"+path, nil)
		req.Header, req.RequestURI = header, ""
		res, err := registry.Client.Do(req)
		if err != nil {
			return // the time is up
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		leak := bytes.Equal(body, bad.Manifest) || bytes.Equal(body, bad.Config) || bytes.Equal(body, bad.Layers[0].Blob)
		if leak || res.StatusCode >= 500 {
			t.Errorf("%s %s: HTTP %d %.200s", method, path, res.StatusCode, body)
		}
	}
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				im := images[n%3]
				ref := []string{"1", im.Digest().String()}[n%2]
				// A push may lose to a delete; what it must not do is seen below.
				_ = registry.Push(ctx, "app", ref, im)
			}
		})
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				get("GET", "manifests/1", http.Header{})
				get("GET", "manifests/"+images[n%3].Digest().String(), http.Header{})
				get("GET", "blobs/"+images[n%3].Layers[0].Descriptor().Digest.String(), http.Header{})
			}
		})
	}
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			get("DELETE", "manifests/"+images[n%3].Digest().String(), http.Header{"Authorization": {bearer}})
			get("DELETE", "manifests/1", http.Header{"Authorization": {bearer}})
			time.Sleep(5 * time.Millisecond)
		}
	})
	wg.Wait()
	d.push("app", good.Digest().String(), good)
	if got := d.call("GET", "/v2/app/blobs/"+good.Layers[0].Descriptor().Digest.String(), nil); got.status != 200 {
		t.Errorf("a layer of the good image after the storm: HTTP %d %s", got.status, got.body)
	}
	transport.CloseIdleConnections()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for range 50 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before the storm", runtime.NumGoroutine(), before)
}
