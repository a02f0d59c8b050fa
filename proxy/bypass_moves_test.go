package proxy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/imagetest"
)

func basic(name string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":password of "+name))
}

// client is somebody with a registry client.
func (c *crossing) client(p person) imagetest.Registry {
	return imagetest.Registry{URL: c.url, Header: http.Header{"Authorization": {c.token(p)}}}
}

func (c *crossing) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// push is the owner's push of an image, by digest or tag.
func (c *crossing) push(repository, reference string, im imagetest.Image) {
	c.Helper()
	c.must(c.client(owner).Push(c.Context(), repository, reference, im))
}

// pushBoth pushes the refused image as bad and the allowed one as good.
func (c *crossing) pushBoth() {
	c.Helper()
	c.push(c.repo, "bad", c.bad)
	c.push(c.repo, "good", c.good)
}

// put is the PUT of a manifest by somebody.
func (c *crossing) put(p person, repository, reference, mediaType string, raw []byte) reply {
	c.Helper()
	return c.ask(p, "PUT", "/v2/"+repository+"/manifests/"+reference, raw, "Content-Type", mediaType)
}

// putIndex is the owner's push of an index over manifests that are there.
func (c *crossing) putIndex(reference string, children ...image.Descriptor) []byte {
	c.Helper()
	raw := indexOf(children...)
	if got := c.put(owner, c.repo, reference, image.MediaTypeIndex, raw); got.status != 201 {
		c.Fatalf("PUT %s: HTTP %d %s", reference, got.status, got.body)
	}
	return raw
}

// under is the target that a name leads to.
func (c *crossing) under(name string) gate.Target {
	c.Helper()
	t, err := c.Upstreams.Lookup(name, "")
	c.must(err)
	return t
}

// behind stores an image where the proxy sees nothing of it.
func (c *crossing) behind(name, reference string, im imagetest.Image) {
	c.Helper()
	putBehind(c.T, c.direct, c.under(name).Repository, reference, im)
}

// putManifestBehind stores a manifest where the proxy sees nothing of it.
func (c *crossing) putManifestBehind(name, reference, mediaType string, raw []byte) {
	c.Helper()
	c.must(c.direct.PutManifest(c.Context(), c.under(name).Repository, reference, mediaType, raw))
}

// putBlobBehind stores a blob, under any of its digests, likewise.
func (c *crossing) putBlobBehind(name string, d digest.Digest, blob []byte) {
	c.Helper()
	repo := c.under(name).Repository
	state, err := c.direct.StartUpload(c.Context(), repo)
	c.must(err)
	state, written, err := c.direct.AppendUpload(c.Context(), repo, state, 0, bytes.NewReader(blob))
	c.must(err)
	c.must(c.direct.CommitUpload(c.Context(), repo, state, written, d, nil, 0))
}

func as512(b []byte) digest.Digest { return digest.SHA512.FromBytes(b) }

func layerOf(im imagetest.Image) string { return im.Layers[0].Descriptor().Digest.String() }

// addresses are all names of all content of an image in a repository.
func addresses(repository string, im imagetest.Image) []string {
	base := "/v2/" + repository
	all := []string{
		base + "/manifests/" + im.Digest().String(), base + "/manifests/" + as512(im.Manifest).String(),
		base + "/blobs/" + im.Digest().String(), base + "/blobs/" + im.ID().String(), base + "/blobs/" + as512(im.Config).String(),
	}
	for _, l := range im.Layers {
		all = append(all, base+"/blobs/"+digest.FromBytes(l.Blob).String(), base+"/blobs/"+as512(l.Blob).String())
	}
	return all
}

// swept: whatever was tried before, nothing of the refused image is to be had.
func (c *crossing) swept(repositories ...string) {
	c.Helper()
	for _, r := range repositories {
		c.shut(addresses(r, c.bad)...)
	}
}

// alive is the control: the allowed image is to be had, whole.
func (c *crossing) alive(repository string, people ...person) {
	c.Helper()
	if people == nil {
		people = thieves
	}
	c.servedTo(people, "/v2/"+repository+"/manifests/"+c.good.Digest().String(), c.good.Manifest)
	for d, blob := range c.good.Blobs() {
		c.servedTo(people, "/v2/"+repository+"/blobs/"+d.String(), blob)
	}
}

// wrap is an artifact that names a blob, as somebody makes it who does not have
// the bytes.
func wrap(d digest.Digest, size int) []byte {
	return mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "artifactType": "application/vnd.example.loot",
		"config": image.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: digest.FromString("{}"), Size: 2},
		"layers": []image.Descriptor{{MediaType: "application/vnd.example.data", Digest: d, Size: int64(size)}},
	})
}

// wrapAs is the push of a wrap by somebody, the empty config included. It tells
// whether the registry took it.
func (c *crossing) wrapAs(p person, repository string, d digest.Digest, size int) bool {
	c.Helper()
	empty := []byte("{}")
	c.must(c.client(p).PushBlob(c.Context(), repository, digest.FromBytes(empty), empty))
	got := c.put(p, repository, "loot"+d.Encoded()[:8], image.MediaTypeManifest, wrap(d, size))
	return got.status == 201
}

// wrapAll wraps all blobs of an image, each under each of its names.
func (c *crossing) wrapAll(p person, repository string, im imagetest.Image) {
	c.Helper()
	for _, blob := range append([][]byte{im.Manifest, im.Config}, im.Layers[0].Blob) {
		for _, d := range []digest.Digest{digest.FromBytes(blob), as512(blob)} {
			c.wrapAs(p, repository, d, len(blob))
		}
	}
}

// ownArtifact is the control of a wrap: an artifact whose content its maker has
// uploaded is served.
func (c *crossing) ownArtifact(p person, repository string) {
	c.Helper()
	content := []byte("content of an artifact in " + repository)
	d := digest.FromBytes(content)
	c.must(c.client(p).PushBlob(c.Context(), repository, d, content))
	if !c.wrapAs(p, repository, d, len(content)) {
		c.Errorf("control: an artifact was not taken")
	}
	c.served("/v2/"+repository+"/blobs/"+d.String(), content)
}

// delete is the owner's.
func (c *crossing) delete(path string) {
	c.Helper()
	if got := c.ask(owner, "DELETE", path, nil); got.status != 202 {
		c.Fatalf("DELETE %s: HTTP %d %s", path, got.status, got.body)
	}
}

func warned(r reply, text string) bool { return strings.Contains(r.header.Get("Warning"), text) }

// rename512 is the manifest of an image with its layer named by sha512.
func rename512(im imagetest.Image) []byte {
	return remade(im, func(doc map[string]any) {
		doc["layers"].([]any)[0].(map[string]any)["digest"] = as512(im.Layers[0].Blob)
	}).Manifest
}

// mount asks for a blob of another repository.
func (c *crossing) mount(p person, to, from string, d digest.Digest) reply {
	c.Helper()
	return c.ask(p, "POST", "/v2/"+to+"/blobs/uploads/?mount="+d.String()+"&from="+from, nil)
}

// falseUpload ends an upload with a digest that is not that of its bytes.
func (c *crossing) falseUpload(p person, announced string, d digest.Digest, body []byte) {
	c.Helper()
	at := c.ask(p, "POST", "blobs/uploads/"+announced, nil).header.Get("Location")
	if at == "" {
		c.Errorf("%s: no upload was begun", p)
		return
	}
	if body != nil {
		c.ask(p, "PATCH", at, body)
	}
	if got := c.ask(p, "PUT", at+"?digest="+d.String(), nil); got.status < 400 {
		c.Errorf("%s: PUT of %q as %s: HTTP %d", p, body, d, got.status)
	}
}

// commons is a registry that gives each blob of one repository to all.
type commons struct {
	gate.Registry
	source string
}

func (r commons) Blob(ctx context.Context, _ string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error) {
	body, size, err := r.Registry.Blob(ctx, r.source, d, offset, length)
	if err != nil {
		body, size, err = r.Registry.Blob(ctx, r.source+"/other", d, offset, length)
	}
	return body, size, err
}

func (r commons) StatBlob(ctx context.Context, _ string, d digest.Digest) (int64, error) {
	size, err := r.Registry.StatBlob(ctx, r.source, d)
	if err != nil {
		size, err = r.Registry.StatBlob(ctx, r.source+"/other", d)
	}
	return size, err
}

// PutManifest stores what names blobs that are elsewhere: each is there already.
func (r commons) PutManifest(ctx context.Context, repository, reference, mediaType string, raw []byte) error {
	m, err := image.ParseManifest(raw, mediaType)
	if err != nil {
		return err
	}
	for _, d := range m.Descriptors() {
		for _, from := range []string{r.source, r.source + "/other"} {
			if _, err := r.Registry.MountBlob(ctx, repository, from, d.Digest); err == nil {
				break
			}
		}
	}
	return r.Registry.PutManifest(ctx, repository, reference, mediaType, raw)
}

// only is a token for one repository alone.
func (c *crossing) only(p person, repository string) string {
	c.Helper()
	return c.scoped(p, url.Values{"scope": {"repository:" + repository + ":pull,push"}})
}

// hesitant is an upstream that gives no blob until it is released.
func hesitant(t *testing.T) (gate.Upstreams, func()) {
	t.Helper()
	may := make(chan struct{})
	release := sync.OnceFunc(func() { close(may) })
	t.Cleanup(release)
	return second(t, func(r gate.Registry) gate.Registry { return waiting{r, may} }), release
}

type waiting struct {
	gate.Registry
	may chan struct{}
}

func (r waiting) Blob(ctx context.Context, repository string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error) {
	select {
	case <-r.may:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	return r.Registry.Blob(ctx, repository, d, offset, length)
}

func impatient() *gate.Config {
	return configure(func(c *gate.Config) { c.Wait = 50 * time.Millisecond })
}

// eventually waits for an answer to change.
func (c *crossing) eventually(path string, status int) {
	c.Helper()
	var got reply
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = c.ask(nobody, "GET", path, nil); got.status == status {
			return
		}
	}
	c.Errorf("GET %s: still HTTP %d %s", path, got.status, got.body)
}
