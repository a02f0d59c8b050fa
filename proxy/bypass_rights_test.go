package proxy_test

import (
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// rightsWays are about other repositories, other registries and other people's
// rights.
func rightsWays() []avenue {
	return []avenue{{"Other repositories and registries", []way{
		{"content of a refused image asked for in another repository", "registries.md 3.4: zot and ggcr answer there", everywhere, func(c *crossing) {
			c.pushBoth()
			c.push(c.other, "good", c.good)
			c.swept(c.other, c.repo+"/none", c.repo)
			c.alive(c.other)
		}},
		{"content of an image of one registry asked for in another", "design 3.1: membership by upstream and repository", remoteOnly, func(c *crossing) {
			c.pushBoth()
			at := strings.TrimPrefix(c.repo, "reg.example/")
			c.push(at, "good", c.good)
			for _, p := range []person{thieves[1], pirate} {
				if got := c.mount(p, at, c.repo, c.good.Layers[0].Descriptor().Digest); got.status == http.StatusCreated {
					c.Errorf("%s: mounted from another registry", p)
				}
			}
			c.wrapAll(pirate, at, c.bad)
			c.swept(at, c.repo)
			c.alive(at)
		}},
		{"ns= of another registry, of an unknown one, of what policies call this one", "design 3.1; containerd mirrors", everywhere, func(c *crossing) {
			c.pushBoth()
			short := strings.TrimPrefix(c.repo, "reg.example/")
			for _, ns := range []string{"reg.example", "docker.io", "localhost:5000", "127.0.0.1:5000", "local", "remote", "evil.example", "reg.example/t", "..", "%00"} {
				for _, name := range []string{c.repo, short} {
					c.shut("/v2/"+name+"/manifests/bad?ns="+ns, "/v2/"+name+"/blobs/"+layerOf(c.bad)+"?ns="+ns, "/v2/"+name+"/manifests/bad?ns=&ns="+ns)
				}
			}
			c.alive(c.repo)
			if c.registry == distant {
				for _, p := range thieves {
					if got := c.answer(p, "GET", "/v2/"+short+"/manifests/good?ns=reg.example", nil); got.status != 200 {
						c.Errorf("control: %s: HTTP %d %s", p, got.status, got.body)
					}
				}
			}
		}},
		{"ns= that turns the name of a public repository into that of a private one", "design 3.1: one repository, one name", remoteOnly, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.good)
			c.push(strings.TrimPrefix(c.repo, "reg.example/"), "1", imagetest.Clean())
			short := strings.TrimPrefix(c.private, "reg.example/")
			for _, p := range thieves {
				for _, ns := range []string{"reg.example", ""} {
					for _, name := range []string{short, c.private} {
						if got := c.ask(p, "GET", "/v2/"+name+"/manifests/1?ns="+ns, nil); got.status < 400 {
							c.Errorf("%s: %s in %q: HTTP %d", p, name, ns, got.status)
						}
					}
				}
			}
			c.alive(c.private, owner)
		}},
		{"a name that begins with the proxy's own host, or another registry's", "design 3.1", everywhere, func(c *crossing) {
			c.pushBoth()
			for _, host := range []string{"localhost:5000", "127.0.0.1:5000", "docker.io", "evil.example", "reg.example/reg.example", "localhost"} {
				c.shut("/v2/"+host+"/"+c.repo+"/manifests/bad", "/v2/"+host+"/"+c.repo+"/blobs/"+layerOf(c.bad))
			}
			c.alive(c.repo)
		}},
		{"a blob that the cache has of another repository", "own; blob cache", remoteOnly, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.good)
			for range 2 { // the second comes from the cache
				c.alive(c.private, owner)
			}
			c.behind(c.other, "loot", c.good)
			for d := range c.good.Blobs() { // the manifest stays, and names what its repository does not have
				c.must(c.direct.DeleteBlob(c.Context(), c.under(c.other).Repository, d))
			}
			c.servedTo([]person{pirate}, "/v2/"+c.other+"/manifests/loot", c.good.Manifest)
			for d := range c.good.Blobs() {
				c.shut("/v2/" + c.other + "/blobs/" + d.String())
			}
			c.shut(addresses(c.private, c.good)...)
		}},
	}}, {"Other people's rights", []way{
		{"a repository that the caller has no right to, at every address", "own", everywhere, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.good)
			c.shut(append(addresses(c.private, c.good), "/v2/"+c.private+"/manifests/1", "/v2/"+c.private+"/tags/list")...)
			c.alive(c.private, owner)
		}},
		{"a token for one repository used on another", "distribution, token scopes", everywhere, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.other, "1", c.good)
			c.push(c.repo, "1", imagetest.Clean())
			for _, p := range thieves {
				token := c.only(p, c.repo)
				for _, path := range addresses(c.other, c.good) {
					if got := c.ask(p, "GET", path, nil, "Authorization", token); got.status < 400 {
						c.Errorf("%s: GET %s: HTTP %d", p, path, got.status)
					}
				}
				if got := c.answer(p, "GET", "manifests/1", nil, "Authorization", token); got.status != 200 {
					c.Errorf("control: %s: HTTP %d", p, got.status)
				}
			}
			c.alive(c.other)
		}},
		{"a token of somebody who has been removed", "own", everywhere, func(c *crossing) {
			c = c.anew(worldOptions{})
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.good)
			before := c.token(owner)
			c.alive(c.private, owner)
			users, err := auth.ReadUsers(c.users)
			c.must(err)
			users.Users = slices.DeleteFunc(users.Users, func(u auth.User) bool { return u.Name == owner.name })
			c.writeUsers(c.T, users)
			c.must(c.auth.Reload())
			for _, path := range addresses(c.private, c.good) {
				if got := c.answer(nobody, "GET", path, nil, "Authorization", before); got.status != http.StatusUnauthorized || c.oracle.smell(got.body) != "" {
					c.Errorf("GET %s: HTTP %d", path, got.status)
				}
			}
		}},
		{"tokens that nobody granted: altered, unsigned, of another algorithm", "RFC 8725, 2.1", everywhere, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.good)
			parts := strings.Split(c.token(owner), ".")
			none := "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
			for _, token := range []string{"Bearer " + none + "." + parts[1] + ".", parts[0] + "." + parts[1] + ".", parts[0] + "." + strings.Split(c.token(nobody), ".")[1] + "." + parts[2], "Bearer x", basic("owner")} {
				for _, path := range addresses(c.private, c.good) {
					if got := c.ask(nobody, "GET", path, nil, "Authorization", token); got.status < 400 {
						c.Errorf("GET %s with %.20s: HTTP %d", path, token, got.status)
					}
				}
			}
			c.alive(c.private, owner)
		}},
		{"the referrers of a repository that the caller may not pull", "distribution-spec, referrers", everywhere, func(c *crossing) {
			c.push(c.repo, "good", c.good)
			subject := c.good.Descriptor()
			c.bad = remade(c.bad, func(doc map[string]any) {
				doc["subject"], doc["annotations"] = subject, map[string]string{"mark": string(c.oracle.marks[0])}
			})
			c.push(c.private, "1", c.bad)
			c.shut("/v2/"+c.private+"/referrers/"+subject.Digest.String(), "/v2/"+c.private+"/referrers/"+as512(c.good.Manifest).String())
			for _, p := range thieves {
				if got := c.ask(p, "GET", "referrers/"+subject.Digest.String(), nil); got.status != 200 || strings.Contains(string(got.body), c.bad.Digest().String()) {
					c.Errorf("%s: referrers in another repository: HTTP %d %s", p, got.status, got.body)
				}
			}
			if got := c.answer(owner, "GET", "/v2/"+c.private+"/referrers/"+subject.Digest.String(), nil); !strings.Contains(string(got.body), c.bad.Digest().String()) {
				c.Errorf("control: HTTP %d %s", got.status, got.body)
			}
		}},
		{"a refused image that is somebody's referrer, with its content inline in the list", "distribution-spec, referrers", everywhere, func(c *crossing) {
			c.push(c.repo, "good", c.good)
			subject := c.good.Descriptor()
			c.bad = remade(c.bad, func(doc map[string]any) {
				doc["subject"], doc["artifactType"] = subject, "application/vnd.example.sbom"
			})
			c.oracle.hide(c.bad)
			c.push(c.repo, c.bad.Digest().String(), c.bad)
			inline := c.bad.Descriptor()
			inline.Data = c.bad.Manifest
			c.put(pirate, c.repo, strings.Replace(subject.Digest.String(), ":", "-", 1), image.MediaTypeIndex, indexOf(inline))
			for _, p := range thieves {
				for _, path := range []string{"referrers/" + subject.Digest.String(), "referrers/" + subject.Digest.String() + "?artifactType=application/vnd.example.sbom"} {
					if got := c.ask(p, "GET", path, nil); got.status != 200 || !strings.Contains(string(got.body), c.bad.Digest().String()) || strings.Contains(string(got.body), `"data"`) {
						c.Errorf("%s: %s: HTTP %d %s", p, path, got.status, got.body)
					}
				}
			}
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"the report and the check of the API, by who has no right to the repository", "own", everywhere, func(c *crossing) {
			c.oracle.hide(c.good)
			c.push(c.private, "1", c.bad)
			for _, p := range thieves {
				for _, path := range []string{
					"/report/" + c.bad.Digest().String(), "/report/" + as512(c.bad.Manifest).String(), "/v1/pratique/check?reference=" + c.private + ":1", "/v1/pratique/check?reference=" + c.private + "@" + c.bad.Digest().String(),
					"/v1/images/" + c.bad.Digest().String() + "/check?tag=" + c.private + ":1", "/images/" + c.bad.Digest().String() + "/check?tag=" + c.private + ":1", "/v1/pratique/audit", "/v1/pratique/quarantine", "/v1/events",
				} {
					got := c.page(p, path)
					told := strings.Contains(string(got.body), c.private) || strings.Contains(string(got.body), c.bad.Digest().String())
					if got.status == 200 && told || c.oracle.smell(got.body) != "" {
						c.Errorf("%s: GET %s: HTTP %d %.300s", p, path, got.status, got.body)
					}
				}
			}
			if got := c.page(owner, "/report/"+c.bad.Digest().String()); got.status != 200 || !strings.Contains(string(got.body), "libcrypto3") || c.oracle.smell(got.body) != "" {
				c.Errorf("control: the report: HTTP %d %.300s", got.status, got.body)
			}
		}},
	}}}
}

// page is what the API answers.
func (c *crossing) page(p person, path string) reply {
	c.Helper()
	account := []string{}
	if p.name != "" {
		account = []string{"Authorization", basic(p.name)}
	}
	return (&door{url: c.api, t: c.T}).call("GET", path, nil, account...)
}

// sessionWays are about what is on its way.
func sessionWays() []avenue {
	return []avenue{{"What is on its way", []way{
		{"an upload in progress, asked for by its digest and its address", "distribution-spec, pushing blobs", everywhere, func(c *crossing) {
			c.push(c.repo, "good", c.good)
			layer := c.bad.Layers[0].Blob
			at := c.ask(owner, "POST", "blobs/uploads/", nil).header.Get("Location")
			c.ask(owner, "PATCH", at, layer)
			c.shut(addresses(c.repo, c.bad)...)
			for _, method := range []string{"GET", "HEAD", "PATCH", "PUT", "DELETE"} {
				for _, p := range thieves {
					for _, path := range []string{at, at + "?digest=" + digest.FromBytes(layer).String(), strings.Replace(at, c.repo, c.other, 1)} {
						if got := c.ask(p, method, path, nil); got.status < 400 {
							c.Errorf("%s: %s of another's upload: HTTP %d", p, method, got.status)
						}
					}
				}
			}
			if got := c.ask(owner, "PUT", at+"?digest="+digest.FromBytes(layer).String(), nil); got.status != 201 {
				c.Errorf("control: the uploader finishes: HTTP %d %s", got.status, got.body)
			}
			c.swept(c.repo)
		}},
		{"an orphan: a blob that somebody else uploaded and no manifest names", "design 3.4", everywhere, func(c *crossing) {
			c.must(c.client(owner).PushBlobs(c.Context(), c.repo, c.bad))
			for _, d := range []digest.Digest{c.bad.Layers[0].Descriptor().Digest, c.bad.ID()} {
				if got := c.answer(owner, "GET", "blobs/"+d.String(), nil); got.status != 200 {
					c.Errorf("control: the uploader: HTTP %d", got.status)
				}
				for _, p := range thieves {
					if got := c.ask(p, "HEAD", "blobs/"+d.String(), nil); got.status < 400 {
						c.Errorf("%s: HEAD: HTTP %d", p, got.status)
					}
				}
			}
			c.swept(c.repo, c.other)
		}},
		{"the uploader's own orphan, once a refused image names it", "design 3.4", everywhere, func(c *crossing) {
			c.pushBoth()
			layer := c.bad.Layers[0]
			for _, d := range []digest.Digest{digest.FromBytes(layer.Blob), as512(layer.Blob)} {
				if got := c.answer(owner, "GET", "blobs/"+d.String(), nil); got.status < 400 {
					c.Errorf("the uploader: GET: HTTP %d", got.status)
				}
			}
			// Uploading it again changes nothing: not for the uploader, nor for others.
			c.must(c.client(pirate).PushBlob(c.Context(), c.repo, digest.FromBytes(layer.Blob), layer.Blob))
			c.swept(c.repo)
			c.alive(c.repo)
		}},
		{"while the analysis runs: pulls wait, then are told to come back", "Harbor 13242; PR 23130", embeddedOnly, func(c *crossing) {
			ups, release := hesitant(c.T)
			c = c.anew(worldOptions{Options: gatetest.Options{Upstreams: ups, Config: impatient()}})
			c.repo = "reg.example/" + c.repo
			target := c.under(c.repo)
			putBehind(c.T, target.Upstream.Registry, target.Repository, "bad", c.bad)
			putBehind(c.T, target.Upstream.Registry, target.Repository, "good", c.good)
			for _, p := range thieves {
				for _, path := range []string{"manifests/bad", "manifests/" + c.bad.Digest().String()} {
					if got := c.ask(p, "GET", path, nil); got.status != http.StatusTooManyRequests {
						c.Errorf("%s: HTTP %d %s", p, got.status, got.body)
					}
				}
			}
			c.swept(c.repo)
			release()
			c.eventually("manifests/good", 200)
			c.eventually("manifests/bad", 403)
			c.swept(c.repo)
			c.alive(c.repo)
		}},
	}}}
}
