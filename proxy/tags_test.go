package proxy_test

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// lenient puts a bundle into force that asks nothing of tags dev-*.
func (c *crossing) lenient() {
	c.Helper()
	const bundle = `{"id":"lenient","name":"lenient","version":"1_0","comment":"","whitelists":[],"whitelisted_images":[],"blacklisted_images":[],
"policies":[{"id":"none","name":"none","version":"1_0","rules":[]},{"id":"p","version":"1_0","name":"p","rules":[{"id":"r","gate":"vulnerabilities","trigger":"package","action":"STOP","params":[
{"name":"package_type","value":"all"},{"name":"severity_comparison","value":">="},{"name":"severity","value":"high"}]}]}],
"mappings":[{"id":"d","name":"d","registry":"*","repository":"*","image":{"type":"tag","value":"dev-*"},"policy_ids":["none"],"whitelist_ids":[]},
{"id":"a","name":"a","registry":"*","repository":"*","image":{"type":"tag","value":"*"},"policy_ids":["p"],"whitelist_ids":[]}]}`
	_, err := c.Gate.AddPolicy(c.Context(), []byte(bundle))
	c.must(err)
	_, err = c.Gate.Activate(c.Context(), "lenient")
	c.must(err)
}

// TestTagOfAPushIsNoMeasureForOthers: what somebody may name without having it is not
// judged by the tag under which it is pushed.
func TestTagOfAPushIsNoMeasureForOthers(t *testing.T) {
	behindEach(t, nil, func(c *crossing) {
		c.lenient()
		c.push(c.repo, "bad", c.bad)
		c.swept(c.repo)
		c.notTaken(c.putCover(person{"", true}, "dev-x", cover(c.bad.Layers[0], "")))
		c.swept(c.repo)
		c.push(c.other, "dev-y", c.bad)
		if got := c.answer(reader, "GET", "/v2/"+c.other+"/manifests/dev-y", nil); got.status != 200 {
			c.Errorf("control: HTTP %d %s", got.status, got.body)
		}
	})
}

// TestCheckByATagThatIsNotThere: an image is judged by the tags that it has, not by the
// one that somebody writes beside its digest.
func TestCheckByATagThatIsNotThere(t *testing.T) {
	c := openWorld(t, worldOptions{registry: embedded}).crossing(t, "tags")
	c.lenient()
	c.push(c.repo, "bad", c.bad)
	c.push(c.other, "dev-x", c.bad)
	for _, tt := range []struct{ name, want string }{
		{c.repo + ":bad", "fail"}, {c.repo + ":dev-none", "fail"}, {c.repo + ":dev-x", "fail"}, {c.other + ":dev-x", "pass"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := c.in(t, c.world).check("/v1/images/" + c.bad.Digest().String() + "/check?tag=127.0.0.1:5000/" + tt.name); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// check is the status that the API gives the reader.
func (c *crossing) check(path string) string {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), "GET", c.api+path, nil)
	c.must(err)
	req.SetBasicAuth(reader.name, "password of "+reader.name)
	res, err := http.DefaultClient.Do(req)
	c.must(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	c.must(err)
	all := regexp.MustCompile(`"status":\s*"([a-z]+)"`).FindAllStringSubmatch(string(raw), -1)
	if res.StatusCode != 200 || len(all) != 1 {
		c.Fatalf("HTTP %d %s", res.StatusCode, raw)
	}
	return all[0][1]
}

// TestImmutableTagDeletedByDigest: a tag that only the registry knows of stays, though
// the image is deleted by its digest.
func TestImmutableTagDeletedByDigest(t *testing.T) {
	config := configure(func(c *gate.Config) { c.Immutable = []gate.TagRule{{Repository: "*", Tags: []string{"*"}}} })
	c := openWorld(t, worldOptions{registry: embedded, Options: gatetest.Options{Config: config}}).crossing(t, "tags")
	c.behind(c.repo, "v1", c.good)
	got := c.answer(owner, "DELETE", "manifests/"+c.good.Digest().String(), nil)
	if got.status != http.StatusForbidden || !strings.Contains(got.message(), "the tag v1 of "+c.repo+" is immutable") {
		t.Errorf("HTTP %d %s", got.status, got.body)
	}
	c.served("manifests/v1", c.good.Manifest)
	c.alive(c.repo)
}

// pausing is a registry that holds back the answer to one request for a manifest.
type pausing struct {
	gate.Registry
	next      atomic.Bool
	read, may chan struct{} // it has been read; it may be given
}

func (r *pausing) Manifest(ctx context.Context, repository, reference string) ([]byte, string, error) {
	raw, mediaType, err := r.Registry.Manifest(ctx, repository, reference)
	if r.next.CompareAndSwap(true, false) {
		close(r.read)
		select {
		case <-r.may:
		case <-time.After(10 * time.Second): // the deletion waits for the fetch: good as well
		}
	}
	return raw, mediaType, err
}

// TestDeletedWhileFetched: a manifest that is being fetched while it is deleted does
// not come back.
func TestDeletedWhileFetched(t *testing.T) {
	d := open(t, gatetest.Options{})
	slow := &pausing{Registry: d.Local, read: make(chan struct{}), may: make(chan struct{})}
	d.Upstreams[0].Registry = slow
	im := imagetest.Clean()
	d.push("app", "1", im)
	// It was there before anybody knew of it.
	if err := d.Gate.ForgetManifest(t.Context(), gate.Target{Upstream: d.Upstreams[0], Repository: "app"}, im.Digest()); err != nil {
		t.Fatal(err)
	}
	path := "/v2/app/manifests/" + im.Digest().String()
	bearer := "Bearer " + d.token("repository:app:pull,push,delete")
	slow.next.Store(true)
	var group sync.WaitGroup
	group.Go(func() { d.call("GET", path, nil) })
	await(t, slow.read)
	if got := d.call("DELETE", path, nil, "Authorization", bearer); got.status != http.StatusAccepted {
		t.Errorf("HTTP %d %s", got.status, got.body)
	}
	close(slow.may)
	group.Wait()
	for _, at := range []string{path, "/v2/app/manifests/1", "/v2/app/blobs/" + layerOf(im)} {
		d.wantStatus(at, http.StatusNotFound)
	}
}
