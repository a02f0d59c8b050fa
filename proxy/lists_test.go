package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

func TestTagsArePaged(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	want := []string{}
	for i := range 7 {
		tag := fmt.Sprintf("v%d", i)
		want = append(want, tag)
		d.push("team/app", tag, im)
	}
	var got []string
	path := "/v2/team/app/tags/list?n=3"
	for pages := 0; path != ""; pages++ {
		res := d.call("GET", path, nil)
		var doc struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(res.body, &doc); err != nil || doc.Name != "team/app" || len(doc.Tags) > 3 || pages > 5 {
			t.Fatalf("page %d: %s, %v", pages, res.body, err)
		}
		got = append(got, doc.Tags...)
		link := res.header.Get("Link")
		path = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if res := d.call("GET", "/v2/team/app/tags/list?n=0", nil); !strings.Contains(string(res.body), `"tags":[]`) {
		t.Errorf("n=0: %s", res.body)
	}
	if res := d.call("GET", "/v2/team/none/tags/list", nil); res.code() != "NAME_UNKNOWN" {
		t.Errorf("unknown repository: HTTP %d %s", res.status, res.body)
	}
}

// artifact pushes a document that refers to a subject, and returns its digest.
func artifact(d *door, repository, artifactType string, subject digest.Digest) digest.Digest {
	d.t.Helper()
	r, ctx := d.pusher(repository), context.Background()
	empty, doc := []byte("{}"), []byte(`{"signed":"`+artifactType+`"}`)
	for _, blob := range [][]byte{empty, doc} {
		if err := r.PushBlob(ctx, repository, digest.FromBytes(blob), blob); err != nil {
			d.t.Fatal(err)
		}
	}
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/json","digest":%q,"size":%d}],"subject":{"mediaType":%q,"digest":%q,"size":1}}`,
		image.MediaTypeManifest, artifactType, digest.FromBytes(empty), digest.FromBytes(doc), len(doc), image.MediaTypeManifest, subject)
	res := d.call("PUT", "/v2/"+repository+"/manifests/"+digest.FromBytes(raw).String(), raw, "Content-Type", image.MediaTypeManifest, "Authorization", r.Header.Get("Authorization"))
	if res.status != http.StatusCreated || res.header.Get("OCI-Subject") != subject.String() {
		d.t.Fatalf("PUT: HTTP %d %v %s", res.status, res.header, res.body)
	}
	return digest.FromBytes(raw)
}

func TestReferrersOfARefusedImageStayReadable(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Vulnerable()
	d.push("app", "1", im)
	signature := artifact(d, "app", "application/vnd.example.signature", im.Digest())
	sbom := artifact(d, "app", "application/vnd.example.sbom", im.Digest())
	list := func(query string) []digest.Digest {
		res := d.call("GET", "/v2/app/referrers/"+im.Digest().String()+query, nil)
		var doc struct{ Manifests []image.Descriptor }
		if err := json.Unmarshal(res.body, &doc); err != nil || res.status != 200 || res.header.Get("Content-Type") != image.MediaTypeIndex {
			t.Fatalf("HTTP %d %s", res.status, res.body)
		}
		if (query != "") != (res.header.Get("OCI-Filters-Applied") == "artifactType") {
			t.Errorf("%s: OCI-Filters-Applied %q", query, res.header.Get("OCI-Filters-Applied"))
		}
		var all []digest.Digest
		for _, m := range doc.Manifests {
			all = append(all, m.Digest)
		}
		slices.Sort(all)
		return all
	}
	both := []digest.Digest{signature, sbom}
	slices.Sort(both)
	if diff := cmp.Diff(both, list("")); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]digest.Digest{sbom}, list("?artifactType=application/vnd.example.sbom")); diff != "" {
		t.Errorf("filtered (-want +got):\n%s", diff)
	}
	if res := d.call("GET", "/v2/app/manifests/"+signature.String(), nil); res.status != 200 {
		t.Errorf("the signature: HTTP %d %s", res.status, res.body)
	}
	if res := d.call("GET", "/v2/app/referrers/"+digest.FromString("nothing").String(), nil); !strings.Contains(string(res.body), `"manifests":[]`) {
		t.Errorf("of nothing: %s", res.body)
	}
}

// TestArtifactTypeExemptsNothing: what can be run is judged, whatever it calls
// itself.
func TestArtifactTypeExemptsNothing(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Vulnerable()
	im.Manifest = []byte(strings.Replace(string(im.Manifest), `"config":`, `"artifactType":"application/vnd.cncf.notary.signature","config":`, 1))
	d.push("app", "1", im)
	if res := d.call("GET", "/v2/app/manifests/1", nil); res.status != 403 {
		t.Errorf("an image that says it is a signature: HTTP %d", res.status)
	}
	odd := imagetest.Vulnerable()
	odd.Manifest = []byte(strings.ReplaceAll(string(odd.Manifest), "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.example.data"))
	d.push("app", "2", odd)
	if res := d.call("GET", "/v2/app/manifests/2", nil); res.status != 403 {
		t.Errorf("layers of an unknown type under an image's config: HTTP %d %s", res.status, res.body)
	}
}

func TestDeletes(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	d.push("app", "1", im)
	d.push("app", "2", im)
	bearer := "Bearer " + d.token("repository:app:pull,push,delete")
	if res := d.call("DELETE", "/v2/app/manifests/1", nil); res.status != http.StatusUnauthorized {
		t.Errorf("without a token: HTTP %d", res.status)
	}
	steps := []struct {
		method, path string
		status       int
	}{
		{"DELETE", "/v2/app/manifests/1", 202}, {"GET", "/v2/app/manifests/1", 404}, {"GET", "/v2/app/manifests/2", 200},
		{"DELETE", "/v2/app/manifests/" + im.Digest().String(), 202}, {"GET", "/v2/app/manifests/2", 404},
		{"GET", "/v2/app/manifests/" + im.Digest().String(), 404},
		{"GET", "/v2/app/blobs/" + im.ID().String(), 404}, // named by no manifest any more, and no longer its uploader's own
		{"DELETE", "/v2/app/blobs/" + im.ID().String(), 202}, {"GET", "/v2/app/blobs/" + im.ID().String(), 404},
	}
	for _, s := range steps {
		if res := d.call(s.method, s.path, nil, "Authorization", bearer); res.status != s.status {
			t.Errorf("%s %s: HTTP %d %s, want %d", s.method, s.path, res.status, res.body, s.status)
		}
	}
}

func TestRanges(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	d.push("app", "1", im)
	blob := im.Config
	path := "/v2/app/blobs/" + im.ID().String()
	n := len(blob)
	for header, want := range map[string]struct {
		status int
		body   string
		rng    string
	}{
		"bytes=0-9":     {206, string(blob[:10]), fmt.Sprintf("bytes 0-9/%d", n)},
		"bytes=5-":      {206, string(blob[5:]), fmt.Sprintf("bytes 5-%d/%d", n-1, n)},
		"bytes=-4":      {206, string(blob[n-4:]), fmt.Sprintf("bytes %d-%d/%d", n-4, n-1, n)},
		"bytes=0-99999": {206, string(blob), fmt.Sprintf("bytes 0-%d/%d", n-1, n)},
		"bytes=99999-":  {416, "", fmt.Sprintf("bytes */%d", n)},
		"bytes=9-2":     {200, string(blob), ""},
		"bytes=0-1,3-4": {200, string(blob), ""},
		"lines=0-1":     {200, string(blob), ""},
	} {
		got := d.call("GET", path, nil, "Range", header)
		if got.status != want.status || got.header.Get("Content-Range") != want.rng || (want.status < 400 && string(got.body) != want.body) {
			t.Errorf("%s: HTTP %d %q, %d bytes", header, got.status, got.header.Get("Content-Range"), len(got.body))
		}
	}
	if got := d.call("GET", path, nil, "If-None-Match", `"`+im.ID().String()+`"`); got.status != http.StatusNotModified {
		t.Errorf("If-None-Match: HTTP %d", got.status)
	}
}
