package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/registrytest"
)

// timeWays are about what was allowed, or there, a moment ago.
func timeWays() []avenue {
	return []avenue{{"After a change", []way{
		{"after a flip: by tag, by digest, conditionally, and its layers by who has not pulled it", "design 3.3", everywhere, func(c *crossing) {
			c = c.flipping(time.Hour)
			c.servedTo([]person{pirate}, "manifests/flipped", c.bad.Manifest)
			c.flip()
			c.shut("manifests/flipped", "manifests/"+c.bad.Digest().String(), "blobs/"+c.bad.Digest().String())
			c.shutFor([]person{nobody, reader}, addresses(c.repo, c.bad)...)
			// The pull that is under way ends well, for who began it.
			if got := c.answer(pirate, "GET", "blobs/"+layerOf(c.bad), nil); got.status != 200 {
				c.Errorf("control: the pull under way: HTTP %d", got.status)
			}
		}},
		{"a flip between two ranges of a layer, after the grant has ended", "registries.md 3.5: lazy snapshotters", everywhere, func(c *crossing) {
			c = c.flipping(time.Second)
			c.headers = []string{"Range", "bytes=0-99"}
			for _, p := range thieves {
				c.answer(p, "GET", "manifests/flipped", nil)
				if got := c.answer(p, "GET", "blobs/"+layerOf(c.bad), nil); got.status != 206 {
					c.Errorf("control: %s: the first range: HTTP %d %s", p, got.status, got.body)
				}
			}
			c.flip()
			time.Sleep(1200 * time.Millisecond)
			c.headers = []string{"Range", "bytes=100-199", "If-Range", `"` + layerOf(c.bad) + `"`}
			c.shut("blobs/" + layerOf(c.bad))
			c.headers = nil
			c.swept(c.repo)
		}},
		{"after a delete of the image: its blobs, by who pushed and by who pulled them", "own; catalog: former", everywhere, func(c *crossing) {
			c.pushBoth()
			c.push(c.repo, "bad", c.bad)
			c.delete("manifests/" + c.bad.Digest().String())
			c.shutFor(append([]person{owner}, thieves...), addresses(c.repo, c.bad)...)
			c.alive(c.repo)
		}},
		{"after a delete of its tag alone", "own", everywhere, func(c *crossing) {
			c.pushBoth()
			at := c.direct.DeleteTag(c.Context(), c.under(c.repo).Repository, "bad")
			if at == nil {
				c.ask(owner, "DELETE", "manifests/bad", nil)
			}
			c.shut("manifests/bad")
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"after a garbage collection: wraps, mounts and other digests of what was deleted", "own; catalog: aliases purged", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{})
			c.pushBoth()
			layer := c.bad.Layers[0].Blob
			c.must(c.client(owner).PushBlob(c.Context(), c.repo, as512(layer), layer))
			c.delete("manifests/" + c.bad.Digest().String())
			c.collect()
			c.wrapAll(pirate, c.repo, c.bad)
			c.swept(c.repo)
			c.mount(pirate, c.other, c.repo, as512(layer))
			c.wrapAll(pirate, c.other, c.bad)
			c.swept(c.repo, c.other)
			c.alive(c.repo)
		}},
		{"after a garbage collection: the same image pushed again", "own", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{})
			c.pushBoth()
			c.delete("manifests/" + c.bad.Digest().String())
			c.collect()
			c.push(c.repo, "bad", c.bad)
			c.shut("manifests/bad")
			c.swept(c.repo)
			c.collect() // of what the second push has left
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"the right to one's own orphan, after a day", "design 3.4: 24 h", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{})
			c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.bad))
			if got := c.answer(owner, "GET", "blobs/"+layerOf(c.bad), nil); got.status != 200 {
				c.Errorf("control: on the first day: HTTP %d", got.status)
			}
			c.Clock.Move(25 * time.Hour)
			if got := c.answer(owner, "GET", "blobs/"+layerOf(c.bad), nil); got.status != 404 {
				c.Errorf("the uploader on the second day: HTTP %d", got.status)
			}
			c.swept(c.repo)
		}},
		{"a tag that moves from an allowed image to a refused one, behind the proxy", "Harbor 16199: verified yesterday, not today", everywhere, func(c *crossing) {
			c.behind(c.repo, "lts", c.good)
			c.served("manifests/lts", c.good.Manifest)
			c.behind(c.repo, "lts", c.bad)
			c.shut("manifests/lts")
			c.swept(c.repo)
			c.alive(c.repo)
		}},
	}}, {"When something fails", []way{
		{"the registry behind fails: what is kept here of a refused image", "Harbor L3: handleManifest serves the local copy", remoteOnly, func(c *crossing) {
			f := startFront(c)
			c = c.anew(worldOptions{remote: f.url})
			c.pushBoth()
			c.alive(c.repo)
			c.shut("manifests/bad")
			f.mode.Store("down")
			c.shut("manifests/bad", "manifests/good")
			c.swept(c.repo)
			c.served("manifests/"+c.good.Digest().String(), c.good.Manifest)
		}},
		{"a layer that comes cut: neither kept as whole nor judged by its half", "Harbor L19: proxy.go serveBlob", remoteOnly, func(c *crossing) {
			f := startFront(c)
			c = c.anew(worldOptions{remote: f.url})
			c.behind(c.repo, "bad", c.bad)
			c.behind(c.repo, "good", c.good)
			f.mode.Store("cut")
			c.shut("manifests/bad", "manifests/good", "blobs/"+layerOf(c.bad))
			c.swept(c.repo)
			f.mode.Store("")
			c.shut("manifests/bad")
			c.swept(c.repo)
			c.served("manifests/good", c.good.Manifest)
			c.alive(c.repo)
		}},
		{"a registry that sends other bytes than were asked for", "registries.md 3.4: the verdict must be on what is served", remoteOnly, func(c *crossing) {
			f := startFront(c)
			c = c.anew(worldOptions{remote: f.url})
			c.behind(c.repo, "bad", c.bad)
			c.behind(c.repo, "good", c.good)
			f.swap = strings.NewReplacer(c.good.Digest().String(), c.bad.Digest().String(), layerOf(c.good), layerOf(c.bad))
			f.mode.Store("swap")
			c.shut("manifests/"+c.good.Digest().String(), "manifests/bad")
			for _, p := range thieves {
				c.ask(p, "GET", "manifests/good", nil)
				c.ask(p, "GET", "blobs/"+layerOf(c.good), nil)
			}
			c.swept(c.repo)
			f.mode.Store("")
			c.served("manifests/good", c.good.Manifest)
			c.alive(c.repo)
		}},
		{"no vulnerability data, or none that are recent enough", "design 4: gate.max_data_age", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{Options: gatetest.Options{NoData: true}})
			c.pushBoth()
			c.shut("manifests/bad", "manifests/good", "blobs/"+layerOf(c.good))
			c.swept(c.repo)
			gatetest.WriteData(c.T, c.Dir, 1, gatetest.Advisories())
			c.must(c.Gate.Reload(c.Context()))
			c.served("manifests/good", c.good.Manifest)
			c.swept(c.repo)
			c.Clock.Move(8 * 24 * time.Hour)
			c.shut("manifests/bad", "manifests/good")
		}},
	}}}
}

// flipping is a world in which the image of the way is allowed until it flips.
func (c *crossing) flipping(grant time.Duration) *crossing {
	c.Helper()
	c = c.anew(worldOptions{Options: gatetest.Options{Config: configure(func(g *gate.Config) { g.Grant = grant })}})
	c.bad = c.good // allowed by the data of today, refused by those of tomorrow
	c.oracle.hide(c.bad)
	c.push(c.repo, "flipped", c.bad)
	return c
}

func (c *crossing) flip() {
	c.Helper()
	gatetest.WriteData(c.T, c.Dir, 2, worse())
	c.must(c.Gate.Reload(c.Context()))
}

// collect removes garbage, days later. The data are as fresh as they were.
func (c *crossing) collect() {
	c.Helper()
	c.Clock.Move(49 * time.Hour)
	_, err := c.Collector().Collect(c.Context())
	c.must(err)
}

// front stands before a remote registry, and can be told to misbehave.
type front struct {
	url  string
	mode atomic.Value // "", down, cut or swap
	swap *strings.Replacer
}

func startFront(c *crossing) *front {
	c.Helper()
	behind, err := url.Parse(registrytest.StartDistribution(c.T, registrytest.Options{}).URL)
	c.must(err)
	f := &front{}
	f.mode.Store("")
	reverse := httputil.NewSingleHostReverseProxy(behind)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode := f.mode.Load(); {
		case mode == "down":
			w.WriteHeader(http.StatusInternalServerError)
		case mode == "swap":
			r.URL.Path = f.swap.Replace(r.URL.Path)
			reverse.ServeHTTP(w, r)
		case mode == "cut" && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/"):
			half(w, reverse, r)
		default:
			reverse.ServeHTTP(w, r)
		}
	}))
	c.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// half sends a half of an answer, with the headers of the whole.
func half(w http.ResponseWriter, h http.Handler, r *http.Request) {
	whole := httptest.NewRecorder()
	h.ServeHTTP(whole, r)
	body := whole.Body.Bytes()
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(whole.Code)
	// That the rest is missing is what is wanted.
	_, _ = w.Write(body[:len(body)/2])
}

// gateWays are about the settings that let somebody pass.
func gateWays() []avenue {
	return []avenue{{"Quarantine, grants and tags", []way{
		{"an image in quarantine: by its tag, its digests, an index, its blobs", "design 3.2: gate.push quarantine", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{Options: gatetest.Options{Config: configure(func(g *gate.Config) { g.Push = gate.PushQuarantine })}})
			c.push(c.repo, "1", c.good)
			c.push(c.repo, "1", c.bad)
			c.served("manifests/1", c.good.Manifest)
			c.putIndex("multi", c.bad.Descriptor())
			c.shut("manifests/multi")
			c.put(owner, c.repo, c.bad.Digest().String()+"?tag=2&tag=3", image.MediaTypeManifest, c.bad.Manifest)
			c.shut("manifests/2", "manifests/3")
			c.swept(c.repo)
			holds, err := c.Catalog.Holds(c.Context())
			c.must(err)
			for _, h := range holds {
				if _, err := c.Gate.Release(c.Context(), h, "owner"); err != nil {
					c.Error(err)
				}
			}
			c.shut("manifests/1", "manifests/2") // let go by hand: pulls are gated all the same
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"a break-glass grant of somebody else, for another repository, or that has ended", "design 3.4", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{})
			c.pushBoth()
			c.push(c.other, "bad", c.bad)
			pass, err := c.Gate.GrantPass(c.Context(), c.under(c.repo), reader.name, "owner", "the site is down", time.Hour)
			c.must(err)
			layer := "blobs/" + layerOf(c.bad)
			for _, path := range []string{"manifests/bad", layer} {
				if got := c.answer(reader, "GET", path, nil); got.status != 200 || !warned(got, "break-glass") {
					c.Errorf("control: under the grant: GET %s: HTTP %d %s", path, got.status, got.body)
				}
			}
			others := []person{nobody, thieves[1], pirate}
			c.shutFor(others, append(addresses(c.repo, c.bad), "manifests/bad")...)
			c.swept(c.other)
			_, err = c.Catalog.EndPass(c.Context(), pass.ID, c.Clock.Now())
			c.must(err)
			c.swept(c.repo)
			_, err = c.Gate.GrantPass(c.Context(), c.under(c.repo), reader.name, "owner", "the site is down", time.Hour)
			c.must(err)
			c.answer(reader, "GET", "manifests/bad", nil)
			c.Clock.Move(time.Hour + time.Minute)
			c.swept(c.repo)
			c.shut("manifests/bad")
			c.alive(c.repo)
		}},
		{"a tombstone: what a mirror's request is told of a refused tag", "registries.md 3.2 [measured]", remoteOnly, func(c *crossing) {
			c = c.anew(worldOptions{Options: gatetest.Options{Config: configure(func(g *gate.Config) { g.Tombstones = gate.Allow })}})
			c.pushBoth()
			short := strings.TrimPrefix(c.repo, "reg.example/")
			mirror := func(p person, method, path string) reply {
				return c.ask(p, method, "/v2/"+short+"/"+path+"?ns=reg.example", nil)
			}
			for _, p := range thieves {
				stone := mirror(p, "GET", "manifests/bad")
				if stone.status != 200 || !strings.Contains(string(stone.body), "pratique.refused") {
					c.Errorf("%s: the tombstone: HTTP %d %s", p, stone.status, stone.body)
				}
				for _, path := range []string{"manifests/" + stone.header.Get("Docker-Content-Digest"), "blobs/" + stone.header.Get("Docker-Content-Digest"), "manifests/" + c.bad.Digest().String(), "blobs/" + layerOf(c.bad)} {
					if got := mirror(p, "GET", path); got.status < 400 && !keeper(p, path, got) {
						c.Errorf("%s: GET %s: HTTP %d", p, path, got.status)
					}
				}
				if got := mirror(p, "GET", "manifests/good"); got.status != 200 || string(got.body) != string(c.good.Manifest) {
					c.Errorf("control: %s: HTTP %d %s", p, got.status, got.body)
				}
			}
			c.swept(c.repo)
		}},
		{"an immutable tag: moved to a refused image, or standing for one", "design; gate.immutable", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{Options: gatetest.Options{Config: configure(func(g *gate.Config) {
				g.Immutable = []gate.TagRule{{Repository: "*", Tags: []string{"v*"}}}
			})}})
			c.push(c.repo, "v1", c.good)
			c.push(c.repo, c.bad.Digest().String(), c.bad)
			if got := c.put(pirate, c.repo, "v1", image.MediaTypeManifest, c.bad.Manifest); got.status != 403 {
				c.Errorf("the tag was moved: HTTP %d", got.status)
			}
			c.push(c.repo, "v2", c.bad)
			c.shut("manifests/v2")
			c.served("manifests/v1", c.good.Manifest)
			c.swept(c.repo)
		}},
		{"an image pushed to a repository where everything passes, asked for where not", "own; gate.rules", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{Options: gatetest.Options{Config: configure(func(g *gate.Config) {
				g.Rules = []gate.Rule{{Match: gate.Match{Repository: "*/other"}, Settings: gate.Settings{Mode: gate.ModePassive}}}
			})}})
			c.pushBoth()
			c.push(c.other, "bad", c.bad)
			for _, p := range thieves {
				if got := c.answer(p, "GET", "/v2/"+c.other+"/blobs/"+layerOf(c.bad), nil); got.status != 200 {
					c.Errorf("control: %s: where everything passes: HTTP %d", p, got.status)
				}
			}
			c.swept(c.repo)
			c.alive(c.repo)
		}},
	}}}
}
