package gate_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	it "github.com/pratique/pratique/internal/imagetest"
)

// excuse is an exception of cluster prod for the finding of it.Vulnerable.
func (s *shared) excuse(scope bundle.Scope) bundle.Exception {
	scope.Images = []string{"*/team/app"}
	return bundle.Exception{
		ID: "ssl", Owner: "team app", Reason: "not reachable from outside", Expires: s.Clock.Now().Add(24 * time.Hour), Scope: scope,
		Findings: []bundle.ExceptedFinding{{TriggerID: ssl}},
	}
}

// judged waits for what the remote says, and has it judged where nobody has yet.
func (s *shared) judged(i gate.Inquiry, want gate.State) gate.Standing {
	s.t.Helper()
	if s.remote.Standing(s.t.Context(), i).State == gate.StatePending {
		if err := s.remote.Want(s.t.Context(), i); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.wants(i, want)
}

// An exception that a process beside the gate brings by Redis holds for both, in
// its namespaces, until it runs out or is taken back.
func TestExceptionsOfAClusterReachBoth(t *testing.T) {
	s := share(t, gatetest.Options{})
	bad := it.Vulnerable()
	s.push("team/app", "1", bad)
	in := func(cluster, namespace string) gate.Inquiry {
		return gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: bad.Digest(), Cluster: cluster, Namespace: namespace}
	}
	e := s.excuse(bundle.Scope{Namespaces: []string{"shop"}})
	if err := s.remote.PutExceptions(t.Context(), "prod", []bundle.Exception{e}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s.remote.Standing(t.Context(), in("prod", "shop")).State == gate.StateFail; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the remote does not come to know the exception")
		}
	}
	if got := s.judged(in("prod", "shop"), gate.StatePass); !got.Expires.Equal(e.Expires) {
		t.Errorf("passes until %v, want %v", got.Expires, e.Expires)
	}
	s.judged(in("prod", "bank"), gate.StateFail)
	s.judged(in("test", "shop"), gate.StateFail)
	s.judged(in("", ""), gate.StateFail)
	s.Clock.Move(25 * time.Hour)
	s.judged(in("prod", "shop"), gate.StateFail)
	if err := s.remote.PutExceptions(t.Context(), "prod", []bundle.Exception{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); len(s.Gate.Exceptions()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the gate keeps an exception that was taken back")
		}
	}
}

// What Redis had before, and somebody puts there again, changes nothing.
func TestOldExceptionsDoNotComeBack(t *testing.T) {
	s := share(t, gatetest.Options{})
	if err := s.remote.PutExceptions(t.Context(), "prod", []bundle.Exception{s.excuse(bundle.Scope{})}); err != nil {
		t.Fatal(err)
	}
	held := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); len(s.Gate.Exceptions()) != n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the gate has %d exceptions, want %d", len(s.Gate.Exceptions()), n)
			}
		}
	}
	held(1)
	old := s.redis.HGet("pratique:v1:exceptions", "prod")
	s.Clock.Move(time.Minute)
	if err := s.remote.PutExceptions(t.Context(), "prod", nil); err != nil {
		t.Fatal(err)
	}
	held(0)
	s.redis.HSet("pratique:v1:exceptions", "prod", old)
	for range 3 { // each round trip is one more chance to take it
		s.redis.Publish("pratique:v1:exceptions", "prod")
		time.Sleep(100 * time.Millisecond)
	}
	held(0)
}

// Pulls go by an exception that says so, where the configuration lets it.
func TestExceptionsForPulls(t *testing.T) {
	s := share(t, gatetest.Options{})
	bad := it.Vulnerable()
	s.push("team/app", "1", bad)
	m, err := image.ParseManifest(bad.Manifest, "")
	if err != nil {
		t.Fatal(err)
	}
	pull := func() gate.Outcome {
		return s.Gate.Pull(t.Context(), gate.Question{Target: s.target("team/app"), Tag: "1", Principal: "test"}, m).Outcome
	}
	put := func(list ...bundle.Exception) {
		t.Helper()
		if err := s.Gate.PutExceptions(t.Context(), "prod", list); err != nil {
			t.Fatal(err)
		}
	}
	put(s.excuse(bundle.Scope{}))
	if pull() != gate.Refused {
		t.Error("an exception for admission lets a pull through")
	}
	put(s.excuse(bundle.Scope{Pulls: true}))
	if pull() != gate.Served {
		t.Error("an exception for pulls does not let one through")
	}
	for setting, want := range map[string]gate.Outcome{gate.ExceptionsAdmission: gate.Refused, gate.ExceptionsNone: gate.Refused, gate.ExceptionsPulls: gate.Served} {
		c := s.Gate.Config()
		c.ClusterExceptions = setting
		s.Gate.Reconfigure(t.Context(), c)
		if got := pull(); got != want {
			t.Errorf("gate.cluster_exceptions %s: outcome %v, want %v", setting, got, want)
		}
	}
	entries, err := s.Catalog.Exceptions(t.Context())
	if err != nil || !strings.Contains(string(entries["prod"].Doc), `"prod/ssl"`) {
		t.Errorf("the catalog has %s (%v)", entries["prod"].Doc, err)
	}
}

// What is wrong is not taken, and what was in force stays.
func TestWrongExceptionsAreNotTaken(t *testing.T) {
	s := share(t, gatetest.Options{})
	good := s.excuse(bundle.Scope{})
	if err := s.Gate.PutExceptions(t.Context(), "prod", []bundle.Exception{good}); err != nil {
		t.Fatal(err)
	}
	endless := good
	endless.Expires = time.Time{}
	for name, list := range map[string][]bundle.Exception{"one without an end": {good, endless}, "one id twice": {good, good}, "too many": make([]bundle.Exception, 2001)} {
		if err := s.Gate.PutExceptions(t.Context(), "prod", list); !errors.Is(err, gate.ErrExceptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Gate.PutExceptions(t.Context(), "", nil); !errors.Is(err, gate.ErrExceptions) {
		t.Errorf("no cluster: %v", err)
	}
	if got := s.Gate.Exceptions(); len(got) != 1 || got[0].Scope.Cluster != "prod" {
		t.Errorf("in force: %+v", got)
	}
}

// What runs in clusters can be seen wherever it was told.
func TestRunningIsSeenEverywhere(t *testing.T) {
	s := share(t, gatetest.Options{})
	if err := s.remote.PutRunning(t.Context(), "prod", map[string]int{"pods": 3}); err != nil {
		t.Fatal(err)
	}
	if err := s.Gate.PutRunning(t.Context(), "test", map[string]int{"pods": 1}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		got, err := json.Marshal(s.Gate.Running(t.Context()))
		if want := `{"prod":{"pods":3},"test":{"pods":1}}`; err != nil || string(got) != want {
			t.Errorf("runs %s (%v), want %s", got, err, want)
		}
	}
	check()
	if err := s.Gate.PutRunning(t.Context(), "prod", strings.Repeat("x", 17<<20)); !errors.Is(err, gate.ErrRunning) {
		t.Errorf("what is too large: %v", err)
	}
	check()
}

// What was admitted is known beside the gate and in it; of an index that was let
// in, each image counts.
func TestAdmitted(t *testing.T) {
	s := share(t, gatetest.Options{})
	amd, arm := it.Clean(), it.Vulnerable()
	index := it.BuildIndex(amd, arm)
	for _, im := range []it.Image{amd, arm} {
		s.push("team/app", "part-"+im.Digest().Encoded()[:8], im)
	}
	s.tag("team/app", "1", index.Raw)
	a := gate.Admitted{Cluster: "prod", Namespace: "shop", Reference: "127.0.0.1:5000/team/app:1", Digest: index.Digest(), State: gate.StatePass, Answer: "allow", At: s.Clock.Now()}
	for name, memory := range map[string]gate.Admissions{"gate": s.Gate, "remote": s.remote} {
		if err := memory.NoteAdmitted(t.Context(), []gate.Admitted{a}); err != nil {
			t.Fatal(err)
		}
		ask := func(change func(*gate.Admitted)) *gate.Admitted {
			t.Helper()
			q := gate.Admitted{Cluster: "prod", Namespace: "shop", Reference: a.Reference, Digest: a.Digest}
			change(&q)
			found, err := memory.Admitted(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		if got := ask(func(*gate.Admitted) {}); got == nil || !cmp.Equal(*got, a) {
			t.Errorf("%s: the same image: %+v", name, got)
		}
		if got := ask(func(q *gate.Admitted) { q.Digest = amd.Digest() }); got == nil || got.Digest != amd.Digest() {
			t.Errorf("%s: an image of the index: %+v", name, got)
		}
		if got := ask(func(q *gate.Admitted) { q.Digest = digest.FromString("moved") }); got == nil || got.Digest != a.Digest {
			t.Errorf("%s: another image: %+v", name, got)
		}
		if got := ask(func(q *gate.Admitted) { q.Namespace = "bank" }); got != nil {
			t.Errorf("%s: in another namespace: %+v", name, got)
		}
	}
	if gone, err := s.Catalog.PurgeAdmitted(t.Context(), s.Clock.Now().Add(time.Second)); err != nil || gone != 1 {
		t.Errorf("%d forgotten (%v)", gone, err)
	}
}
