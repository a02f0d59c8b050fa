package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// TestWaysToUpload sends the same blob in every way that the specification
// knows. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
func TestWaysToUpload(t *testing.T) {
	d := open(t, gatetest.Options{})
	bearer := "Bearer " + d.token("repository:app:pull,push")
	blob := bytes.Repeat([]byte("sixteen bytes...\n"), 40_000)
	want := digest.FromBytes(blob)
	start := func() string {
		got := d.call("POST", "/v2/app/blobs/uploads/", nil, "Authorization", bearer)
		if got.status != http.StatusAccepted || got.header.Get("Location") == "" || got.header.Get("Range") != "0-0" {
			t.Fatalf("POST: HTTP %d %v", got.status, got.header)
		}
		return got.header.Get("Location")
	}
	chunk := func(location string, part []byte, rangeHeader string, status int) string {
		t.Helper()
		got := d.call("PATCH", location, part, "Authorization", bearer, "Content-Range", rangeHeader, "Content-Type", "application/octet-stream")
		if got.status != status {
			t.Fatalf("PATCH %s: HTTP %d %s", rangeHeader, got.status, got.body)
		}
		return got.header.Get("Range")
	}
	for name, send := range map[string]func() reply{
		"one POST": func() reply {
			return d.call("POST", "/v2/app/blobs/uploads/?digest="+want.String(), blob, "Authorization", bearer)
		},
		"POST then PUT": func() reply {
			return d.call("PUT", start()+"?digest="+want.String(), blob, "Authorization", bearer)
		},
		"chunks": func() reply {
			at := start()
			if r := chunk(at, blob[:100_000], "0-99999", http.StatusAccepted); r != "0-99999" {
				t.Errorf("Range after the first chunk: %q", r)
			}
			chunk(at, blob[:10], "7-16", http.StatusRequestedRangeNotSatisfiable)
			if got := d.call("GET", at, nil, "Authorization", bearer); got.status != http.StatusNoContent || got.header.Get("Range") != "0-99999" {
				t.Errorf("status: HTTP %d %q", got.status, got.header.Get("Range"))
			}
			chunk(at, blob[100_000:200_000], "100000-199999", http.StatusAccepted)
			return d.call("PUT", at+"?digest="+want.String(), blob[200_000:], "Authorization", bearer, "Content-Range", fmt.Sprintf("200000-%d", len(blob)-1))
		},
		"a stream without length": func() reply {
			at := start()
			req, err := http.NewRequest("PATCH", d.url+at, io.MultiReader(bytes.NewReader(blob)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", bearer)
			req.ContentLength = -1
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusAccepted {
				t.Fatalf("PATCH: HTTP %d", res.StatusCode)
			}
			return d.call("PUT", at+"?digest="+want.String(), nil, "Authorization", bearer)
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := send()
			if got.status != http.StatusCreated || got.header.Get("Docker-Content-Digest") != want.String() {
				t.Fatalf("HTTP %d %s", got.status, got.body)
			}
			read := d.call("GET", got.header.Get("Location"), nil, "Authorization", bearer)
			if read.status != 200 || !bytes.Equal(read.body, blob) {
				t.Errorf("read back: HTTP %d, %d bytes", read.status, len(read.body))
			}
		})
	}
}

func TestUploadsThatFail(t *testing.T) {
	d := open(t, gatetest.Options{})
	bearer := "Bearer " + d.token("repository:app:pull,push", "repository:other:pull,push")
	start := func() string {
		return d.call("POST", "/v2/app/blobs/uploads/", nil, "Authorization", bearer).header.Get("Location")
	}
	wrong := digest.FromString("something else").String()
	if got := d.call("PUT", start()+"?digest="+wrong, []byte("body"), "Authorization", bearer); got.code() != "DIGEST_INVALID" {
		t.Errorf("wrong digest: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("GET", "/v2/app/blobs/"+wrong, nil, "Authorization", bearer); got.status != 404 {
		t.Errorf("and it is there: HTTP %d", got.status)
	}
	at := start()
	if got := d.call("DELETE", at, nil, "Authorization", bearer); got.status != http.StatusNoContent {
		t.Errorf("cancel: HTTP %d", got.status)
	}
	if got := d.call("PATCH", at, []byte("x"), "Authorization", bearer); got.code() != "BLOB_UPLOAD_UNKNOWN" {
		t.Errorf("after cancel: HTTP %d %s", got.status, got.body)
	}
	elsewhere := strings.Replace(start(), "/app/", "/other/", 1)
	if got := d.call("PATCH", elsewhere, []byte("x"), "Authorization", bearer); got.code() != "BLOB_UPLOAD_UNKNOWN" {
		t.Errorf("through another repository: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("POST", "/v2/app/blobs/uploads/", nil); got.status != http.StatusUnauthorized || !strings.Contains(got.header.Get("WWW-Authenticate"), `scope="repository:app:pull,push"`) {
		t.Errorf("without a token: HTTP %d %v", got.status, got.header)
	}
}

func TestManifestsThatAreNotTaken(t *testing.T) {
	d := open(t, gatetest.Options{})
	bearer := "Bearer " + d.token("repository:app:pull,push")
	im := imagetest.Clean()
	text := string(im.Manifest)
	if err := d.pusher("app").PushBlobs(context.Background(), "app", im); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, ref, body, code string }{
		{"not JSON", "1", "hello", "MANIFEST_INVALID"},
		{"a key twice", "1", strings.Replace(text, `"layers":`, `"Layers":[],"layers":`, 1), "MANIFEST_INVALID"},
		{"image and index at once", "1", strings.Replace(text, `"layers":`, `"manifests":[],"layers":`, 1), "MANIFEST_INVALID"},
		{"schema 1", "1", `{"schemaVersion":1,"fsLayers":[]}`, "MANIFEST_INVALID"},
		{"another digest", digest.FromString("x").String(), text, "DIGEST_INVALID"},
		{"a bad tag", "-x", text, "TAG_INVALID"},
		{"too large", "1", text + strings.Repeat(" ", 4<<20), "MANIFEST_INVALID"},
		{"a layer that is not there", "1", strings.Replace(text, im.Layers[0].Descriptor().Digest.Encoded(), digest.FromString("gone").Encoded(), 1), "MANIFEST_BLOB_UNKNOWN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.call("PUT", "/v2/app/manifests/"+tt.ref, []byte(tt.body), "Authorization", bearer, "Content-Type", "application/vnd.oci.image.manifest.v1+json")
			if got.code() != tt.code || got.status >= 500 {
				t.Errorf("HTTP %d %s, want %s", got.status, got.body, tt.code)
			}
		})
	}
	if got := d.call("GET", "/v2/app/tags/list", nil); strings.Contains(string(got.body), `"1"`) {
		t.Errorf("a tag was made: %s", got.body)
	}
}
