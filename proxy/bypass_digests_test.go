package proxy_test

import (
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// digestWays are about second names of the same bytes.
func digestWays() []avenue {
	return []avenue{{"Other digests of the same bytes", []way{
		{"a refused manifest by its sha512, on both routes", "distribution-spec (main): digests by sha512", everywhere, func(c *crossing) {
			c.pushBoth()
			name := as512(c.bad.Manifest).String()
			c.shut("manifests/"+name, "blobs/"+name)
			for _, p := range []person{nobody, reader} {
				if got := c.ask(p, "HEAD", "manifests/"+name, nil); got.status < 400 {
					c.Errorf("%s: HEAD: HTTP %d", p, got.status)
				}
			}
			c.served("manifests/"+as512(c.good.Manifest).String(), c.good.Manifest)
		}},
		{"a refused layer that the registry has under its sha512 too", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			for _, im := range [][]byte{c.bad.Layers[0].Blob, c.bad.Config} {
				c.putBlobBehind(c.repo, as512(im), im)
			}
			good := c.good.Layers[0].Blob
			c.must(c.client(owner).PushBlob(c.Context(), c.repo, as512(good), good))
			c.swept(c.repo)
			c.served("blobs/"+as512(good).String(), good)
		}},
		{"a manifest that names layers by sha512 alone, pushed or never seen", "distribution-spec (main)", everywhere, func(c *crossing) {
			for _, im := range []struct {
				tag  string
				raw  []byte
				blob []byte
			}{{"bad", rename512(c.bad), c.bad.Layers[0].Blob}, {"good", rename512(c.good), c.good.Layers[0].Blob}} {
				c.putBlobBehind(c.repo, as512(im.blob), im.blob)
				source := c.bad
				if im.tag == "good" {
					source = c.good
				}
				c.putBlobBehind(c.repo, source.ID(), source.Config)
				c.putManifestBehind(c.repo, im.tag, image.MediaTypeManifest, im.raw)
			}
			c.shut("blobs/"+as512(c.bad.Layers[0].Blob).String(), "manifests/bad", "blobs/"+as512(c.bad.Layers[0].Blob).String())
			c.served("manifests/good", rename512(c.good))
			c.served("blobs/"+as512(c.good.Layers[0].Blob).String(), c.good.Layers[0].Blob)
			c.swept(c.repo)
		}},
		{"an artifact that names a refused layer by its sha512", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			layer := c.bad.Layers[0].Blob
			c.putBlobBehind(c.repo, as512(layer), layer)
			for _, p := range thieves {
				if p.push {
					c.wrapAs(p, c.repo, as512(layer), len(layer))
				}
			}
			c.swept(c.repo)
			c.ownArtifact(pirate, c.repo)
		}},
		{"a mount of a refused layer by its sha512", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			c.putBlobBehind(c.repo, as512(c.bad.Layers[0].Blob), c.bad.Layers[0].Blob)
			for _, p := range thieves {
				if got := c.mount(p, c.other, c.repo, as512(c.bad.Layers[0].Blob)); p.push && got.status != http.StatusAccepted {
					c.Errorf("%s: mount: HTTP %d", p, got.status)
				}
			}
			c.wrapAll(pirate, c.other, c.bad)
			c.swept(c.repo, c.other)
			if got := c.mount(pirate, c.other, c.repo, c.good.Layers[0].Descriptor().Digest); got.status != http.StatusCreated {
				c.Errorf("control: mount: HTTP %d %s", got.status, got.body)
			}
		}},
		{"an upload of other bytes, or of none, under a digest of a refused layer", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			layer := c.bad.Layers[0].Blob
			c.putBlobBehind(c.repo, as512(layer), layer)
			for _, p := range []person{thieves[1], pirate} {
				for _, d := range []digest.Digest{digest.FromBytes(layer), as512(layer)} {
					for _, body := range [][]byte{nil, []byte("other bytes")} {
						for _, announced := range []string{"", "?digest-algorithm=sha256", "?digest-algorithm=sha512"} {
							c.falseUpload(p, announced, d, body)
						}
					}
				}
			}
			c.swept(c.repo)
			c.ownArtifact(pirate, c.repo)
		}},
		{"an upload under sha512, asked for by sha256 by somebody else", "own", everywhere, func(c *crossing) {
			layer := c.bad.Layers[0].Blob
			c.must(c.client(owner).PushBlob(c.Context(), c.repo, as512(layer), layer))
			if got := c.answer(owner, "GET", "blobs/"+as512(layer).String(), nil); got.status != 200 {
				c.Errorf("control: the uploader: HTTP %d %s", got.status, got.body)
			}
			c.swept(c.repo)
		}},
		{"several tags at once, by tag parameters and under sha512", "distribution-spec (main): pushing manifests with tags", everywhere, func(c *crossing) {
			c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.bad))
			c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.good))
			bad, good := []digest.Digest{c.bad.Digest()}, c.good.Digest()
			if c.registry == embedded { // distribution takes no manifest under sha512
				bad, good = append(bad, as512(c.bad.Manifest)), as512(c.good.Manifest)
			}
			for _, d := range bad {
				if got := c.put(owner, c.repo, d.String()+"?tag=a&tag=b&tag=c", image.MediaTypeManifest, c.bad.Manifest); got.status != 201 {
					c.Fatalf("PUT: HTTP %d %s", got.status, got.body)
				}
				c.shut("manifests/a", "manifests/b", "manifests/c")
			}
			if got := c.put(owner, c.repo, good.String()+"?tag=a", image.MediaTypeManifest, c.good.Manifest); got.status != 201 {
				c.Fatalf("PUT: HTTP %d %s", got.status, got.body)
			}
			c.served("manifests/a", c.good.Manifest)
			c.swept(c.repo)
		}},
	}}}
}
