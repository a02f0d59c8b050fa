package catalog_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/catalog"
)

func TestBundles(t *testing.T) {
	c := open(t)
	if _, err := c.Bundle(ctx, "b"); !errors.Is(err, catalog.ErrBundleUnknown) {
		t.Errorf("before there is one: %v", err)
	}
	if got := must[[]catalog.Bundle](t)(c.Bundles(ctx)); len(got) != 0 {
		t.Errorf("before there is one: %+v", got)
	}
	b := catalog.Bundle{ID: "b", Name: "Bee", Raw: []byte(`{"id": "b"}`), Updated: now}
	a := catalog.Bundle{ID: "a", Name: "Ay", Raw: []byte("{}\n"), Updated: now}
	check(t, c.PutBundle(ctx, b))
	check(t, c.PutBundle(ctx, a))
	b.Name, b.Raw, b.Updated = "Bumble", []byte(`{"id":"b"}`), now.AddDate(0, 0, 1)
	check(t, c.PutBundle(ctx, b))
	if diff := cmp.Diff([]catalog.Bundle{a, b}, must[[]catalog.Bundle](t)(c.Bundles(ctx))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestActivate(t *testing.T) {
	c := open(t)
	if id, epoch, err := c.ActiveBundle(ctx); id != "" || epoch != 0 || err != nil {
		t.Errorf("before any activation: %q, %d, %v", id, epoch, err)
	}
	if _, err := c.Activate(ctx, "missing"); !errors.Is(err, catalog.ErrBundleUnknown) {
		t.Errorf("activate what is not there: %v", err)
	}
	for i, id := range []string{"a", "2c53a13c-1765-11e8-82ef-23527761d060", "an id with  spaces", "a"} {
		check(t, c.PutBundle(ctx, catalog.Bundle{ID: id, Raw: []byte("{}"), Updated: now}))
		if epoch := must[int64](t)(c.Activate(ctx, id)); epoch != int64(i+1) {
			t.Errorf("activation %d has epoch %d", i+1, epoch)
		}
		if got, epoch, err := c.ActiveBundle(ctx); got != id || epoch != int64(i+1) || err != nil {
			t.Errorf("active: %q, %d, %v; want %q, %d", got, epoch, err, id, i+1)
		}
	}
}

// TestActivateConcurrently: no epoch is given twice, or two processes would
// take different rules for the same.
func TestActivateConcurrently(t *testing.T) {
	c := open(t)
	check(t, c.PutBundle(ctx, catalog.Bundle{ID: "b", Raw: []byte("{}"), Updated: now}))
	epochs := make([]int64, 16)
	var group sync.WaitGroup
	for i := range epochs {
		group.Go(func() {
			epoch, err := c.Activate(ctx, "b")
			if err != nil {
				t.Error(err)
			}
			epochs[i] = epoch
		})
	}
	group.Wait()
	slices.Sort(epochs)
	for i, epoch := range epochs {
		if epoch != int64(i+1) {
			t.Fatalf("epochs %v", epochs)
		}
	}
}

func TestSettings(t *testing.T) {
	c := open(t)
	if got := must[string](t)(c.Setting(ctx, "k")); got != "" {
		t.Errorf("before it was put: %q", got)
	}
	for _, want := range []string{"one", "", "two words\n"} {
		check(t, c.PutSetting(ctx, "k", want))
		if got := must[string](t)(c.Setting(ctx, "k")); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := must[string](t)(c.Setting(ctx, "K")); got != "" {
		t.Errorf("another key has %q", got)
	}
}
