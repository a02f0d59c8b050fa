// Package lru is a cache that is bounded by what its values weigh, not by how
// many they are. The least recently used value goes first.
package lru

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Cache is safe for concurrent use.
type Cache[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	used  int
	cost  func(V) int
	lru   *simplelru.LRU[K, weighed[V]]
}

type weighed[V any] struct {
	value V
	cost  int
}

// New returns a cache that holds values of about limit in all, as cost weighs
// them. At least one value is always held.
func New[K comparable, V any](limit int, cost func(V) int) *Cache[K, V] {
	c := &Cache[K, V]{limit: limit, cost: cost}
	lru, err := simplelru.NewLRU(1<<30, func(_ K, w weighed[V]) { c.used -= w.cost })
	if err != nil {
		panic(err) // the size above is positive
	}
	c.lru = lru
	return c
}

// Each weighs every value the same, for a cache that is bounded by their number.
func Each[V any](V) int { return 1 }

// Get returns the value and makes it the most recently used one.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.lru.Get(k)
	return w.value, ok
}

// Put stores a value.
func (c *Cache[K, V]) Put(k K, v V) {
	c.Update(k, func(V, bool) (V, bool) { return v, true })
}

// Update replaces a value in one step: next gets what is there and says what is
// to be there, and whether anything is to change. It reports the latter.
func (c *Cache[K, V]) Update(k K, next func(old V, ok bool) (V, bool)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.lru.Peek(k)
	v, change := next(old.value, ok)
	if !change {
		return false
	}
	c.lru.Remove(k)
	w := weighed[V]{v, c.cost(v)}
	c.lru.Add(k, w)
	c.used += w.cost
	for c.used > c.limit && c.lru.Len() > 1 {
		c.lru.RemoveOldest()
	}
	return true
}

// Remove drops a value.
func (c *Cache[K, V]) Remove(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(k)
}
