package lru_test

import (
	"testing"

	"github.com/pratique/pratique/internal/lru"
)

func TestBoundedByWeight(t *testing.T) {
	c := lru.New[string](10, func(v int) int { return v })
	c.Put("a", 4)
	c.Put("b", 4)
	c.Get("a")
	c.Put("c", 4) // b is the oldest
	for k, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if _, ok := c.Get(k); ok != want {
			t.Errorf("%s: held = %v, want %v", k, ok, want)
		}
	}
	c.Put("a", 1) // replaced, not added: 1 + 4 leave room for 5
	c.Put("d", 5)
	for _, k := range []string{"a", "c", "d"} {
		if _, ok := c.Get(k); !ok {
			t.Errorf("%s was dropped though there was room", k)
		}
	}
	c.Put("huge", 100)
	if v, ok := c.Get("huge"); !ok || v != 100 {
		t.Error("the newest value is always held")
	}
	c.Remove("huge")
	if _, ok := c.Get("huge"); ok {
		t.Error("removed, still held")
	}
}

func TestUpdateComparesAndSets(t *testing.T) {
	c := lru.New[string](10, func(int) int { return 1 })
	newer := func(v int) func(int, bool) (int, bool) {
		return func(old int, ok bool) (int, bool) { return v, !ok || v > old }
	}
	for _, tt := range []struct {
		put  int
		want bool
	}{{1, true}, {3, true}, {2, false}} {
		if got := c.Update("k", newer(tt.put)); got != tt.want {
			t.Errorf("Update to %d = %v", tt.put, got)
		}
	}
	if v, _ := c.Get("k"); v != 3 {
		t.Errorf("holds %d, want 3", v)
	}
}
