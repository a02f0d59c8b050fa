package proxy_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// Whoever asks what a tag stands for is told so although the image is refused, or
// not judged yet, and need not wait for a verdict.
func TestPreferNotToWait(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad, unseen := imagetest.Vulnerable(), imagetest.Clean()
	d.push("app", "bad", bad)
	for dg, blob := range unseen.Blobs() {
		state, err := d.Local.StartUpload(t.Context(), "app")
		if err == nil {
			err = d.Local.CommitUpload(t.Context(), "app", state, 0, dg, bytes.NewReader(blob), int64(len(blob)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Local.PutManifest(t.Context(), "app", "unseen", image.MediaTypeManifest, unseen.Manifest); err != nil {
		t.Fatal(err)
	}
	bearer := "Bearer " + d.token("repository:app:pull")
	for _, tt := range []struct {
		tag  string
		im   imagetest.Image
		want int
	}{{"bad", bad, http.StatusForbidden}, {"unseen", unseen, http.StatusTooManyRequests}} {
		began := time.Now()
		got := d.call("HEAD", "/v2/app/manifests/"+tt.tag, nil, "Authorization", bearer, "Prefer", "wait=0")
		if dg := got.header.Get("Docker-Content-Digest"); got.status != tt.want || dg != tt.im.Digest().String() {
			t.Errorf("%s: HTTP %d, digest %q after %v", tt.tag, got.status, dg, time.Since(began))
		}
	}
}
