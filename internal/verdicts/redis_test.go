package verdicts_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/verdicts"
)

func TestForgedVerdictsAreAbsent(t *testing.T) {
	server := miniredis.RunT(t)
	r := redisStore(t, server.Addr())
	ctx := context.Background()
	good, bad := verdict("good", "s", 1, 1), verdict("bad", "s", 1, 1)
	good.Action = policy.Go
	for _, v := range []*policy.Verdict{good, bad} {
		if _, err := r.Put(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	keyOf := func(v *policy.Verdict) string { return "pratique:v1:verdict:" + v.Manifest.Encoded() + ":s" }
	for name, forged := range map[string]string{
		"moved from another image": server.HGet(keyOf(good), "v"),
		"no signature":             `{"action":"go"}`,
		"empty":                    "",
	} {
		server.HSet(keyOf(bad), "v", forged)
		if v, err := r.Get(ctx, bad.Manifest, "s"); v != nil || err != nil {
			t.Errorf("%s: Get = %+v, %v; want nothing", name, v, err)
		}
	}
}

func TestRedisGoneAndBack(t *testing.T) {
	server := miniredis.RunT(t)
	addr := server.Addr()
	durable := verdicts.NewMemory(1 << 20)
	tiers := func() *verdicts.Tiers {
		return &verdicts.Tiers{Memory: verdicts.NewMemory(1 << 20), Shared: redisStore(t, addr), Durable: durable,
			Log: slog.New(slog.DiscardHandler), Looked: func(string) {}}
	}
	ctx := context.Background()
	first := tiers()
	v := verdict("a", "s", 1, 1)
	server.Close()
	if kept, err := first.Put(ctx, v); !kept || err != nil {
		t.Fatalf("Put without redis = %v, %v", kept, err)
	}
	start := time.Now()
	for range 50 {
		if got, err := tiers().Get(ctx, v.Manifest, "s"); got == nil || err != nil {
			t.Fatalf("Get without redis = %v, %v", got, err)
		}
	}
	t.Logf("50 look-ups in fresh processes without redis took %v", time.Since(start))
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := tiers().Get(ctx, v.Manifest, "s"); err != nil {
		t.Fatal(err)
	}
	if !server.Exists("pratique:v1:verdict:" + v.Manifest.Encoded() + ":s") {
		t.Error("the verdict did not find its way back into redis")
	}
}

func TestFollowForgets(t *testing.T) {
	server := miniredis.RunT(t)
	ctx, cancel := context.WithCancel(context.Background())
	forgotten := make(chan digest.Digest, 1)
	done := make(chan struct{})
	follower, writer := redisStore(t, server.Addr()), redisStore(t, server.Addr())
	go func() {
		defer close(done)
		follower.Follow(ctx, func(d digest.Digest, _ string) { forgotten <- d }, func() {})
	}()
	v := verdict("a", "s", 1, 1)
	deadline := time.After(10 * time.Second)
	for {
		if _, err := writer.Put(ctx, v); err != nil {
			t.Fatal(err)
		}
		select {
		case d := <-forgotten:
			if d != v.Manifest {
				t.Errorf("forgot %s, want %s", d, v.Manifest)
			}
			cancel()
			<-done
			return
		case <-time.After(20 * time.Millisecond): // not subscribed yet
		case <-deadline:
			t.Fatal("the follower heard nothing")
		}
	}
}
