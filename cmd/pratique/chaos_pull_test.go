package main_test

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"
)

// pullTag reads a tag of the worker's own: it knows what may be there.
func (w *worker) pullTag() {
	s, tag := w.shelves()[w.random.IntN(3)], w.tag()
	o := w.begin("pull tag", join(s.name, tag), "")
	r := w.door.do(ask{method: http.MethodGet, path: "/v2/" + s.name + "/manifests/" + tag, most: w.leaving(400)})
	w.c.inspectTag(s, tag, r)
	o.digest = served(r)
	w.end(o, r)
}

// leaving is after how many bytes the client goes away, if it does.
func (w *worker) leaving(size int) int64 {
	if w.random.IntN(5) > 0 {
		return 0
	}
	return 1 + w.random.Int64N(int64(size))
}

// pullManifest reads a manifest of anybody by digest.
func (w *worker) pullManifest() {
	p := w.c.published(w.random)
	if p == nil {
		return
	}
	d := p.specimen.digest()
	o := w.begin("pull manifest", p.repo, d)
	// A manifest is a manifest on whatever route, once it has been seen.
	route := []string{"manifests", "manifests", "manifests", "blobs"}[w.random.IntN(4)]
	r := w.door.do(ask{method: http.MethodGet, path: "/v2/" + p.repo + "/" + route + "/" + d.String(), most: w.leaving(len(p.specimen.raw))})
	w.c.inspect(p.repo, d, 0, r)
	if s := w.mine(p.repo); s != nil && route == "manifests" && r.status == http.StatusNotFound && s.holding(d).state == present {
		w.c.history.violate(p.repo, d, "acknowledged, and the answer is 404")
	}
	w.end(o, r)
}

func (w *worker) mine(repo string) *shelf {
	for _, s := range w.shelves() {
		if s.name == repo {
			return s
		}
	}
	return nil
}

// pullBlob reads a blob of anybody: all of it, a range, or its beginning.
func (w *worker) pullBlob() {
	p := w.c.published(w.random)
	if p == nil || len(p.specimen.blobs) == 0 {
		return
	}
	d := sortedKeys(p.specimen.blobs)[w.random.IntN(len(p.specimen.blobs))]
	blob := p.specimen.blobs[d]
	a := ask{method: http.MethodGet, path: "/v2/" + p.repo + "/blobs/" + d.String()}
	what, from := "pull blob", 0
	switch w.random.IntN(4) {
	case 0:
		from = w.random.IntN(len(blob))
		what, a.header = "pull range", http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, from+w.random.IntN(len(blob)))}}
	case 1:
		what, a.most = "pull cut", 1+w.random.Int64N(int64(len(blob)))
	}
	o := w.begin(what, p.repo, d)
	r := w.door.do(a)
	w.c.inspect(p.repo, d, from, r)
	w.end(o, r)
}

// head asks whether a manifest is there, as somebody who may not push.
func (w *worker) head() {
	p := w.c.published(w.random)
	if p == nil {
		return
	}
	d := p.specimen.digest()
	o := w.begin("head", p.repo, d)
	r := w.door.do(ask{method: http.MethodHead, path: "/v2/" + p.repo + "/manifests/" + d.String()})
	if r.status == http.StatusOK && w.c.world.isSecret(d) {
		w.c.history.violate(p.repo, d, "HEAD of a refused image is answered 200 to one who only pulls")
	}
	w.end(o, r)
}

// uploadStatus asks the status of an upload that is not there, which must not be taken
// for one that is.
func (w *worker) uploadStatus() {
	s := w.own()
	o := w.begin("upload status", s.name, "")
	auth, err := w.door.token(s.name, "pull,push")
	if err != nil {
		w.end(o, reply{err: err})
		return
	}
	r := w.door.do(ask{method: http.MethodGet, path: "/v2/" + s.name + "/blobs/uploads/NOTHERE", header: auth})
	if r.status >= 200 && r.status < 300 {
		w.c.history.violate(s.name, "", "an upload that never was has a status: %s", r.note())
	}
	w.end(o, r)
}

// served is the digest that an answer says it is of.
func served(r reply) digest.Digest {
	if r.status/100 != 2 {
		return ""
	}
	return digest.Digest(r.header.Get("Docker-Content-Digest"))
}

// inspectTag holds the answer for a tag against what its one writer knows.
func (c *chaos) inspectTag(s *shelf, tag string, r reply) {
	name := join(s.name, tag)
	values := s.slot(tag).values
	switch {
	case r.status == http.StatusOK:
		d := served(r)
		c.inspect(name, d, 0, r)
		if !values[d] {
			c.history.violate(name, d, "the tag stands for %s; it may stand for %v", short(d), sortedKeys(values))
		}
	case r.status == http.StatusNotFound && !values[""]:
		c.history.violate(name, "", "acknowledged, and the answer is 404: it may stand for %v", sortedKeys(values))
	}
}

// inspect looks at the bytes of any answer: none that is secret, and none that
// is not what was asked for. A client that was cut off has the beginning.
func (c *chaos) inspect(name string, d digest.Digest, from int, r reply) {
	if r.status != http.StatusOK && r.status != http.StatusPartialContent || len(r.body) == 0 {
		return
	}
	if c.world.isSecret(d) || c.world.isSecret(digest.FromBytes(r.body)) {
		c.history.violate(name, d, "LEAK: %d bytes of a refused image were served", len(r.body))
	}
	if r.status == http.StatusOK {
		from = 0
	}
	content := c.world.bytesOf(d)
	if from > len(content) || !bytes.HasPrefix(content[from:], r.body) {
		c.history.violate(name, d, "%d wrong bytes from %d were served", len(r.body), from)
	}
	if r.status == http.StatusOK && r.whole && len(r.body) != len(content) {
		c.history.violate(name, d, "%d of %d bytes were served as the whole", len(r.body), len(content))
	}
}
