package proxy_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/verdicts"
)

// worse are data by which the clean image is not clean any more.
func worse() []advisory.Advisory {
	records := gatetest.Advisories()
	for i := range records {
		if records[i].Package == "openssl" {
			records[i].Ranges[0].Events[1].Fixed = "99.0-r0"
		}
	}
	return records
}

// slowStore keeps verdicts, and can be paused: then it tells of everything that
// it is asked, and stores nothing until it may go on.
type slowStore struct {
	verdicts.Durable
	mu     sync.Mutex
	paused chan struct{} // nil: it is not
	// One for each call while it is paused.
	gets, puts chan struct{}
}

func (s *slowStore) pause() (goOn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	paused := make(chan struct{})
	s.paused = paused
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paused = nil
		close(paused)
	})
}

// tell tells of a call; goOn is closed when it may be answered, nil if at once.
func (s *slowStore) tell(calls chan struct{}) (goOn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused != nil {
		calls <- struct{}{}
	}
	return s.paused
}

func (s *slowStore) Get(ctx context.Context, manifest digest.Digest, selection string) (*policy.Verdict, error) {
	s.tell(s.gets)
	return s.Durable.Get(ctx, manifest, selection)
}

func (s *slowStore) Put(ctx context.Context, v *policy.Verdict) (bool, error) {
	if goOn := s.tell(s.puts); goOn != nil {
		<-goOn
	}
	return s.Durable.Put(ctx, v)
}

// unjudged is a system with an image, app:1, that is analysed and will be judged
// when it is first asked for.
func unjudged(t *testing.T, im imagetest.Image) (*door, *slowStore) {
	t.Helper()
	d := open(t, gatetest.Options{NoData: true})
	s := &slowStore{Durable: d.Catalog, gets: make(chan struct{}, 100), puts: make(chan struct{}, 100)}
	d.Gate.Verdicts.Durable = s
	d.push("app", "1", im)
	gatetest.WriteData(t, d.Dir, 1, gatetest.Advisories())
	if err := d.Gate.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d, s
}

// await receives what has to come.
func await(t *testing.T, from <-chan struct{}) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came in 10 s")
	}
}

func (d *door) wantStatus(path string, want int) {
	d.t.Helper()
	if got := d.call("GET", path, nil); got.status != want {
		d.t.Errorf("GET %s: HTTP %d %.500s, want %d", path, got.status, got.body, want)
	}
}

// TestDataBuiltWhileDown: data that came while nothing was running reach the
// verdicts that were made before, though no difference is seen at the start.
func TestDataBuiltWhileDown(t *testing.T) {
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir})
		d.push("app", "1", imagetest.Clean())
		d.wantStatus("/v2/app/manifests/1", 200)
	})
	gatetest.WriteData(t, dir, 2, worse())
	t.Run("after", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir, NoData: true})
		// A round of the renewal: whoever makes it, it is over when this returns.
		if err := d.Gate.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.wantStatus("/v2/app/manifests/1", 403)
	})
}

// TestRenewalThatIsCutIsMadeGood: a round that could not store a verdict does
// not count as made.
func TestRenewalThatIsCutIsMadeGood(t *testing.T) {
	d, store := unjudged(t, imagetest.Clean())
	d.wantStatus("/v2/app/manifests/1", 200)
	goOn := store.pause()
	defer goOn()
	gatetest.WriteData(t, d.Dir, 2, worse())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	// Its error is not looked at: the gate's own round may have been faster.
	group.Go(func() { _ = d.Gate.Reload(ctx) })
	await(t, store.puts)
	cancel()
	goOn()
	group.Wait()
	if err := d.Gate.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.wantStatus("/v2/app/manifests/1", 403)
}

// TestFirstVerdictDuringReload: an image that is being judged for the first time
// by the old data, while the new come into use, is judged by the new ones too.
// The renewal cannot know of it: its verdict is not there yet.
func TestFirstVerdictDuringReload(t *testing.T) {
	d, store := unjudged(t, imagetest.Clean())
	goOn := store.pause()
	defer goOn()
	var group sync.WaitGroup
	group.Go(func() { d.call("GET", "/v2/app/manifests/1", nil) })
	await(t, store.puts)
	gatetest.WriteData(t, d.Dir, 2, worse())
	if err := d.Gate.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	goOn()
	group.Wait()
	d.wantStatus("/v2/app/manifests/1", 403)
}

// TestRedisDoesNotOverruleTheCatalog: a go that is still in Redis does not undo
// the stop that could not be written there.
func TestRedisDoesNotOverruleTheCatalog(t *testing.T) {
	redis := miniredis.RunT(t)
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir, Redis: redis.Addr()})
		d.push("app", "1", imagetest.Clean())
		d.wantStatus("/v2/app/manifests/1", 200)
		redis.SetError("LOADING")
		gatetest.WriteData(t, dir, 2, worse())
		if err := d.Gate.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.wantStatus("/v2/app/manifests/1", 403)
	})
	redis.SetError("")
	t.Run("after", func(t *testing.T) {
		d := open(t, gatetest.Options{Dir: dir, Redis: redis.Addr(), NoData: true})
		d.wantStatus("/v2/app/manifests/1", 403)
	})
}
