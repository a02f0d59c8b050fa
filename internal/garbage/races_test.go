package garbage_test

import (
	"testing"
	"time"

	"github.com/pratique/pratique/internal/gatetest"
)

// TestCollectionAfterAStalePull: a pull that resolved a tag before a push moved
// it, and is answered after that, does not make the pushed image look untagged.
func TestCollectionAfterAStalePull(t *testing.T) {
	d, b := openBetween(t)
	first, second := app("1"), app("2")
	d.push("latest", first)
	act := func() { d.push("latest", second) }
	b.resolved.Store(&act)
	d.want("GET", "/v2/app/manifests/latest", 200) // resolved before the push, answered after it
	d.Clock.Move(100 * time.Hour)
	d.collect()
	d.want("GET", "/v2/app/manifests/latest", 200)
	d.want("GET", "/v2/app/manifests/"+second.Digest().String(), 200)
}

// TestVerdictsAreForgotten: an image that comes back after a collection is judged
// as one that was never here, and again when the data change.
func TestVerdictsAreForgotten(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := app("1")
	d.push("1", im)
	d.want("GET", "/v2/app/manifests/1", 200)
	d.want("DELETE", "/v2/app/manifests/"+im.Digest().String(), 202)
	d.Clock.Move(50 * time.Hour)
	d.collect()
	d.push("1", im)
	d.want("GET", "/v2/app/manifests/1", 200)
	records := gatetest.Advisories()
	for i := range records {
		if records[i].Package == "openssl" {
			records[i].Ranges[0].Events[1].Fixed = "99.0-r0"
		}
	}
	gatetest.WriteData(t, d.Dir, 2, records)
	if err := d.Gate.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.want("GET", "/v2/app/manifests/1", 403)
}

// TestHeadDuringCollection: a pusher that is told that a manifest is there may
// count on it: it is collected before the answer, or not at all.
func TestHeadDuringCollection(t *testing.T) {
	d, b := openBetween(t)
	child := app("1")
	path := "/v2/app/manifests/" + child.Digest().String()
	d.push(child.Digest().String(), child)
	d.Clock.Move(100 * time.Hour)
	told := make(chan int, 1)
	act := func() {
		go func() {
			status, _ := d.call("HEAD", path)
			told <- status
		}()
		time.Sleep(100 * time.Millisecond) // for the request to be under way
	}
	b.deleting.Store(&act)
	d.collect()
	d.want("GET", path, <-told)
}
