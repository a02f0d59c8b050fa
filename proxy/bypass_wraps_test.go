package proxy_test

import (
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
)

// wrapWays are about artifacts that name what somebody wants, and does not have:
// artifacts are served.
func wrapWays() []avenue {
	return []avenue{{"Artifacts wrapped round the content of an image", []way{
		{"of a refused image, by everybody who may push", "own; docs/security.md", everywhere, func(c *crossing) {
			c.pushBoth()
			c.wrapAll(thieves[1], c.repo, c.bad)
			c.wrapAll(pirate, c.repo, c.bad)
			c.swept(c.repo)
			c.ownArtifact(pirate, c.repo)
		}},
		{"of an image that lies in the registry and that nobody has asked for yet", "own", everywhere, func(c *crossing) {
			c.behind(c.repo, "bad", c.bad)
			c.wrapAll(pirate, c.repo, c.bad)
			c.shut("blobs/"+layerOf(c.bad), "blobs/"+c.bad.ID().String(), "blobs/"+as512(c.bad.Layers[0].Blob).String())
			c.swept(c.repo)
			c.ownArtifact(pirate, c.repo)
		}},
		{"of an image whose layers somebody else is pushing", "own", everywhere, func(c *crossing) {
			c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.bad))
			if got := c.answer(owner, "GET", "blobs/"+layerOf(c.bad), nil); got.status != 200 {
				c.Errorf("control: the uploader: HTTP %d %s", got.status, got.body)
			}
			c.wrapAll(pirate, c.repo, c.bad)
			c.swept(c.repo)
			c.ownArtifact(pirate, c.repo)
		}},
		{"of an image whose push was refused, so that its layers stayed behind", "own; gate.push: enforce", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{Options: gatetest.Options{Config: configure(func(g *gate.Config) { g.Push = gate.PushEnforce })}})
			c.push(c.repo, "good", c.good)
			if c.client(owner).Push(c.Context(), c.repo, "bad", c.bad) == nil {
				c.Error("the push of the refused image was taken")
			}
			c.wrapAll(pirate, c.repo, c.bad)
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"of a deleted image", "own; catalog: former", everywhere, func(c *crossing) {
			c.pushBoth()
			c.delete("manifests/" + c.bad.Digest().String())
			c.wrapAll(pirate, c.repo, c.bad)
			c.swept(c.repo)
			c.alive(c.repo)
			c.ownArtifact(pirate, c.repo)
		}},
		{"of an image of another repository", "registries.md 3.4: some registries have one map of blobs for all", everywhere, func(c *crossing) {
			c.pushBoth()
			c.wrapAll(pirate, c.other, c.bad)
			c.swept(c.repo, c.other)
			c.alive(c.repo)
			c.ownArtifact(pirate, c.other)
		}},
		{"of an image of another repository, behind a registry that serves any blob anywhere", "registries.md 3.4 [measured]: ggcr", embeddedOnly, func(c *crossing) {
			ups := second(c.T, func(r gate.Registry) gate.Registry { return commons{r, "t/" + c.slug} })
			c = c.anew(worldOptions{Options: gatetest.Options{Upstreams: ups}})
			c.repo, c.other = "reg.example/"+c.repo, "reg.example/"+c.other
			c.pushBoth()
			c.wrapAll(pirate, c.other, c.bad)
			c.swept(c.repo, c.other)
			c.alive(c.repo)
			c.ownArtifact(pirate, c.other)
		}},
		{"as its config", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			layer := c.bad.Layers[0].Descriptor()
			layer.MediaType = "application/vnd.example.config"
			raw := mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "artifactType": "application/vnd.example", "config": layer, "layers": []image.Descriptor{}})
			c.put(pirate, c.repo, "loot", image.MediaTypeManifest, raw)
			c.swept(c.repo)
			c.ownArtifact(pirate, c.repo)
		}},
		{"as its subject", "distribution-spec, referrers", everywhere, func(c *crossing) {
			c.pushBoth()
			empty := []byte("{}")
			c.must(c.client(pirate).PushBlob(c.Context(), c.repo, digest.FromBytes(empty), empty))
			none := image.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: digest.FromBytes(empty), Size: 2}
			for _, d := range []image.Descriptor{c.bad.Layers[0].Descriptor(), c.bad.Descriptor()} {
				raw := mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "artifactType": "application/vnd.example", "config": none, "layers": []image.Descriptor{none}, "subject": d})
				if got := c.put(pirate, c.repo, digest.FromBytes(raw).String(), image.MediaTypeManifest, raw); got.status != 201 {
					c.Errorf("PUT: HTTP %d %s", got.status, got.body)
				}
				c.served("manifests/"+digest.FromBytes(raw).String(), raw)
				for _, p := range thieves {
					if got := c.ask(p, "GET", "referrers/"+d.Digest.String(), nil); got.status != 200 {
						c.Errorf("control: %s: referrers: HTTP %d %s", p, got.status, got.body)
					}
				}
			}
			c.swept(c.repo)
		}},
		{"pushed before the layers that it names, which then arrive", "own", remoteOnly, func(c *crossing) {
			c.push(c.repo, "good", c.good)
			c.wrapAll(pirate, c.repo, c.bad)
			c.push(c.repo, "bad", c.bad)
			c.swept(c.repo)
			c.alive(c.repo)
		}},
	}}, {"Mounts", []way{
		{"a layer of a refused image, mounted elsewhere, then wrapped", "Harbor L4: mount from a refused repository", everywhere, func(c *crossing) {
			c.pushBoth()
			for _, p := range []person{thieves[1], pirate} {
				for _, from := range []string{c.repo, c.repo + "/", "./" + c.repo, ""} {
					if got := c.mount(p, c.other, from, c.bad.Layers[0].Descriptor().Digest); got.status == http.StatusCreated {
						c.Errorf("%s: mount from %q: HTTP %d", p, from, got.status)
					}
				}
				c.wrapAll(p, c.other, c.bad)
			}
			c.swept(c.repo, c.other)
			if got := c.mount(pirate, c.other, c.repo, c.good.Layers[0].Descriptor().Digest); got.status != http.StatusCreated {
				c.Errorf("control: HTTP %d %s", got.status, got.body)
			}
		}},
		{"a layer of an allowed image, from a repository that the caller may not pull", "distribution-spec, mounting", everywhere, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.good)
			layer := c.good.Layers[0].Descriptor().Digest
			for _, p := range []person{thieves[1], pirate} {
				if got := c.mount(p, c.other, c.private, layer); got.status == http.StatusCreated {
					c.Errorf("%s: mounted", p)
				}
				c.wrapAll(p, c.other, c.good)
			}
			c.shut(addresses(c.other, c.good)...)
			c.shut(addresses(c.private, c.good)...)
			if got := c.mount(owner, c.other, c.private, layer); got.status != http.StatusCreated {
				c.Errorf("control: the owner: HTTP %d %s", got.status, got.body)
			}
		}},
		{"a mount of an allowed layer gives no GET by itself", "distribution-spec, mounting", everywhere, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.good)
			layer := c.good.Layers[0].Descriptor().Digest
			if got := c.mount(owner, c.other, c.private, layer); got.status != http.StatusCreated {
				c.Errorf("control: HTTP %d %s", got.status, got.body)
			}
			c.shut("/v2/" + c.other + "/blobs/" + layer.String())
		}},
		{"a mount under a break-glass grant, which would outlast it", "design 3.4: a grant gives nothing to others", everywhere, func(c *crossing) {
			c.pushBoth()
			_, err := c.Gate.GrantPass(c.Context(), c.under(c.repo), pirate.name, "owner", "the site is down", time.Hour)
			c.must(err)
			if got := c.answer(pirate, "GET", "blobs/"+layerOf(c.bad), nil); got.status != 200 {
				c.Errorf("control: under the grant: HTTP %d", got.status)
			}
			if got := c.mount(pirate, c.other, c.repo, c.bad.Layers[0].Descriptor().Digest); got.status == http.StatusCreated {
				c.Error("mounted")
			}
			c.wrapAll(pirate, c.other, c.bad)
			c.swept(c.other)
		}},
	}}}
}
