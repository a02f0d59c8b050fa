package proxy_test

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// contentWays are about indexes and what they carry.
func contentWays() []avenue {
	return []avenue{{"Indexes", []way{
		{"indexes in indexes", "registries.md 3.5; the conformance suite has them", everywhere, func(c *crossing) {
			c.pushBoth()
			for tag, im := range map[string]imagetest.Image{"bad": c.bad, "good": c.good} {
				raw := indexOf(im.Descriptor())
				for range 3 {
					self := image.Descriptor{MediaType: image.MediaTypeIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
					if got := c.put(owner, c.repo, self.Digest.String(), image.MediaTypeIndex, raw); got.status != 201 {
						c.Fatalf("PUT: HTTP %d %s", got.status, got.body)
					}
					raw = indexOf(self)
				}
				c.must(c.client(owner).PutManifest(c.Context(), c.repo, "nested-"+tag, image.MediaTypeIndex, raw))
				if tag == "good" {
					c.served("manifests/nested-good", raw)
				}
			}
			c.shut("manifests/nested-bad")
			c.swept(c.repo)
		}},
		{"a sparse index: a child that is not there beside a refused one", "registries.md 3.5", everywhere, func(c *crossing) {
			c.pushBoth()
			missing := cargo("missing", imagetest.GoodSSL).Descriptor()
			for tag, child := range map[string]image.Descriptor{"sparse-bad": c.bad.Descriptor(), "sparse-good": c.good.Descriptor()} {
				c.putManifestBehind(c.repo, tag, image.MediaTypeIndex, indexOf(missing, child))
				// The index names what others may have; the refused child stays closed.
				c.served("manifests/"+tag, indexOf(missing, child))
			}
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"a mixed index: served for its allowed child, the refused one asked for by digest", "registries.md 3.5", everywhere, func(c *crossing) {
			c.pushBoth()
			raw := c.putIndex("mixed", c.good.Descriptor(), c.bad.Descriptor())
			c.served("manifests/mixed", raw)
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"an index that carries a refused image inline", "image-spec, descriptor data", everywhere, func(c *crossing) {
			c.pushBoth()
			bad, good := c.bad.Descriptor(), c.good.Descriptor()
			bad.Data, good.Data = c.bad.Manifest, c.good.Manifest
			plain := c.bad.Descriptor()
			for tag, children := range map[string][]image.Descriptor{"inline": {bad}, "inline-mixed": {good, bad}, "inline-twice": {plain, bad}, "inline-last": {good, plain, bad}} {
				c.putIndex(tag, children...)
				c.shut("manifests/" + tag)
			}
			nested := indexOf(bad)
			c.putIndex("inline-nested", good, image.Descriptor{MediaType: image.MediaTypeIndex, Digest: digest.FromBytes(nested), Size: int64(len(nested)), Data: nested})
			c.shut("manifests/inline-nested")
			raw := c.putIndex("inline-good", good)
			c.served("manifests/inline-good", raw)
		}},
		{"an index never seen that carries an image inline which nobody has judged", "image-spec, descriptor data", everywhere, func(c *crossing) {
			c.behind(c.repo, c.bad.Digest().String(), c.bad)
			c.behind(c.repo, "good", c.good)
			bad := c.bad.Descriptor()
			bad.Data = c.bad.Manifest
			c.putManifestBehind(c.repo, "inline", image.MediaTypeIndex, indexOf(c.bad.Descriptor(), bad))
			c.shut("manifests/inline")
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"an index that calls a refused layer its child", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			layer := c.bad.Layers[0].Descriptor()
			for _, mediaType := range []string{image.MediaTypeManifest, image.MediaTypeIndex, layer.MediaType} {
				layer.MediaType = mediaType
				c.put(pirate, c.repo, "stolen", image.MediaTypeIndex, indexOf(layer, c.good.Descriptor()))
				c.swept(c.repo)
			}
			c.alive(c.repo)
		}},
		{"attestation marks on a child that runs", "registries.md 3.5: BuildKit's vnd.docker.reference.type", everywhere, func(c *crossing) {
			c.pushBoth()
			mark := func(im imagetest.Image) image.Descriptor {
				d := im.Descriptor()
				d.Platform = &image.Platform{OS: "unknown", Architecture: "unknown"}
				d.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": c.good.Digest().String()}
				return d
			}
			c.putIndex("marked-bad", mark(c.bad))
			c.shut("manifests/marked-bad")
			c.served("manifests/marked-good", c.putIndex("marked-good", mark(c.good)))
			c.swept(c.repo)
		}},
	}}}
}

// disguiseWays are about images that are made to look like something else. A
// disguise has the layer of the refused image and a manifest of its own.
func disguiseWays() []avenue {
	manifestWith := func(change func(doc map[string]any)) func(*crossing) {
		return func(c *crossing) {
			c.push(c.repo, "good", c.good)
			c.bad = remade(c.bad, change)
			c.oracle.hide(c.bad)
			c.force(c.bad)
			c.shut("manifests/bad")
			c.swept(c.repo)
			c.alive(c.repo)
		}
	}
	layer := func(doc map[string]any) map[string]any { return doc["layers"].([]any)[0].(map[string]any) }
	return []avenue{{"Disguises", []way{
		{"a self-declared artifact type: an image that says it is a signature, of a subject", "Harbor L17: middleware/subject/subject.go", everywhere, manifestWith(func(doc map[string]any) {
			doc["artifactType"] = "application/vnd.cncf.notary.signature"
			doc["subject"] = image.Descriptor{MediaType: image.MediaTypeManifest, Digest: digest.FromString("any"), Size: 3}
		})},
		{"a config with the media type of a signature", "Harbor L17", everywhere, manifestWith(func(doc map[string]any) {
			doc["config"].(map[string]any)["mediaType"] = "application/vnd.dev.cosign.artifact.sig.v1+json"
		})},
		{"a layer with the media type of an artifact", "own", everywhere, manifestWith(func(doc map[string]any) { layer(doc)["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json" })},
		{"a config and a layer with media types of an artifact", "own", everywhere, manifestWith(func(doc map[string]any) {
			doc["artifactType"] = "application/vnd.cncf.helm.config.v1+json"
			doc["config"].(map[string]any)["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
			layer(doc)["mediaType"] = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
		})},
		{"a layer that says it is encrypted", "registries.md 3.5: ocicrypt", everywhere, manifestWith(func(doc map[string]any) {
			layer(doc)["mediaType"] = "application/vnd.oci.image.layer.v1.tar+encrypted"
		})},
		{"a layer that says it is compressed otherwise than it is", "registries.md 3.5", everywhere, manifestWith(func(doc map[string]any) {
			layer(doc)["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
		})},
		{"foreign urls beside a layer that is here", "registries.md 3.5: containerd takes urls first", everywhere, manifestWith(func(doc map[string]any) {
			layer(doc)["urls"] = []string{"https://example.org/layer"}
		})},
		{"foreign urls of a layer that is nowhere else", "registries.md 3.5", everywhere, func(c *crossing) {
			c.push(c.repo, "good", c.good)
			far := remade(c.bad, func(doc map[string]any) {
				layer(doc)["urls"], layer(doc)["mediaType"] = []string{"https://example.org/layer"}, "application/vnd.oci.image.layer.nondistributable.v1.tar"
			})
			c.oracle.hide(far)
			c.putBlobBehind(c.repo, far.ID(), far.Config)
			c.putManifestBehind(c.repo, "bad", image.MediaTypeManifest, far.Manifest)
			c.shut("manifests/bad", "blobs/"+far.ID().String())
			c.alive(c.repo)
		}},
		{"inline data of a layer, beside which the registry has the refused one", "image-spec, descriptor data", everywhere, manifestWith(func(doc map[string]any) {
			layer(doc)["data"] = []byte("nothing to see")
		})},
		{"a config inline in the manifest", "image-spec, descriptor data", everywhere, func(c *crossing) {
			config := c.bad.Config
			manifestWith(func(doc map[string]any) { doc["config"].(map[string]any)["data"] = config })(c)
		}},
		{"a key twice: harmless layers first, then the refused", "registries.md 7.8; RFC 8259, 4", everywhere, twice(`"layers":`, `"layers":`)},
		{"a key twice in another case", "own: Go folds case, others do not", everywhere, twice(`"layers":`, `"Layers":`)},
		{"a key twice in the config", "own", everywhere, func(c *crossing) {
			c.push(c.repo, "good", c.good)
			text := strings.Replace(string(c.bad.Config), `"rootfs":`, `"rootfs":{"type":"layers","diff_ids":[]},"rootfs":`, 1)
			mark := c.bad.Layers[0]
			mark.MediaType = "application/vnd.example"
			odd := dressed(text, "application/vnd.example+json", mark)
			c.oracle.hide(odd)
			c.push(c.repo, "bad", odd)
			c.shut("manifests/bad")
			c.shut(addresses(c.repo, odd)...)
			c.alive(c.repo)
		}},
		{"a Content-Type that contradicts the manifest", "registries.md 3.5", everywhere, func(c *crossing) {
			c.push(c.repo, "good", c.good)
			c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.bad))
			for _, name := range []string{image.MediaTypeIndex, "application/vnd.docker.distribution.manifest.v1+json", "application/json", "text/plain", ""} {
				c.put(owner, c.repo, "bad", name, c.bad.Manifest)
				c.shut("manifests/bad")
			}
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"a config borrowed from an image that is listed as allowed by its id", "own; design 3.4", everywhere, borrowed},
	}}}
}

// force stores the image as bad: by a push, or, where that is refused, around the
// proxy, as far as the registry takes it at all.
func (c *crossing) force(im imagetest.Image) {
	c.Helper()
	c.must(c.client(owner).PushBlobs(c.Context(), c.repo, im))
	if c.client(owner).PutManifest(c.Context(), c.repo, "bad", image.MediaTypeManifest, im.Manifest) == nil {
		return
	}
	if err := c.direct.PutManifest(c.Context(), c.under(c.repo).Repository, "bad", image.MediaTypeManifest, im.Manifest); err != nil {
		c.Logf("neither the proxy nor the registry takes it: %v", err)
	}
}

// twice puts harmless layers into the manifest of the refused image.
func twice(first, second string) func(*crossing) {
	return func(c *crossing) {
		c.push(c.repo, "good", c.good)
		raw := []byte(strings.Replace(string(c.bad.Manifest), `"layers":`, first+string(mustJSON([]image.Descriptor{c.good.Layers[0].Descriptor()}))+`,`+second, 1))
		c.bad.Manifest = raw
		c.oracle.hide(c.bad)
		if got := c.put(owner, c.repo, "bad", image.MediaTypeManifest, raw); got.status != 400 {
			c.Errorf("the push was answered HTTP %d", got.status)
		}
		c.force(c.bad)
		c.shut("manifests/bad")
		c.swept(c.repo)
		c.alive(c.repo)
	}
}

// borrowed: the refused layers under the config of an image that the bundle lists.
func borrowed(c *crossing) {
	c = c.anew(worldOptions{Options: gatetest.Options{}})
	listed := cargo("listed "+c.slug, imagetest.VulnerableSSL)
	bundle := `{"id":"listing","name":"listing","version":"1_0","whitelists":[],"blacklisted_images":[],
"whitelisted_images":[{"id":"w","name":"w","registry":"*","repository":"*","image":{"type":"id","value":"` + listed.ID().Encoded() + `"}}],
"policies":[{"id":"p","name":"p","version":"1_0","rules":[{"id":"r","gate":"always","trigger":"always","action":"STOP","params":[]}]}],
"mappings":[{"id":"a","name":"a","registry":"*","repository":"*","image":{"type":"tag","value":"*"},"policy_ids":["p"],"whitelist_ids":[]}]}`
	if _, err := c.Gate.AddPolicy(c.Context(), []byte(bundle)); err != nil {
		c.Fatal(err)
	}
	if _, err := c.Gate.Activate(c.Context(), "listing"); err != nil {
		c.Fatal(err)
	}
	c.push(c.repo, "listed", listed)
	c.served("manifests/listed", listed.Manifest)
	c.bad = dressed(string(listed.Config), image.MediaTypeConfig, c.bad.Layers[0])
	c.push(c.repo, "bad", c.bad)
	c.shut("manifests/bad", "manifests/"+c.bad.Digest().String(), "blobs/"+layerOf(c.bad))
}
