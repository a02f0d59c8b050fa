package gate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	it "github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/verdicts"
)

// shared is a gate, and beside it what has Redis alone in common with it.
type shared struct {
	*gatetest.System
	t      *testing.T
	redis  *miniredis.Miniredis
	remote *gate.Remote
}

func share(t *testing.T, o gatetest.Options) *shared {
	t.Helper()
	s := &shared{t: t, redis: miniredis.RunT(t)}
	o.Redis = s.redis.Addr()
	s.System = gatetest.New(t, o)
	s.remote = s.another()
	return s
}

// another is a Remote of a process that has just begun.
func (s *shared) another() *gate.Remote {
	s.t.Helper()
	r, err := verdicts.NewRedis(verdicts.RedisConfig{URL: "redis://" + s.redis.Addr()}, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = r.Close() })
	return gate.NewRemote(verdicts.NewReader(r, s.Clock.Now, func(string) {}), s.Clock.Now)
}

func (s *shared) target(repository string) gate.Target {
	return gate.Target{Upstream: s.Upstreams[0], Repository: repository}
}

// push pushes an image as the registry's door does.
func (s *shared) push(repository, tag string, im it.Image) {
	s.t.Helper()
	s.upload(repository, im)
	s.tag(repository, tag, im.Manifest)
}

func (s *shared) upload(repository string, im it.Image) {
	s.t.Helper()
	ctx := s.t.Context()
	for d, blob := range im.Blobs() {
		state, err := s.Local.StartUpload(ctx, repository)
		if err == nil {
			err = s.Local.CommitUpload(ctx, repository, state, 0, d, bytes.NewReader(blob), int64(len(blob)))
		}
		if err == nil {
			err = s.Catalog.Uploaded(ctx, s.target(repository).Key(), d, "test", s.Clock.Now())
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *shared) tag(repository, tag string, raw []byte) {
	s.t.Helper()
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, _, err := s.Gate.Tag(s.t.Context(), gate.Question{Target: s.target(repository), Tag: tag, Principal: "test"}, m); err != nil {
		s.t.Fatal(err)
	}
}

// wants waits until both the gate and what has Redis alone say the state.
func (s *shared) wants(i gate.Inquiry, want gate.State) gate.Standing {
	s.t.Helper()
	var near, far gate.Standing
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		near, far = s.Gate.Standing(s.t.Context(), i), s.remote.Standing(s.t.Context(), i)
		if near.State == want && far.State == want {
			if diff := cmp.Diff(near, far); diff != "" {
				s.t.Errorf("%s: the gate and the remote differ:\n%s", i.Reference, diff)
			}
			return far
		}
	}
	s.t.Fatalf("%s: the gate says %+v, the remote %+v; want %s", i.Reference, near, far, want)
	return far
}

const ssl = "CVE-2025-15467"

func TestStandings(t *testing.T) {
	s := share(t, gatetest.Options{})
	bad, good := it.Vulnerable(), it.Clean()
	s.push("team/app", "bad", bad)
	s.push("team/app", "good", good)
	for _, host := range []string{"127.0.0.1:5000", "pratique.test:5000"} {
		name := host + "/team/app"
		got := s.wants(gate.Inquiry{Reference: name + ":bad", Digest: bad.Digest()}, gate.StateFail)
		if !strings.Contains(got.Message, ssl) || !got.Analysed || got.Report != "http://127.0.0.1:8228/report/"+bad.Digest().String() {
			t.Errorf("%+v", got)
		}
		s.wants(gate.Inquiry{Reference: name + "@" + bad.Digest().String(), Digest: bad.Digest()}, gate.StateFail)
		s.wants(gate.Inquiry{Reference: name + ":good", Digest: good.Digest()}, gate.StatePass)
		s.wants(gate.Inquiry{Reference: name + ":good@" + good.Digest().String(), Digest: good.Digest()}, gate.StatePass)
	}
	s.wants(gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: digest.FromString("never seen")}, gate.StateUnknown)
	s.wants(gate.Inquiry{Reference: "elsewhere.example/team/app:1", Digest: good.Digest()}, gate.StateUnmapped)
	s.wants(gate.Inquiry{Reference: "127.0.0.1:5000/team/app:good", Digest: good.Digest(), Policy: "no such"}, gate.StateError)
}

// An index stands as the worst of the platforms that the cluster has.
func TestStandingOfAnIndex(t *testing.T) {
	s := share(t, gatetest.Options{})
	amd := it.BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, it.Gzip(it.Alpine([]it.Apk{it.GoodSSL})...))
	arm := it.BuildFor(image.Platform{OS: "linux", Architecture: "arm64"}, it.Gzip(it.Alpine([]it.Apk{it.VulnerableSSL})...))
	index := it.BuildIndex(amd, arm)
	for _, im := range []it.Image{amd, arm} {
		s.upload("team/app", im)
		s.tag("team/app", "part-"+im.Digest().Encoded()[:8], im.Manifest)
	}
	s.tag("team/app", "1", index.Raw)
	for _, tt := range []struct {
		platforms []string
		want      gate.State
	}{
		{[]string{"linux/amd64"}, gate.StatePass},
		{[]string{"linux/arm64"}, gate.StateFail},
		{[]string{"linux/amd64", "linux/arm64"}, gate.StateFail},
		{nil, gate.StateFail},
		{[]string{"windows/amd64"}, gate.StateUnknown},
		{[]string{"linux/arm64/v8"}, gate.StateFail},
	} {
		s.wants(gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: index.Digest(), Platforms: tt.platforms}, tt.want)
	}
}

// A child without a platform may run anywhere: nodes look into its configuration.
func TestStandingOfAChildWithoutPlatform(t *testing.T) {
	s := share(t, gatetest.Options{})
	good, bad := it.Clean(), it.Vulnerable()
	index := it.BuildIndex(good, bad)
	var doc map[string]any
	if err := json.Unmarshal(index.Raw, &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc["manifests"].([]any)[1].(map[string]any), "platform")
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	s.push("team/app", "good", good)
	s.upload("team/app", bad)
	if err := s.Local.PutManifest(t.Context(), "team/app", bad.Digest().String(), image.MediaTypeManifest, bad.Manifest); err != nil {
		t.Fatal(err)
	}
	if err := s.Local.PutManifest(t.Context(), "team/app", "1", image.MediaTypeIndex, raw); err != nil {
		t.Fatal(err)
	}
	i := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: digest.FromBytes(raw), Platforms: []string{"linux/amd64"}}
	if err := s.remote.Want(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	s.wants(i, gate.StateFail)
}

// A tag that is only typed beside a digest chooses no rules.
func TestTypedTags(t *testing.T) {
	s := share(t, gatetest.Options{})
	bad, good := it.Vulnerable(), it.Clean()
	s.push("team/app", "release", good)
	s.push("team/app", "test", bad)
	lenient := `{"id":"lenient","name":"lenient","version":"1_0","policies":[{"id":"none","name":"none","version":"1_0","rules":[]},
		{"id":"stop","name":"stop","version":"1_0","rules":[{"id":"1","gate":"always","trigger":"always","action":"STOP","params":[]}]}],"whitelists":[],
		"whitelisted_images":[],"blacklisted_images":[],"mappings":[
		{"id":"1","name":"releases","registry":"*","repository":"*","image":{"type":"tag","value":"release"},"policy_ids":["none"],"whitelist_ids":[]},
		{"id":"2","name":"rest","registry":"*","repository":"*","image":{"type":"tag","value":"*"},"policy_ids":["stop"],"whitelist_ids":[]}]}`
	if _, err := s.Gate.AddPolicy(t.Context(), []byte(lenient)); err != nil {
		t.Fatal(err)
	}
	name := "127.0.0.1:5000/team/app"
	ask := func(reference string, im it.Image, want gate.State) {
		t.Helper()
		i := gate.Inquiry{Reference: reference, Digest: im.Digest(), Policy: "lenient"}
		if s.remote.Standing(t.Context(), i).State == gate.StatePending { // never judged by this policy
			if err := s.remote.Want(t.Context(), i); err != nil {
				t.Error(err)
			}
		}
		s.wants(i, want)
	}
	ask(name+":release", good, gate.StatePass)
	ask(name+":release@"+good.Digest().String(), good, gate.StatePass)
	ask(name+":release@"+bad.Digest().String(), bad, gate.StateFail)
	ask(name+":test", bad, gate.StateFail)
}

// What the gate never saw is analysed because somebody beside it wants it.
func TestWanted(t *testing.T) {
	s := share(t, gatetest.Options{})
	bad := it.Vulnerable()
	s.upload("team/app", bad)
	if err := s.Local.PutManifest(t.Context(), "team/app", "1", "application/vnd.oci.image.manifest.v1+json", bad.Manifest); err != nil {
		t.Fatal(err)
	}
	i := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: bad.Digest()}
	s.wants(i, gate.StateUnknown)
	for range 3 {
		if err := s.remote.Want(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	s.wants(i, gate.StateFail)
	if err := s.remote.Want(t.Context(), gate.Inquiry{Reference: "elsewhere.example/app", Digest: bad.Digest()}); err == nil {
		t.Error("an image of a registry that is not configured was queued")
	}
}

// Another policy is in force for everybody at once.
func TestPolicyReachesBoth(t *testing.T) {
	s := share(t, gatetest.Options{})
	bad := it.Vulnerable()
	s.push("team/app", "1", bad)
	i := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: bad.Digest()}
	s.wants(i, gate.StateFail)
	policies, err := s.Gate.Policies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := slices.IndexFunc(policies, func(p gate.Policy) bool { return !p.Active })
	began := time.Now()
	if _, err := s.Gate.Activate(t.Context(), policies[other].ID); err != nil {
		t.Fatal(err)
	}
	for s.remote.Standing(t.Context(), i).Policy != policies[other].ID {
		if time.Since(began) > 5*time.Second {
			t.Fatal("the remote does not come to know the other policy")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("known beside the gate after %v", time.Since(began))
}

// Without Redis, memory answers for a while; a process that has just begun
// cannot say, and says so fast.
func TestRemoteWithoutRedis(t *testing.T) {
	s := share(t, gatetest.Options{})
	bad, good := it.Vulnerable(), it.Clean()
	s.push("team/app", "bad", bad)
	s.push("team/app", "good", good)
	ask := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:bad", Digest: bad.Digest()}
	s.wants(ask, gate.StateFail)
	fresh := s.another()
	s.redis.Close()
	s.Clock.Move(time.Minute)
	if got := s.remote.Standing(t.Context(), ask); got.State != gate.StateFail {
		t.Errorf("memory says %+v", got)
	}
	unseen := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:good", Digest: good.Digest()}
	for name, r := range map[string]*gate.Remote{"with the rules": s.remote, "without": fresh} {
		if got := r.Standing(t.Context(), unseen); got.State != gate.StateError || !strings.Contains(got.Message, "redis does not answer") {
			t.Errorf("%s, memory says %+v", name, got)
		}
		if err := r.Want(t.Context(), unseen); !errors.Is(err, verdicts.ErrUnreachable) {
			t.Errorf("%s: Want = %v", name, err)
		}
	}
	s.Clock.Move(time.Hour)
	if got := s.remote.Standing(t.Context(), ask); got.State != gate.StateError {
		t.Errorf("after an hour memory says %+v", got)
	}
	if err := s.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	s.Clock.Move(time.Minute) // past the breaker's pause
	s.wants(ask, gate.StateFail)
}

// A hanging Redis costs its own deadline, not the caller's, and once.
func TestRemoteInTime(t *testing.T) {
	s := share(t, gatetest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: digest.FromString("x")}
	if got := s.another().Standing(ctx, i); got.State != gate.StateError {
		t.Errorf("a cancelled inquiry says %+v", got)
	}
}
