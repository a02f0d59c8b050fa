package verdicts_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/verdicts"
)

func TestMemory(t *testing.T) {
	contract(t, verdicts.NewMemory(1<<20))
}

func TestCatalog(t *testing.T) {
	c, err := catalog.Open(context.Background(), filepath.Join(t.TempDir(), "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	contract(t, c)
}

func TestRedisStandIn(t *testing.T) {
	contract(t, redisStore(t, miniredis.RunT(t).Addr()))
}

func TestRedis(t *testing.T) {
	contract(t, redisStore(t, clients.Redis(t).Addr))
}

func TestTiers(t *testing.T) {
	contract(t, &verdicts.Tiers{
		Memory: verdicts.NewMemory(1 << 20), Shared: redisStore(t, miniredis.RunT(t).Addr()),
		Durable: verdicts.NewMemory(1 << 20), Log: slog.New(slog.DiscardHandler), Looked: func(string) {},
	})
}

func redisStore(t *testing.T, addr string) *verdicts.Redis {
	t.Helper()
	r, err := verdicts.NewRedis(verdicts.RedisConfig{URL: "redis://" + addr}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// contract holds every Store to its promises.
func contract(t *testing.T, s verdicts.Store) {
	t.Helper()
	ctx := context.Background()
	must := func(v *policy.Verdict, want bool) {
		t.Helper()
		if kept, err := s.Put(ctx, v); err != nil || kept != want {
			t.Fatalf("Put(engine %d, data %d) = %v, %v; want %v", v.Engine, v.Data.Sequence, kept, err, want)
		}
	}
	a := verdict("a", "s1", 1, 7)
	if v, err := s.Get(ctx, a.Manifest, a.Selection); v != nil || err != nil {
		t.Fatalf("Get before Put = %v, %v", v, err)
	}
	must(a, true)
	must(verdict("a", "s1", 1, 6), false) // older data
	must(verdict("b", "s1", 1, 3), true)  // another manifest
	must(verdict("a", "s2", 1, 3), true)  // another selection
	got, err := s.Get(ctx, a.Manifest, a.Selection)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, got); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	again := verdict("a", "s1", 1, 7)
	again.Action = policy.Go
	must(again, true)                     // the same data: the newest word counts
	must(verdict("a", "s1", 2, 1), true)  // a newer engine beats newer data
	must(verdict("a", "s1", 1, 9), false) // and is not undone by the older one

	var group sync.WaitGroup
	for n := range uint64(40) {
		group.Go(func() {
			if _, err := s.Put(ctx, verdict("c", "s", 1, n)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if v, err := s.Get(ctx, digest.FromString("c"), "s"); err != nil || v.Data.Sequence != 39 {
		t.Errorf("after concurrent puts: %+v, %v", v, err)
	}
}

func verdict(name, selection string, engine int, data uint64) *policy.Verdict {
	return &policy.Verdict{
		Manifest: digest.FromString(name), Selection: selection, Action: policy.Stop, Reason: policy.ReasonEvaluation,
		Engine: engine, Data: advisory.Revision{Sequence: data, Built: time.Unix(1_700_000_000, 0).UTC()},
		EvaluatedAt: time.Unix(1_700_000_001, 0).UTC(),
		Rows:        []policy.Row{{Gate: "vulnerabilities", Trigger: "package", Message: "CRITICAL ...", Action: policy.Stop, CVE: "CVE-2023-0286"}},
	}
}
