package verdicts

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/lru"
)

// Memory is a Store in the process, bounded by the size of what it holds.
type Memory struct {
	cache *lru.Cache[key, *policy.Verdict]
}

type key struct {
	manifest  digest.Digest
	selection string
}

// NewMemory returns a store that holds about limit bytes of verdicts.
func NewMemory(limit int) *Memory {
	return &Memory{cache: lru.New[key](limit, cost)}
}

// Get returns the verdict, or nil.
func (m *Memory) Get(_ context.Context, manifest digest.Digest, selection string) (*policy.Verdict, error) {
	v, _ := m.cache.Get(key{manifest, selection})
	return v, nil
}

// Put stores the verdict unless a newer one is there.
func (m *Memory) Put(_ context.Context, v *policy.Verdict) (bool, error) {
	return m.cache.Update(key{v.Manifest, v.Selection}, func(old *policy.Verdict, ok bool) (*policy.Verdict, bool) {
		return v, !ok || !v.Older(old)
	}), nil
}

// Forget drops one verdict, because another process has put a newer one.
func (m *Memory) Forget(manifest digest.Digest, selection string) {
	m.cache.Remove(key{manifest, selection})
}

// Drop is Forget, for those who take it for a durable store.
func (m *Memory) Drop(_ context.Context, manifest digest.Digest, selection string) error {
	m.Forget(manifest, selection)
	return nil
}

// cost estimates the bytes that a verdict keeps alive.
func cost(v *policy.Verdict) int {
	n := 1 << 10
	for _, r := range v.Rows {
		n += 256 + len(r.Message) + len(r.TriggerID) + len(r.Package) + len(r.Version)
	}
	for _, g := range v.Gaps {
		n += 128 + len(g.Path) + len(g.Detail)
	}
	return n
}
