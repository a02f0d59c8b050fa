package main_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/match"
)

const (
	healing = 40 * time.Second // in which everything is well again after the last fault
	hasty   = 2 * time.Second  // the same, once maxVain waits were in vain
	maxVain = 3
	sampled = 40 // images whose every blob is read at a quiet point; all at the last one
)

// quiet heals everything, waits until nothing is under way, and holds all that
// can be read against what must be there.
func (c *chaos) quiet(last bool) {
	c.pause.Lock()
	defer c.pause.Unlock()
	for _, l := range c.links() {
		l.Heal()
		l.Cut()
	}
	c.server.await(func() error { return c.server.get("/readyz", nil) })
	time.Sleep(calm)
	c.freshData()
	r := rand.New(rand.NewPCG(c.seed, uint64(c.history.now())))
	d := newDoor(c.front.Addr())
	defer d.client.CloseIdleConnections()
	for _, w := range c.workers {
		for _, s := range w.shelves() {
			auth, err := d.token(s.name, "pull,push")
			fatal(c.t, err)
			for _, tag := range sortedKeys(s.tags) {
				c.checkTag(d, s, tag, auth)
			}
			for _, x := range s.sorted(func(*specimen, *holding) bool { return true }) {
				deep := last || r.IntN(max(1, len(c.public)/sampled)) == 0
				c.checkManifest(d, s, x, auth, deep)
				if last {
					c.checkReport(s, x)
				}
			}
		}
	}
	c.checkUploads(d)
}

// freshData syncs what is in the feed's folder and waits until the program has
// taken it into use.
func (c *chaos) freshData() {
	if out, err := c.sync().CombinedOutput(); err != nil {
		c.history.violate("feeds sync", "", "fails although nothing is broken: %v\n%s", err, out)
	}
	newest := c.newestIndex()
	var status struct {
		Data struct{ Sequence uint64 }
	}
	c.eventually("feeds", "", func() error {
		if err := c.server.get("/v1/pratique/status", &status); err != nil {
			return err
		}
		if status.Data.Sequence != newest {
			return fmt.Errorf("data %d are in use, %d are there", status.Data.Sequence, newest)
		}
		return nil
	})
}

// eventually gives a healed system time. It is a violation when that runs out.
func (c *chaos) eventually(name string, d digest.Digest, f func() error) bool {
	var err error
	patience := healing
	if c.vain >= maxVain {
		patience = hasty
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return true
		}
	}
	c.vain++
	c.history.violate(name, d, "%v after nothing was broken any more: %v", patience, err)
	return false
}

// find asks, as one who may push and so is told of refused images too, what is
// there; "" when nothing is.
func (c *chaos) find(d *door, s *shelf, reference string, auth http.Header) (found digest.Digest, known bool) {
	known = c.eventually(join(s.name, reference), "", func() error {
		r := d.do(ask{method: http.MethodHead, path: "/v2/" + s.name + "/manifests/" + reference, header: auth})
		switch r.status {
		case http.StatusOK:
			found = served(r)
			return nil
		case http.StatusNotFound:
			found = ""
			return nil
		}
		return fmt.Errorf("HEAD: %s", r.note())
	})
	return found, known
}

func (c *chaos) checkTag(d *door, s *shelf, tag string, auth http.Header) {
	found, known := c.find(d, s, tag, auth)
	if !known {
		return
	}
	if values := s.slot(tag).values; !values[found] {
		c.history.violate(join(s.name, tag), found, "the tag stands for %q; it may stand for %v", found, sortedKeys(values))
	}
	s.settleTag(tag, found)
}

// checkManifest: what was acknowledged is there, what was deleted is not, what
// policy stops is refused, and what it lets pass reads back bit for bit.
func (c *chaos) checkManifest(d *door, s *shelf, x *specimen, auth http.Header, deep bool) {
	id := x.digest()
	found, known := c.find(d, s, id.String(), auth)
	if !known {
		return
	}
	switch state := s.holding(id).state; {
	case found == "" && state == present:
		c.history.violate(s.name, id, "LOST: acknowledged, and not there")
	case found != "" && state == absent:
		c.history.violate(s.name, id, "deleted, and there again")
	}
	s.settleManifest(id, found != "")
	if found == "" {
		return
	}
	status := http.StatusOK
	if c.stops(x.kind) {
		status = http.StatusForbidden
	}
	if !c.checkAnswer(d, s, "manifests", id, status) || !deep || status != http.StatusOK {
		return
	}
	for blob := range x.blobs {
		c.checkAnswer(d, s, "blobs", blob, http.StatusOK)
	}
}

// stops is what policy is to say with the data in force.
func (c *chaos) stops(k kind) bool { return k == bad || k == late && c.version%2 == 1 }

func (c *chaos) checkAnswer(d *door, s *shelf, route string, id digest.Digest, status int) bool {
	return c.eventually(s.name, id, func() error {
		r := d.do(ask{method: http.MethodGet, path: "/v2/" + s.name + "/" + route + "/" + id.String()})
		c.inspect(s.name, id, 0, r)
		if r.status == http.StatusOK && c.world.isSecret(id) {
			return nil // the leak has been noted: nothing makes it good
		}
		if r.status != status || !r.whole {
			return fmt.Errorf("GET %s: %s, want %d", route, r.note(), status)
		}
		if status == http.StatusOK && !bytes.Equal(r.body, c.world.bytesOf(id)) {
			return fmt.Errorf("GET %s: %d bytes are not what was pushed", route, len(r.body))
		}
		return nil
	})
}

// checkReport holds what is stored of an image against the truth: every layer
// read, no gap, and policy's word right under every name.
func (c *chaos) checkReport(s *shelf, x *specimen) {
	id := x.digest()
	if x.blobs == nil || s.holding(id).state != present {
		return
	}
	var doc struct {
		Kind      string
		Gaps      []struct{ Code, Detail string }
		Image     struct{ Layers, Packages int }
		Standings []struct{ Reference, Action string }
	}
	c.eventually(s.name, id, func() error {
		if err := c.server.get("/report/"+id.String(), &doc); err != nil {
			return err
		}
		// The images are of a release that is no longer supported.
		doc.Gaps = slices.DeleteFunc(doc.Gaps, func(g struct{ Code, Detail string }) bool { return g.Code == match.GapEndOfLife })
		if doc.Kind != "image" || len(doc.Gaps) > 0 || doc.Image.Layers != 2 || doc.Image.Packages == 0 {
			return fmt.Errorf("the report is of a %s with %d layers, %d packages, gaps %v", doc.Kind, doc.Image.Layers, doc.Image.Packages, doc.Gaps)
		}
		for _, st := range doc.Standings {
			if (st.Action == "stop") != c.stops(x.kind) || st.Action == "" {
				return fmt.Errorf("the verdict on a %s image is %q for %s", x.kind, st.Action, st.Reference)
			}
		}
		return nil
	})
}

// checkUploads: a push of something new works at once in every repository.
func (c *chaos) checkUploads(d *door) {
	for _, w := range c.workers {
		for _, s := range []*shelf{w.local, w.remote} {
			blob := []byte(fmt.Sprint("still works ", s.name, c.history.now()))
			c.eventually(s.name, "", func() error {
				auth, err := d.token(s.name, "pull,push")
				if err != nil {
					return err
				}
				_, err = d.upload(s.name, auth, digest.FromBytes(blob), blob, way{chunks: 2})
				return err
			})
		}
	}
}

// remoteRepo is a shelf's repository as the remote registry names it; false for
// the embedded one.
func remoteRepo(s *shelf) (string, bool) { return strings.CutPrefix(s.name, remoteName+"/") }
