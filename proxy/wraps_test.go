package proxy_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// The tests of this file are about who has shown what: a manifest opens the blobs
// that it names only if its pusher had them. Theirs are accidents of timing; the
// plain ways stand in bypass_wraps_test.go.

// behindEach runs a test with the embedded registry, and with a remote one.
func behindEach(t *testing.T, config *gate.Config, run func(*crossing)) {
	t.Helper()
	for _, registry := range []string{embedded, distant} {
		t.Run(registry, func(t *testing.T) {
			o := worldOptions{registry: registry, Options: gatetest.Options{Config: config}}
			run(openWorld(t, o).crossing(t, "wraps"))
		})
	}
}

// cover is an image that passes: over a layer, one that hides what is wrong with
// it. Each note makes another manifest.
func cover(under imagetest.Layer, note string) imagetest.Image {
	im := imagetest.Build(under, imagetest.Plain(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...))
	return remade(im, func(doc map[string]any) { doc["annotations"] = map[string]string{"note": note} })
}

// putCover pushes what somebody has of a cover, who has not the layer under it.
func (c *crossing) putCover(p person, tag string, im imagetest.Image) reply {
	c.Helper()
	top := im.Layers[1].Blob
	c.must(c.client(p).PushBlob(c.Context(), c.repo, im.ID(), im.Config))
	c.must(c.client(p).PushBlob(c.Context(), c.repo, digest.FromBytes(top), top))
	return c.put(p, c.repo, tag, image.MediaTypeManifest, im.Manifest)
}

// notTaken is the answer to a manifest round content that its pusher has not shown.
func (c *crossing) notTaken(got reply) {
	c.Helper()
	if got.status != http.StatusNotFound || got.code() != "MANIFEST_BLOB_UNKNOWN" {
		c.Errorf("PUT: HTTP %d %s", got.status, got.body)
	}
}

// TestWrapThenSecondPush: who pushes again what was refused does not open a wrap
// that somebody made in between.
func TestWrapThenSecondPush(t *testing.T) {
	behindEach(t, configure(func(g *gate.Config) { g.Push = gate.PushEnforce }), func(c *crossing) {
		for range 2 {
			if c.client(owner).Push(c.Context(), c.repo, "bad", c.bad) == nil {
				c.Error("the push of the refused image was taken")
			}
			c.wrapAll(pirate, c.repo, c.bad)
			c.swept(c.repo)
		}
		if got := c.answer(owner, "HEAD", "blobs/"+layerOf(c.bad), nil); got.status != 200 {
			c.Errorf("the pusher's HEAD of its own layer: HTTP %d", got.status)
		}
		c.ownArtifact(pirate, c.repo)
	})
}

// TestWrapBetweenLayersAndManifest: a wrap is not opened by layers that come again,
// before the manifest that belongs to them has.
func TestWrapBetweenLayersAndManifest(t *testing.T) {
	behindEach(t, nil, func(c *crossing) {
		c.push(c.repo, "bad", c.bad)
		c.delete("manifests/" + c.bad.Digest().String())
		c.wrapAll(pirate, c.repo, c.bad)
		c.swept(c.repo)
		c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.bad))
		c.swept(c.repo)
		c.ownArtifact(pirate, c.repo)
	})
}

// TestWrapThatIsAnImage: an image that passes opens the layer of a refused one no
// more than an artifact does.
func TestWrapThatIsAnImage(t *testing.T) {
	behindEach(t, nil, func(c *crossing) {
		c.pushBoth()
		c.notTaken(c.putCover(pirate, "loot", cover(c.bad.Layers[0], "")))
		c.swept(c.repo)
		c.alive(c.repo)
		im := cover(c.good.Layers[0], "")
		if got := c.putCover(pirate, "own", im); got.status != 201 {
			c.Errorf("control: HTTP %d %s", got.status, got.body)
		}
		c.served("manifests/own", im.Manifest)
	})
}

// TestWrapThatIsAnImageOfLayersUnderWay: the same round a layer that no manifest
// names yet, by somebody who guesses first what it unpacks to.
func TestWrapThatIsAnImageOfLayersUnderWay(t *testing.T) {
	behindEach(t, nil, func(c *crossing) {
		c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.bad))
		guess := c.bad.Layers[0]
		guess.DiffID = digest.FromString("guess")
		for _, under := range []imagetest.Layer{guess, c.bad.Layers[0]} {
			got := c.putCover(pirate, "loot", cover(under, ""))
			c.notTaken(got)
			if warning := got.header.Get("Warning") + string(got.body); strings.Contains(warning, c.bad.Layers[0].DiffID.Encoded()[:12]) {
				c.Errorf("tells what the layer unpacks to: %s", warning)
			}
		}
		c.swept(c.repo)
		c.push(c.repo, "good", c.good)
		c.alive(c.repo)
	})
}

// TestWrapThenCatalogLost: a wrap is not learnt as an artifact like any other when
// the catalog that knew of it is gone, and it is asked for before the image is.
func TestWrapThenCatalogLost(t *testing.T) {
	for _, way := range []struct {
		name string
		make func(c *crossing) []byte
	}{
		{"an artifact", func(c *crossing) []byte {
			return wrap(c.bad.Layers[0].Descriptor().Digest, len(c.bad.Layers[0].Blob))
		}},
		{"an image whose layer may be elsewhere", func(c *crossing) []byte {
			return remade(cover(c.bad.Layers[0], ""), func(doc map[string]any) {
				doc["layers"].([]any)[0].(map[string]any)["urls"] = []string{"https://example.org/layer"}
			}).Manifest
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			behindEach(t, nil, func(c *crossing) {
				v := c.voyage()
				loot := way.make(c)
				v.sail("before", func(c *crossing) {
					c.pushBoth()
					c.wrapAll(pirate, c.repo, c.bad)
					c.putCover(pirate, "own", cover(c.good.Layers[0], "")) // for its config and its layer on top
					c.notTaken(c.put(pirate, c.repo, "loot", image.MediaTypeManifest, loot))
					c.swept(c.repo)
				})
				v.lose("catalog.db", "catalog.db-wal", "catalog.db-shm")
				v.sail("after", func(c *crossing) {
					c.ask(reader, "GET", "manifests/"+digest.FromBytes(loot).String(), nil)
					c.shut("blobs/" + layerOf(c.bad))
					c.swept(c.repo)
				})
			})
		})
	}
}

// TestArtifactAfterAWrap: a wrap round what somebody has uploaded, and not yet
// named, closes nothing to those who pull it later.
func TestArtifactAfterAWrap(t *testing.T) {
	behindEach(t, nil, func(c *crossing) {
		content := []byte("a chart of " + c.slug)
		d := digest.FromBytes(content)
		c.must(c.client(owner).PushBlob(c.Context(), c.repo, d, content))
		if c.wrapAs(pirate, c.repo, d, len(content)) {
			c.Error("the wrap was taken")
		}
		empty := []byte("{}")
		c.must(c.client(owner).PushBlob(c.Context(), c.repo, digest.FromBytes(empty), empty))
		chart := bytes.Replace(wrap(d, len(content)), []byte("example.data"), []byte("example.chart"), 1)
		if got := c.put(owner, c.repo, "chart", image.MediaTypeManifest, chart); got.status != 201 || got.header.Get("Warning") != "" {
			c.Errorf("HTTP %d %q %s", got.status, got.header.Get("Warning"), got.body)
		}
		c.served("manifests/chart", chart)
		c.served("blobs/"+d.String(), content)
	})
}

// TestHeadAgreesWithPut: a client that is told that a layer is here does not upload
// it, so a manifest that names it is taken. One that is told otherwise uploads
// it, and that is enough.
func TestHeadAgreesWithPut(t *testing.T) {
	const older = 66 // manifests, more than a push looks at for one blob
	behindEach(t, nil, func(c *crossing) {
		c.push(c.repo, "base", c.bad)
		fixed, mine := cover(c.bad.Layers[0], "0"), cover(c.bad.Layers[0], "1")
		if got := c.putCover(owner, "fixed", fixed); got.status != 201 {
			c.Fatalf("HTTP %d %s", got.status, got.body)
		}
		c.served("manifests/fixed", fixed.Manifest)
		for i, n := 0, 0; n < older; i++ { // refused images on the same base, that are looked at first
			im := remade(c.bad, func(doc map[string]any) { doc["annotations"] = map[string]string{"n": fmt.Sprint(i)} })
			if im.Digest() > fixed.Digest() {
				continue
			}
			n++
			c.must(c.client(owner).PutManifest(c.Context(), c.repo, im.Digest().String(), image.MediaTypeManifest, im.Manifest))
		}
		c.agrees("mine", mine.Manifest, c.putCover(pirate, "mine", mine))
		c.served("manifests/mine", mine.Manifest)
	})
}

// agrees looks at a push of a manifest round the layer of the way's image, by
// somebody who has not uploaded that layer: HEAD is to say the same. Then it is
// uploaded.
func (c *crossing) agrees(tag string, raw []byte, put reply) {
	c.Helper()
	layer := c.bad.Layers[0]
	head := c.answer(pirate, "HEAD", "blobs/"+layerOf(c.bad), nil).status
	if head != 200 && head != 404 || (head == 200) != (put.status == 201) {
		c.Errorf("HEAD of the layer: HTTP %d, PUT of the manifest: HTTP %d %s", head, put.status, put.body)
	}
	for d, blob := range map[digest.Digest][]byte{digest.FromBytes(layer.Blob): layer.Blob, c.bad.ID(): c.bad.Config} {
		c.must(c.client(pirate).PushBlob(c.Context(), c.repo, d, blob))
	}
	if got := c.put(pirate, c.repo, tag, image.MediaTypeManifest, raw); got.status != 201 {
		c.Errorf("with the layer uploaded: HTTP %d %s", got.status, got.body)
	}
}

// TestHeadAgreesWithPutUnderAGrant: the grant of a pull that has begun, when the image
// flips, does not make it otherwise.
func TestHeadAgreesWithPutUnderAGrant(t *testing.T) {
	behindEach(t, nil, func(c *crossing) {
		c = c.flipping(15 * time.Minute)
		if got := c.answer(pirate, "GET", "manifests/flipped", nil); got.status != 200 {
			c.Fatalf("HTTP %d %s", got.status, got.body)
		}
		c.flip()
		if got := c.answer(pirate, "GET", "blobs/"+layerOf(c.bad), nil); got.status != 200 {
			c.Errorf("control: under the grant: HTTP %d", got.status)
		}
		mine := remade(c.bad, func(doc map[string]any) { doc["annotations"] = map[string]string{"note": "mine"} })
		c.agrees("mine", mine.Manifest, c.put(pirate, c.repo, "mine", image.MediaTypeManifest, mine.Manifest))
	})
}

// TestInlineArtifactDenied: where artifacts are not served, they are not in an index either.
func TestInlineArtifactDenied(t *testing.T) {
	for _, tt := range []struct {
		artifacts string
		want      int
	}{{gate.Allow, 200}, {gate.Deny, 403}} {
		t.Run(tt.artifacts, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Artifacts = tt.artifacts })})
			content, empty := []byte("contraband"), []byte("{}")
			layer := image.Descriptor{MediaType: "application/vnd.example", Digest: digest.FromBytes(content), Size: int64(len(content)), Data: content}
			none := image.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: digest.FromBytes(empty), Size: 2, Data: empty}
			raw := mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "artifactType": "application/vnd.example", "config": none, "layers": []image.Descriptor{layer}})
			child := image.Descriptor{MediaType: image.MediaTypeManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw)), Data: raw}
			index := mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": []image.Descriptor{child}})
			if err := d.pusher("app").PutManifest(t.Context(), "app", "index", image.MediaTypeIndex, index); err != nil {
				t.Fatal(err)
			}
			d.wantStatus("/v2/app/manifests/index", tt.want)
		})
	}
}
