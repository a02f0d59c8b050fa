package gate

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
)

// forgetBatch is how many manifests are looked up at a time.
const forgetBatch = 200

// Forget removes all that is known of manifests that no repository has had since
// before, and returns how many they were. What was learnt from their layers
// stays for others.
func (g *Gate) Forget(ctx context.Context, before time.Time) (int, error) {
	n := 0
	for {
		gone, err := g.Catalog.Orphans(ctx, before, forgetBatch)
		if err != nil || len(gone) == 0 {
			return n, err
		}
		for _, m := range gone {
			// Memory is cleared before and after: an image that comes back at this
			// moment must not count as on record because it was a moment ago.
			selections, err := g.Catalog.VerdictSelections(ctx, m)
			if err != nil {
				return n, err
			}
			g.forgetImage(m, selections)
			if err := g.Catalog.PurgeManifest(ctx, m); err != nil {
				return n, err
			}
			g.forgetImage(m, selections)
			n++
		}
	}
}

func (g *Gate) forgetImage(m digest.Digest, selections map[string][]byte) {
	for selection := range selections {
		g.Verdicts.Memory.Forget(m, selection)
	}
	g.subjects.Remove(m)
	g.inventory.Remove(m)
	g.manifests.Remove(m)
	g.keyed.Remove(m)
}
