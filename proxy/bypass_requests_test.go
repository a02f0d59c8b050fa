package proxy_test

import (
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// requestWays are about how something is asked for.
func requestWays() []avenue {
	return []avenue{{"How it is asked for", []way{
		{"the first pull, by tag, of what nobody has asked for before", "Harbor L1: goharbor/harbor 13242, 16218", everywhere, func(c *crossing) {
			c.behind(c.repo, "bad", c.bad)
			c.behind(c.repo, "good", c.good)
			c.shut("manifests/bad")
			c.served("manifests/good", c.good.Manifest)
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"the first pull, by digest, and its layers asked for before and after", "Harbor L1, L4", everywhere, func(c *crossing) {
			c.behind(c.repo, "bad", c.bad)
			c.behind(c.repo, "good", c.good)
			for _, address := range addresses(c.repo, c.bad) {
				c.shut("blobs/"+layerOf(c.bad), address)
			}
			c.alive(c.repo)
		}},
		{"an index of refused images, by tag and by digest, cached or not", "Harbor L2: controller/proxy UseLocalManifest", everywhere, func(c *crossing) {
			c.pushBoth()
			bad := c.putIndex("bad-index", c.bad.Descriptor())
			good := c.putIndex("good-index", c.good.Descriptor())
			for range 2 {
				c.shut("manifests/bad-index", "manifests/"+digest.FromBytes(bad).String(), "blobs/"+digest.FromBytes(bad).String())
				c.served("manifests/good-index", good)
			}
			c.swept(c.repo)
		}},
		{"the layers and the config of a refused image, by their digests", "Harbor L4: server/registry/route.go", everywhere, func(c *crossing) {
			c.pushBoth()
			c.shut("blobs/"+layerOf(c.bad), "blobs/"+c.bad.ID().String())
			c.alive(c.repo)
		}},
		{"HEAD first: a puller is told no, a pusher that it is there, and neither gets a byte", "Harbor L5, L6: 13825, 15885, 23638", everywhere, func(c *crossing) {
			c.pushBoth()
			for _, path := range []string{"manifests/bad", "manifests/" + c.bad.Digest().String(), "blobs/" + layerOf(c.bad), "blobs/" + c.bad.ID().String()} {
				for _, p := range thieves {
					got := c.ask(p, "HEAD", path, nil)
					shown := p.push && strings.HasPrefix(path, "manifests/") // of a blob, whoever has it has uploaded it
					if (got.status < 400) != shown || len(got.body) > 0 {
						c.Errorf("%s: HEAD %s: HTTP %d, %d bytes", p, path, got.status, len(got.body))
					}
				}
				c.shut(path)
			}
			for _, p := range thieves {
				if got := c.answer(p, "HEAD", "manifests/good", nil); got.status != 200 {
					c.Errorf("control: %s: HEAD good: HTTP %d", p, got.status)
				}
			}
		}},
		{"the document of a refused manifest, which a user who may push is shown by its digest, to sign it", "Harbor L7: 22650, 22908", everywhere, func(c *crossing) {
			c.pushBoth()
			path := "manifests/" + c.bad.Digest().String()
			if got := c.ask(pirate, "GET", path, nil); !keeper(pirate, path, got) {
				c.Errorf("control: %s: HTTP %d %s", pirate, got.status, got.body)
			}
			c.shutFor([]person{nobody, thieves[1], reader}, path)
			c.shut("manifests/bad", "blobs/"+c.bad.Digest().String(), "blobs/"+layerOf(c.bad), "blobs/"+c.bad.ID().String())
			config, layer := c.bad.Config, c.bad.Layers[0].Blob
			c.bad = remade(c.bad, func(doc map[string]any) {
				doc["config"].(map[string]any)["data"], doc["layers"].([]any)[0].(map[string]any)["data"] = config, layer
			})
			c.oracle.hide(c.bad)
			c.push(c.repo, "inline", c.bad)
			c.shut("manifests/inline", "manifests/"+c.bad.Digest().String())
			c.swept(c.repo)
		}},
		{"a User-Agent that says cosign or notation, with the right to push", "Harbor L17: middleware/util/util.go", everywhere, func(c *crossing) {
			c.pushBoth()
			for _, agent := range []string{"cosign/v2.4.1", "notation/1.3.0", "Harbor-Scanner-Adapter"} {
				c.headers = []string{"User-Agent", agent}
				c.shut("manifests/bad", "blobs/"+layerOf(c.bad))
			}
			c.alive(c.repo)
		}},
		{"a manifest through the blob route, a blob through the manifest route", "Harbor L18; registries.md 3.4", everywhere, func(c *crossing) {
			c.pushBoth()
			c.behind(c.other, "bad", c.bad)
			for _, repo := range []string{c.repo, c.other} {
				c.shut("/v2/"+repo+"/blobs/"+c.bad.Digest().String(), "/v2/"+repo+"/manifests/"+layerOf(c.bad), "/v2/"+repo+"/manifests/"+c.bad.ID().String())
			}
			c.served("blobs/"+c.good.Digest().String(), c.good.Manifest)
		}},
		{"encoded slashes and dots, dot segments, empty segments, other cases", "registries.md 3.4 [measured]", everywhere, func(c *crossing) {
			c.pushBoth()
			plain := "/v2/" + c.repo + "/manifests/bad"
			slash := strings.LastIndex(c.repo, "/")
			parent, last := c.repo[:slash], c.repo[slash+1:]
			c.shut(
				"/v2/"+parent+"%2F"+last+"/manifests/bad", "/v2/"+parent+"%2f"+last+"/manifests/bad", "/v2/"+parent+"%252F"+last+"/manifests/bad", plain[:len(plain)-1]+"%64",
				"/v2/"+parent+"/x/../"+last+"/manifests/bad", "/v2/"+parent+"/%2e%2e/"+parent+"/"+last+"/manifests/bad", "/v2/./"+c.repo+"/manifests/bad",
				"/v2//"+c.repo+"/manifests/bad", "/v2/"+c.repo+"//manifests/bad", plain+"/", plain+"%00", plain+"%20", "/v2/"+parent+`%5C`+last+"/manifests/bad",
				"/V2/"+c.repo+"/manifests/bad", "/v2/"+strings.ToUpper(c.repo)+"/manifests/bad", "/v2/"+c.repo+"/manifests/BAD/../bad",
				"/v2/"+c.repo+"/manifests/good/../bad", "/v2/"+c.repo+"/blobs/"+layerOf(c.good)+"/../"+layerOf(c.bad), "/v2/127.0.0.1:5000/"+c.repo+"/manifests/bad", plain+";x=1",
				"/v2/"+c.repo+"/manifests/"+strings.ToUpper(c.bad.Digest().String()), "/v2/"+c.repo+"/manifests/sha256:"+strings.ToUpper(c.bad.Digest().Encoded()),
			)
			c.alive(c.repo)
		}},
		{"conditions: If-None-Match, If-Match, If-Modified-Since, If-Range", "registries.md 3.4: distribution answers 304 before any look", everywhere, func(c *crossing) {
			c.pushBoth()
			for path, tag := range map[string]string{"manifests/bad": c.bad.Digest().String(), "blobs/" + layerOf(c.bad): layerOf(c.bad)} {
				for _, headers := range [][]string{{"If-None-Match", `"` + tag + `"`}, {"If-None-Match", "*"}, {"If-None-Match", `W/"` + tag + `"`}, {"If-Match", tag},
					{"If-Modified-Since", "Sun, 22 Nov 2026 00:00:00 GMT"}, {"Range", "bytes=0-", "If-Range", `"` + tag + `"`}} {
					c.headers = headers
					c.shut(path)
				}
			}
			c.headers = []string{"If-None-Match", `"` + layerOf(c.good) + `"`}
			if got := c.answer(nobody, "GET", "blobs/"+layerOf(c.good), nil); got.status != http.StatusNotModified {
				c.Errorf("control: HTTP %d", got.status)
			}
		}},
		{"Range: the first bytes, the last, one, several, beyond the end", "registries.md 3.5, lazy snapshotters", everywhere, func(c *crossing) {
			c.pushBoth()
			for _, span := range []string{"bytes=0-0", "bytes=0-9", "bytes=1024-", "bytes=-1", "bytes=-512", "bytes=0-0,512-600", "bytes=0-999999999", "bytes=999999999-", "items=0-1", "BYTES=0-9"} {
				c.headers = []string{"Range", span}
				c.shut("blobs/"+layerOf(c.bad), "blobs/"+c.bad.ID().String(), "manifests/bad", "blobs/"+c.bad.Digest().String())
			}
			c.headers = []string{"Range", "bytes=1-9"}
			for _, p := range thieves {
				if got := c.answer(p, "GET", "blobs/"+layerOf(c.good), nil); got.status != 206 || string(got.body) != string(c.good.Layers[0].Blob[1:10]) {
					c.Errorf("control: %s: HTTP %d %q", p, got.status, got.body)
				}
			}
		}},
		{"Accept: nothing, anything, schema 1, another type than it is", "registries.md 3.4", everywhere, func(c *crossing) {
			c.pushBoth()
			c.putIndex("bad-index", c.bad.Descriptor())
			for _, accept := range []string{"", "*/*", "application/vnd.docker.distribution.manifest.v1+prettyjws", image.MediaTypeDockerManifest, image.MediaTypeIndex, "text/html"} {
				c.headers = []string{"Accept", accept}
				c.shut("manifests/bad", "manifests/bad-index")
				c.served("manifests/good", c.good.Manifest)
			}
		}},
		{"other methods, and headers that name another method, path or host", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			for _, method := range []string{"POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "QUERY"} {
				for _, p := range thieves {
					if got := c.ask(p, method, "blobs/"+layerOf(c.bad), nil); got.status < 400 {
						c.Errorf("%s: %s: HTTP %d", p, method, got.status)
					}
				}
			}
			for _, headers := range [][]string{{"X-HTTP-Method-Override", "GET"}, {"X-Original-URL", "/v2/" + c.repo + "/manifests/good"}, {"X-Rewrite-URL", "/v2/"}, {"X-Forwarded-Prefix", "/v2"}, {"Host", "docker.io"}} {
				c.headers = headers
				c.shut("manifests/bad", "blobs/"+layerOf(c.bad))
			}
			c.headers = nil
			c.alive(c.repo)
		}},
		{"the catalog of repositories, and lists of tags", "distribution-spec, content discovery", everywhere, func(c *crossing) {
			c.pushBoth()
			c.push(c.private, "1", c.bad)
			c.shut("/v2/_catalog", "/v2/_catalog?n=1000", "/v2/"+c.private+"/tags/list")
			for _, p := range thieves {
				if got := c.ask(p, "GET", "tags/list", nil); got.status != 200 || !strings.Contains(string(got.body), `"good"`) {
					c.Errorf("control: %s: HTTP %d %s", p, got.status, got.body)
				}
			}
		}},
	}}}
}
