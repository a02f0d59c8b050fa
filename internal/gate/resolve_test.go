package gate_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
)

var first, second = digest.FromString("first"), digest.FromString("second")

// resolving asks n times at once, and hands the answers over when all are in.
func resolving(ctx context.Context, t *testing.T, g *gate.Gate, r *registry, n int) (answers func() []digest.Digest) {
	t.Helper()
	all := make([]digest.Digest, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			d, err := g.Resolve(ctx, r.target(), "1")
			if err != nil {
				t.Errorf("Resolve = %v", err)
			}
			all[i] = d
		})
	}
	return func() []digest.Digest {
		group.Wait()
		return all
	}
}

func expect(t *testing.T, who string, got []digest.Digest, want digest.Digest) {
	t.Helper()
	for _, d := range got {
		if d != want {
			t.Errorf("%s was told %s, want %s", who, d, want)
		}
	}
}

// TestResolveIsShared: those who come while the upstream is being asked share
// one more question, and none of them gets an answer that is older than it is.
func TestResolveIsShared(t *testing.T) {
	g := small(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry()
		r.move("1", first)
		goOn := r.pause()
		early := resolving(t.Context(), t, g, r, 1)
		synctest.Wait() // the question has been put
		r.move("1", second)
		late := resolving(t.Context(), t, g, r, 50)
		synctest.Wait()
		if n := r.count("1"); n != 1 {
			t.Errorf("%d questions under way, want one", n)
		}
		goOn()
		expect(t, "who asked before the tag moved", early(), first)
		expect(t, "who asked after it", late(), second)
		if n := r.count("1"); n != 2 {
			t.Errorf("%d questions for 51 callers, want 2", n)
		}
		expect(t, "who asked when all was quiet", resolving(t.Context(), t, g, r, 1)(), second)
		if n := r.count("1"); n != 3 {
			t.Errorf("%d questions in the end, want 3: nothing is kept", n)
		}
	})
}

// TestResolveOutlivesItsCaller: the one who put the question may go away, and
// so may those who wait; the others get their answer.
func TestResolveOutlivesItsCaller(t *testing.T) {
	g := small(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry()
		r.move("1", first)
		goOn := r.pause()
		gone, leave := context.WithCancel(t.Context())
		asking := resolving(gone, t, g, r, 1)
		synctest.Wait()
		staying := resolving(t.Context(), t, g, r, 3)
		synctest.Wait() // the first of these puts the next question
		var waited error
		var group sync.WaitGroup
		group.Go(func() { _, waited = g.Resolve(gone, r.target(), "1") })
		synctest.Wait()
		leave()
		group.Wait()
		if !errors.Is(waited, context.Canceled) {
			t.Errorf("who waits and leaves is told %v", waited)
		}
		goOn()
		expect(t, "who put the question", asking(), first)
		expect(t, "who stayed", staying(), first)
	})
}

// TestResolveSharesErrors: an error is an answer too, and is not kept.
func TestResolveSharesErrors(t *testing.T) {
	g, r := small(t), newRegistry()
	if _, err := g.Resolve(t.Context(), r.target(), "1"); !errors.Is(err, image.ErrManifestUnknown) {
		t.Errorf("Resolve = %v", err)
	}
	r.move("1", first)
	if d, err := g.Resolve(t.Context(), r.target(), "1"); err != nil || d != first {
		t.Errorf("Resolve = %s, %v", d, err)
	}
}

// TestResolveKeepsTagsApart: names that differ in anything are different
// questions.
func TestResolveKeepsTagsApart(t *testing.T) {
	g := small(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry()
		goOn := r.pause()
		here := r.target()
		elsewhere, another := here, *here.Upstream
		another.Name = "another"
		elsewhere.Upstream = &another
		repository := here
		repository.Repository = "app2"
		var group sync.WaitGroup
		for _, q := range []struct {
			target gate.Target
			tag    string
		}{{here, "1"}, {here, "2"}, {elsewhere, "1"}, {repository, "1"}} {
			group.Go(func() { _, _ = g.Resolve(t.Context(), q.target, q.tag) })
		}
		synctest.Wait()
		if got := len(r.waiting); got != 4 {
			t.Errorf("%d questions under way, want 4", got)
		}
		goOn()
		group.Wait()
	})
}
