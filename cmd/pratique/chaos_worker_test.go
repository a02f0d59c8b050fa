package main_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/imagetest"
)

// worker is one client that pushes to repositories of its own, deletes there,
// and pulls from everywhere. What it does follows from the seed; when, does not.
type worker struct {
	c      *chaos
	id     int
	random *rand.Rand
	door   *door
	local  *shelf // at the embedded registry
	remote *shelf // at the remote one
	cold   *shelf // at the remote one, pushed around Pratique: what it never saw
}

// remoteName is the prefix of the remote upstream.
const remoteName = "remote.test"

func newWorker(c *chaos, id int) *worker {
	return &worker{
		c: c, id: id, random: rand.New(rand.NewPCG(c.seed, uint64(id))), door: newDoor(c.front.Addr()),
		local: newShelf(fmt.Sprintf("w%d", id)), remote: newShelf(fmt.Sprintf("%s/w%d", remoteName, id)), cold: newShelf(fmt.Sprintf("%s/cold%d", remoteName, id)),
	}
}

func (w *worker) shelves() []*shelf { return []*shelf{w.local, w.remote, w.cold} }

// own is a repository that the worker pushes to through Pratique.
func (w *worker) own() *shelf { return w.shelves()[w.random.IntN(2)] }

// step is one operation.
func (w *worker) step() {
	w.c.pause.RLock()
	defer w.c.pause.RUnlock()
	choices := []struct {
		weight int
		do     func()
	}{
		{19, w.push}, {5, w.pushIndex}, {7, w.pushAndLeave}, {7, w.pushAround}, {16, w.pullTag}, {14, w.pullManifest},
		{20, w.pullBlob}, {5, w.head}, {3, w.deleteTag}, {2, w.deleteManifest}, {2, w.uploadStatus},
	}
	at := w.random.IntN(100) // what the weights add up to
	for _, choice := range choices {
		if at -= choice.weight; at < 0 {
			choice.do()
			return
		}
	}
}

func (w *worker) begin(what, name string, d digest.Digest) operation {
	return operation{worker: w.id, start: w.c.history.now(), what: what, name: name, digest: d}
}

func (w *worker) end(o operation, r reply) {
	o.outcome, o.note, o.sum = r.outcome(), r.note(), digest.FromBytes(r.body)
	w.c.history.add(o)
	if r.status == 0 { // nobody is there: asking faster brings nothing
		time.Sleep(50 * time.Millisecond)
	}
}

func (w *worker) tag() string { return fmt.Sprintf("t%d", w.random.IntN(3)) }

// specimen is a new image, or one of the shelf again.
func (w *worker) specimen(s *shelf) *specimen {
	old := s.sorted(func(x *specimen, _ *holding) bool { return x.blobs != nil })
	if len(old) > 0 && (w.c.world.full() || w.random.IntN(4) == 0) {
		return old[w.random.IntN(len(old))]
	}
	k := []kind{good, good, bad, bad, late}[w.random.IntN(5)]
	return w.c.world.image(w.random, k, w.c.heavy.Load() && w.random.IntN(3) == 0)
}

func (w *worker) push() {
	s := w.own()
	x, tag := w.specimen(s), w.tag()
	if w.random.IntN(8) == 0 {
		tag = ""
	}
	o := w.begin("push", join(s.name, tag), x.digest())
	auth, err := w.door.token(s.name, "pull,push")
	for _, d := range sortedKeys(x.blobs) {
		if err == nil {
			err = w.pushBlob(s, auth, d, x.blobs[d])
		}
	}
	if err != nil {
		w.end(o, reply{err: err})
		return
	}
	w.putManifest(s, auth, x, tag, o)
}

// pushBlob does what docker does: look, mount, upload.
func (w *worker) pushBlob(s *shelf, auth http.Header, d digest.Digest, blob []byte) error {
	if w.random.IntN(2) == 0 {
		r := w.door.do(ask{method: http.MethodHead, path: "/v2/" + s.name + "/blobs/" + d.String(), header: auth})
		if r.status == http.StatusOK {
			return nil
		}
	}
	if from := w.c.published(w.random); w.random.IntN(4) == 0 && from != nil {
		r := w.door.do(ask{method: http.MethodPost, path: "/v2/" + s.name + "/blobs/uploads/?mount=" + d.String() + "&from=" + from.repo, header: auth})
		if r.status == http.StatusCreated {
			return nil
		}
	}
	_, err := w.door.upload(s.name, auth, d, blob, way{chunks: w.random.IntN(4) - 1})
	return err
}

func (w *worker) putManifest(s *shelf, auth http.Header, x *specimen, tag string, o operation) {
	reference := tag
	if tag == "" {
		reference = x.digest().String()
	}
	header := auth.Clone()
	header.Set("Content-Type", x.mediaType)
	r := w.door.do(ask{method: http.MethodPut, path: "/v2/" + s.name + "/manifests/" + reference, header: header, body: bytes.NewReader(x.raw), size: int64(len(x.raw))})
	acknowledged := r.status == http.StatusCreated
	s.put(x, tag, acknowledged)
	if acknowledged {
		r.body = x.raw
		w.c.publish(s.name, x)
	}
	w.end(o, r)
}

func (w *worker) pushIndex() {
	s := w.own()
	images := s.sorted(func(x *specimen, h *holding) bool {
		return x.blobs != nil && x.kind != late && h.state == present && !h.lateTaken
	})
	if len(images) < 2 {
		return
	}
	i := w.random.IntN(len(images) - 1)
	x := w.c.world.index(images[i], images[i+1])
	for _, child := range x.children {
		s.holding(child.digest()).pinned = true
	}
	tag := w.tag()
	o := w.begin("push index", join(s.name, tag), x.digest())
	auth, err := w.door.token(s.name, "pull,push")
	if err != nil {
		w.end(o, reply{err: err})
		return
	}
	w.putManifest(s, auth, x, tag, o)
}

// pushAndLeave goes away in the middle of a layer, or between two requests.
func (w *worker) pushAndLeave() {
	s := w.own()
	x := w.specimen(s)
	d := sortedKeys(x.blobs)[w.random.IntN(len(x.blobs))]
	blob := x.blobs[d]
	o := w.begin("push cut", s.name, d)
	auth, err := w.door.token(s.name, "pull,push")
	if err == nil {
		_, err = w.door.upload(s.name, auth, d, blob, way{chunks: w.random.IntN(4) - 1, leave: 1 + w.random.IntN(len(blob)), between: w.random.IntN(3) == 0})
	}
	o.outcome = wasCut
	if err != nil {
		o.note = err.Error()[max(0, len(err.Error())-60):]
	}
	w.c.history.add(o)
}

// pushAround puts an image into the remote registry itself and pulls it at once:
// its first analysis meets whatever fault is in force.
func (w *worker) pushAround() {
	s, tag := w.cold, w.tag()
	if w.c.world.full() {
		return
	}
	x := w.c.world.image(w.random, []kind{good, bad}[w.random.IntN(2)], false)
	repo := strings.TrimPrefix(s.name, remoteName+"/")
	direct := imagetest.Registry{URL: w.c.upstream}
	ctx := context.Background()
	for _, d := range sortedKeys(x.blobs) {
		if err := direct.PushBlob(ctx, repo, d, x.blobs[d]); err != nil {
			w.c.history.violate(s.name, d, "the remote registry itself fails: %v", err)
			return
		}
	}
	if err := direct.PutManifest(ctx, repo, tag, x.mediaType, x.raw); err != nil {
		w.c.history.violate(s.name, x.digest(), "the remote registry itself fails: %v", err)
		return
	}
	s.put(x, tag, true)
	w.c.publish(s.name, x)
	o := w.begin("pull unseen", join(s.name, tag), x.digest())
	r := w.door.do(ask{method: http.MethodGet, path: "/v2/" + s.name + "/manifests/" + tag})
	w.c.inspectTag(s, tag, r)
	w.end(o, r)
}

func (w *worker) deleteTag() {
	s, tag := w.own(), w.tag()
	o := w.begin("delete tag", join(s.name, tag), "")
	r := w.delete(s, tag)
	s.untag(tag, r.status == http.StatusAccepted)
	w.end(o, r)
}

func (w *worker) deleteManifest() {
	s := w.own()
	all := s.sorted(func(_ *specimen, h *holding) bool { return !h.pinned && h.state != absent })
	if len(all) == 0 {
		return
	}
	d := all[w.random.IntN(len(all))].digest()
	o := w.begin("delete manifest", s.name, d)
	r := w.delete(s, d.String())
	s.remove(d, r.status == http.StatusAccepted)
	w.end(o, r)
}

func (w *worker) delete(s *shelf, reference string) reply {
	auth, err := w.door.token(s.name, "pull,push,delete")
	if err != nil {
		return reply{err: err}
	}
	return w.door.do(ask{method: http.MethodDelete, path: "/v2/" + s.name + "/manifests/" + reference, header: auth})
}

func join(repo, tag string) string { return strings.TrimSuffix(repo+":"+tag, ":") }
