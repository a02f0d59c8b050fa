package localregistry

import (
	"strconv"
	"sync"

	"github.com/opencontainers/go-digest"
)

// guard stands between those who link content and those who take it away. Who
// links content to a repository, or relies on a link that is there, holds the
// share of its digest from the check until the link is written. Who removes a
// link or a blob file holds the digest alone, for that one removal. There is one
// lock for all digests with the same first byte: a removal never holds up more
// than one push in 256, and is never held up by the others.
//
// Locks are taken in this order: Registry.writes, guard, account.mu, marks.mu.
// Whoever holds a share may not ask for another one.
type guard [256]sync.RWMutex

// share holds the digests, which are sha256, against removal until release.
func (g *guard) share(ds ...digest.Digest) (release func()) {
	var held [len(g)]bool
	for _, d := range ds {
		held[shard(d)] = true
	}
	for i := range g {
		if held[i] {
			g[i].RLock()
		}
	}
	return func() {
		for i := range g {
			if held[i] {
				g[i].RUnlock()
			}
		}
	}
}

// exclude holds the digest, a sha256, against everybody until release. The
// holder takes no other digest.
func (g *guard) exclude(d digest.Digest) (release func()) {
	mu := &g[shard(d)]
	mu.Lock()
	return mu.Unlock
}

func shard(d digest.Digest) uint8 {
	n, _ := strconv.ParseUint(d.Encoded()[:2], 16, 8) // hexadecimal: d is valid
	return uint8(n)
}
