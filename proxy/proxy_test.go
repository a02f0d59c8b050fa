package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/proxy"
)

// door is a registry in front of a whole gate, and a client of it.
type door struct {
	*gatetest.System
	url string
	t   testing.TB
}

func open(t testing.TB, o gatetest.Options) *door {
	t.Helper()
	s := gatetest.New(t, o)
	tokens, err := auth.New(auth.Config{}, true)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy.Proxy{Gate: s.Gate, Upstreams: s.Upstreams, Catalog: s.Catalog, Auth: tokens, OpenLoopback: true, Audit: s.Audit, Log: s.Log, Now: time.Now}
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	return &door{s, server.URL, t}
}

// token asks the token service as a client would.
func (d *door) token(scopes ...string) string {
	d.t.Helper()
	res, err := http.Get(d.url + "/auth/token?" + url.Values{"scope": scopes}.Encode())
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		d.t.Fatal(err)
	}
	return answer.Token
}

// pusher is a client that may push to the repositories.
func (d *door) pusher(repositories ...string) imagetest.Registry {
	var scopes []string
	for _, r := range repositories {
		scopes = append(scopes, "repository:"+r+":pull,push,delete")
	}
	return imagetest.Registry{URL: d.url, Header: http.Header{"Authorization": {"Bearer " + d.token(scopes...)}}}
}

func (d *door) push(repository, tag string, im imagetest.Image) {
	d.t.Helper()
	if err := d.pusher(repository).Push(context.Background(), repository, tag, im); err != nil {
		d.t.Fatal(err)
	}
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// call sends a request; headers are pairs.
func (d *door) call(method, path string, body []byte, headers ...string) reply {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, raw}
}

func (r reply) code() string {
	var doc struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(r.body, &doc) != nil || len(doc.Errors) == 0 {
		return ""
	}
	return doc.Errors[0].Code
}

func (r reply) message() string {
	var doc struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(r.body, &doc) != nil || len(doc.Errors) == 0 {
		return ""
	}
	return doc.Errors[0].Message
}

func TestCleanImageRoundTrips(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	d.push("team/app", "1.0", im)
	for _, ref := range []string{"1.0", im.Digest().String()} {
		got := d.call("GET", "/v2/team/app/manifests/"+ref, nil)
		if got.status != 200 || !bytes.Equal(got.body, im.Manifest) {
			t.Fatalf("GET %s: HTTP %d %s", ref, got.status, got.body)
		}
		if got.header.Get("Docker-Content-Digest") != im.Digest().String() || got.header.Get("Content-Type") != image.MediaTypeManifest {
			t.Errorf("GET %s: headers %v", ref, got.header)
		}
	}
	for dg, want := range im.Blobs() {
		got := d.call("GET", "/v2/team/app/blobs/"+dg.String(), nil)
		if got.status != 200 || !bytes.Equal(got.body, want) {
			t.Errorf("GET blob %s: HTTP %d, %d bytes", dg, got.status, len(got.body))
		}
	}
}

func TestRefusalExplainsItself(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Vulnerable()
	d.push("team/app", "1.0", im)
	got := d.call("GET", "/v2/team/app/manifests/1.0", nil)
	if got.status != http.StatusForbidden || got.code() != "DENIED" || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	for _, want := range []string{`policy "default"`, "CVE-2025-15467", "3.3.2-r0", "fixed in 3.3.6-r0", "http://127.0.0.1:8228/report/" + im.Digest().String()} {
		if !strings.Contains(got.message(), want) {
			t.Errorf("the message lacks %q: %s", want, got.message())
		}
	}
}

// TestNoByteOfARefusedImage names the ways to the bytes of a refused image.
func TestNoByteOfARefusedImage(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	index := imagetest.BuildIndex(bad)
	if err := d.pusher("team/app").PushIndex(context.Background(), "team/app", "multi", index); err != nil {
		t.Fatal(err)
	}
	d.push("team/app", "1.0", bad)
	layer := bad.Layers[0].Descriptor().Digest.String()
	push := "Bearer " + d.token("repository:team/app:pull,push")
	for _, tt := range []struct {
		name, method, path string
		headers            []string
	}{
		{"by tag", "GET", "/v2/team/app/manifests/1.0", nil},
		{"by digest", "GET", "/v2/team/app/manifests/" + bad.Digest().String(), nil},
		{"by tag, with push scope", "GET", "/v2/team/app/manifests/1.0", []string{"Authorization", push}},
		{"HEAD with pull alone", "HEAD", "/v2/team/app/manifests/1.0", nil},
		{"an index of nothing else", "GET", "/v2/team/app/manifests/multi", nil},
		{"the index by digest", "GET", "/v2/team/app/manifests/" + index.Digest().String(), nil},
		{"if it has not changed", "GET", "/v2/team/app/manifests/1.0", []string{"If-None-Match", bad.Digest().String()}},
		{"the layer", "GET", "/v2/team/app/blobs/" + layer, nil},
		{"the layer, with push scope", "GET", "/v2/team/app/blobs/" + layer, []string{"Authorization", push}},
		{"a range of the layer", "GET", "/v2/team/app/blobs/" + layer, []string{"Range", "bytes=0-9"}},
		{"the layer if it has not changed", "GET", "/v2/team/app/blobs/" + layer, []string{"If-None-Match", layer}},
		{"HEAD of the layer", "HEAD", "/v2/team/app/blobs/" + layer, nil},
		{"the config", "GET", "/v2/team/app/blobs/" + bad.ID().String(), nil},
		{"the manifest as a blob", "GET", "/v2/team/app/blobs/" + bad.Digest().String(), nil},
		{"the index as a blob", "GET", "/v2/team/app/blobs/" + index.Digest().String(), nil},
		{"the layer in another repository", "GET", "/v2/team/other/blobs/" + layer, nil},
		{"the manifest in another repository", "GET", "/v2/team/other/manifests/" + bad.Digest().String(), nil},
		{"an encoded slash", "GET", "/v2/team%2Fapp/manifests/1.0", nil},
		{"a dot segment", "GET", "/v2/team/x/../app/manifests/1.0", nil},
		{"two slashes", "GET", "/v2/team//app/manifests/1.0", nil},
		{"the registry's own host in the name", "GET", "/v2/127.0.0.1:5000/team/app/manifests/1.0", nil},
		{"another namespace", "GET", "/v2/team/app/manifests/1.0?ns=docker.io", nil},
		{"another algorithm", "GET", "/v2/team/app/manifests/" + digest.SHA512.FromBytes(bad.Manifest).String(), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.call(tt.method, tt.path, nil, tt.headers...)
			if got.status < 400 {
				t.Errorf("HTTP %d, %d bytes", got.status, len(got.body))
			}
			for _, secret := range [][]byte{bad.Manifest, bad.Config, index.Raw} {
				if bytes.Contains(got.body, secret) {
					t.Error("the body holds what was refused")
				}
			}
		})
	}
}

func TestMountGivesNothingAway(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad, good := imagetest.Vulnerable(), imagetest.Clean()
	d.push("team/bad", "1", bad)
	d.push("team/good", "1", good)
	both := "Bearer " + d.token("repository:team/bad:pull,push", "repository:team/good:pull,push", "repository:team/new:pull,push")
	for _, tt := range []struct {
		name, from string
		layer      digest.Digest
		status     int
	}{
		{"from a refused image", "team/bad", bad.Layers[0].Descriptor().Digest, http.StatusAccepted},
		{"from an allowed image", "team/good", good.Layers[0].Descriptor().Digest, http.StatusCreated},
		{"from where it is not", "team/good", bad.Layers[0].Descriptor().Digest, http.StatusAccepted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.call("POST", "/v2/team/new/blobs/uploads/?mount="+tt.layer.String()+"&from="+tt.from, nil, "Authorization", both)
			if got.status != tt.status {
				t.Errorf("POST: HTTP %d %s, want %d", got.status, got.body, tt.status)
			}
			if got := d.call("GET", "/v2/team/new/blobs/"+tt.layer.String(), nil, "Authorization", both); got.status < 400 {
				t.Errorf("a mount alone opens the blob: HTTP %d", got.status)
			}
		})
	}
}

func TestPusherMayOverwriteWhatIsRefused(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("team/app", "1.0", bad)
	push := "Bearer " + d.token("repository:team/app:pull,push")
	head := d.call("HEAD", "/v2/team/app/manifests/1.0", nil, "Authorization", push)
	if head.status != 200 || !strings.HasPrefix(head.header.Get("Warning"), "299 ") || head.header.Get("Docker-Content-Digest") != bad.Digest().String() {
		t.Errorf("HEAD by a pusher: HTTP %d %v", head.status, head.header)
	}
	if layer := d.call("HEAD", "/v2/team/app/blobs/"+bad.Layers[0].Descriptor().Digest.String(), nil, "Authorization", push); layer.status != 200 {
		t.Errorf("HEAD of a layer by a pusher: HTTP %d", layer.status)
	}
	d.push("team/app", "1.0", imagetest.Clean())
	if got := d.call("GET", "/v2/team/app/manifests/1.0", nil); got.status != 200 {
		t.Errorf("GET after the fix: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("GET", "/v2/team/app/manifests/"+bad.Digest().String(), nil); got.status != 403 {
		t.Errorf("GET of the old digest: HTTP %d", got.status)
	}
}

func TestUploadedBlobIsForItsUploaderAlone(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Vulnerable()
	if err := d.pusher("team/app").PushBlobs(context.Background(), "team/app", im); err != nil {
		t.Fatal(err)
	}
	layer := "/v2/team/app/blobs/" + im.Layers[0].Descriptor().Digest.String()
	if got := d.call("GET", layer, nil); got.status != http.StatusNotFound {
		t.Errorf("GET by a puller before the manifest: HTTP %d", got.status)
	}
	if got := d.call("HEAD", layer, nil, "Authorization", "Bearer "+d.token("repository:team/app:pull,push")); got.status != 200 {
		t.Errorf("HEAD by the uploader before the manifest: HTTP %d", got.status)
	}
}

// wrapped is an artifact whose content is somebody else's layer.
func wrapped(layer imagetest.Layer) imagetest.Image {
	layer.MediaType = "application/vnd.example.data"
	im := dressed("{}", "application/vnd.oci.empty.v1+json", layer)
	im.Layers = nil // it takes the manifest alone to name it
	return im
}

// TestArtifactOpensNoRefusedLayer: somebody who may push, and does not have the
// bytes, wraps a refused image's layer in an artifact.
func TestArtifactOpensNoRefusedLayer(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("app", "1", bad)
	d.push("app", "wrapped", wrapped(bad.Layers[0]))
	for _, headers := range [][]string{nil, {"Authorization", d.pusher("app").Header.Get("Authorization")}} {
		if got := d.call("GET", "/v2/app/manifests/wrapped", nil, headers...); got.status != 200 {
			t.Errorf("the artifact: HTTP %d %s", got.status, got.body)
		}
		if got := d.call("GET", "/v2/app/blobs/"+bad.Layers[0].Descriptor().Digest.String(), nil, headers...); got.status != 403 {
			t.Errorf("the layer: HTTP %d, %d bytes", got.status, len(got.body))
		}
	}
}

// TestDeleteThenWrap: nor does it help to delete the refused image first. Who
// has the bytes may upload them for the artifact.
func TestDeleteThenWrap(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("app", "1", bad)
	registry := d.pusher("app")
	bearer := registry.Header.Get("Authorization")
	if got := d.call("DELETE", "/v2/app/manifests/"+bad.Digest().String(), nil, "Authorization", bearer); got.status != 202 {
		t.Fatalf("DELETE: HTTP %d %s", got.status, got.body)
	}
	d.push("app", "wrapped", wrapped(bad.Layers[0]))
	layer := bad.Layers[0].Descriptor().Digest
	for _, headers := range [][]string{nil, {"Authorization", bearer}} {
		if got := d.call("GET", "/v2/app/blobs/"+layer.String(), nil, headers...); got.status != 403 {
			t.Errorf("the layer: HTTP %d, %d bytes", got.status, len(got.body))
		}
	}
	if err := registry.PushBlob(context.Background(), "app", layer, bad.Layers[0].Blob); err != nil {
		t.Fatal(err)
	}
	if got := d.call("GET", "/v2/app/blobs/"+layer.String(), nil); got.status != 200 {
		t.Errorf("the layer, uploaded for the artifact: HTTP %d %s", got.status, got.body)
	}
}

// TestDeletedManifestOpensNoLayer: deleting the refused manifest does not make
// its layers their uploader's own again, also when they were pushed twice.
func TestDeletedManifestOpensNoLayer(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("app", "1", bad)
	d.push("app", "1", bad)
	bearer := d.pusher("app").Header.Get("Authorization")
	if got := d.call("DELETE", "/v2/app/manifests/"+bad.Digest().String(), nil, "Authorization", bearer); got.status != 202 {
		t.Fatalf("DELETE: HTTP %d %s", got.status, got.body)
	}
	for _, blob := range []digest.Digest{bad.Layers[0].Descriptor().Digest, bad.ID(), bad.Digest()} {
		if got := d.call("GET", "/v2/app/blobs/"+blob.String(), nil, "Authorization", bearer); got.status != 404 {
			t.Errorf("%s: HTTP %d", blob, got.status)
		}
	}
}
