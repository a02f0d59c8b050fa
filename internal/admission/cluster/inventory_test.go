package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/gate"
)

// standings is a gate whose answers a test sets.
type standings struct {
	mu     sync.Mutex
	states map[digest.Digest]gate.State
	asked  map[digest.Digest]int
	wanted map[digest.Digest]int
	counts map[digest.Digest][]string // platforms of the last question
}

func newStandings() *standings {
	return &standings{states: map[digest.Digest]gate.State{}, asked: map[digest.Digest]int{}, wanted: map[digest.Digest]int{}, counts: map[digest.Digest][]string{}}
}

func (s *standings) Standing(_ context.Context, i gate.Inquiry) gate.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[i.Digest]++
	s.counts[i.Digest] = i.Platforms
	state := s.states[i.Digest]
	if state == "" {
		state = gate.StateUnknown
	}
	return gate.Standing{State: state, Digest: i.Digest, Policy: "strict", Message: "because it is " + string(state),
		Report: "http://pratique/report/" + i.Digest.String(), Evaluated: time.Unix(1_900_000_000, 5)}
}

func (s *standings) Want(_ context.Context, i gate.Inquiry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[i.Digest]++
	return nil
}

func (s *standings) set(d digest.Digest, state gate.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[d] = state
}

func (s *standings) platforms(d digest.Digest) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[d]
}

func (s *standings) times(d digest.Digest) (asked, wanted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[d], s.wanted[d]
}

const (
	podsPath    = "/api/v1/namespaces/shop/pods/"
	eventsPath  = "/api/v1/namespaces/shop/events/"
	openPath    = "/apis/openreports.io/v1alpha1/namespaces/shop/reports/"
	policyPath  = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/shop/policyreports/"
	replicaPath = "/apis/apps/v1/namespaces/shop/replicasets/"
)

func controller(apiVersion, kind, name string) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID("uid-of-" + name), Controller: &yes}}
}

// putPod stores a running pod of a ReplicaSet of that name; "" for none.
func (s *standin) putPod(path, owner string, images ...string) {
	pod := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	if owner != "" {
		pod.OwnerReferences = controller("apps/v1", "ReplicaSet", owner)
	}
	for i, image := range images {
		name := fmt.Sprintf("c%d", i)
		tagged, pulled, _ := strings.Cut(image, "@")
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: tagged})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, Image: tagged, ImageID: "docker.io/library/x@" + pulled})
	}
	s.put(path, pod)
}

// newShop is a cluster with a Deployment of two pods.
func newShop(t *testing.T, parts ...string) *standin {
	t.Helper()
	s := newStandin(t, append(parts, "inventory", "leader")...)
	s.put(replicaPath+"web-1", appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{OwnerReferences: controller("apps/v1", "Deployment", "web")}})
	s.putPod(podsPath+"web-1-a", "web-1", "nginx:1@"+digestA, "quay.io/side:2@"+digestB)
	s.putPod(podsPath+"web-1-b", "web-1", "nginx:1@"+digestA, "quay.io/side:2@"+digestB)
	return s
}

func inventoryConfig() cluster.InventoryConfig {
	return cluster.InventoryConfig{Interval: time.Second, Rate: 1000, Events: true}
}

func leaderConfig(identity string) cluster.LeaderConfig {
	return cluster.LeaderConfig{Namespace: ownNamespace, Lease: "inventory", Identity: identity, Duration: 3 * time.Second}
}

// inventory is that of one replica, with the leader that lets it write.
type inventory struct {
	*cluster.Inventory
	leader *cluster.Leader
}

func (i *inventory) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return i.Inventory.Run(ctx) })
	g.Go(func() error { return i.leader.Run(ctx) })
	return g.Wait()
}

func newInventory(t *testing.T, s *standin, g gate.Standings, identity string, cfg cluster.InventoryConfig) *inventory {
	t.Helper()
	return newInventoryWith(t, identity, cfg, cluster.InventoryDeps{Client: s.client(), Dynamic: s.dynamic(), Standings: g})
}

func newInventoryWith(t *testing.T, identity string, cfg cluster.InventoryConfig, d cluster.InventoryDeps) *inventory {
	t.Helper()
	leader, err := cluster.NewLeader(leaderConfig(identity), d.Client, silent())
	if err != nil {
		t.Fatal(err)
	}
	d.Leader, d.Log = leader, silent()
	i, err := cluster.NewInventory(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return &inventory{i, leader}
}

// summary is what an inventory lists, in short.
func summary(i *inventory) (lines []string) {
	for _, r := range i.Running() {
		var of []string
		for _, w := range r.Workloads {
			of = append(of, w.String())
		}
		lines = append(lines, fmt.Sprintf("%s %s %d %s", r.Standing.State, r.Reference, r.Pods, strings.Join(of, ",")))
	}
	return lines
}

// events are those of the cluster: type, reason, object, text.
func (s *standin) events() (all []string) {
	for _, e := range s.under(eventsPath) {
		of := e["involvedObject"].(object)
		all = append(all, fmt.Sprintf("%s %s %s/%s: %s", e["type"], e["reason"], of["kind"], of["name"], e["message"]))
	}
	return all
}

func TestInventory(t *testing.T) {
	s, g := newShop(t, "events"), newStandings()
	g.set(digestA, gate.StatePass)
	s.putPod(podsPath+"bare", "", "quay.io/bare:1@"+digestC)
	i := newInventory(t, s, g, "one", inventoryConfig())
	start(t, i.Run)
	eventually(t, "all is known", func() bool {
		return cmp.Equal(summary(i), []string{
			"unknown quay.io/bare:1 1 Pod shop/bare",
			"unknown quay.io/side:2 2 Deployment shop/web",
			"pass docker.io/library/nginx:1 2 Deployment shop/web",
		})
	})
	eventually(t, "leads", func() bool { return s.count("update leases") > 0 })
	if e := s.events(); len(e) > 0 {
		t.Errorf("events about nothing: %q", e)
	}
	g.set(digestA, gate.StateFail)
	i.Recheck()
	want := "Warning ImageVerdictFail Deployment/web: running image docker.io/library/nginx:1@" + digestA + ": fail (was pass): because it is fail"
	eventually(t, "the flip is told", func() bool { return slices.Contains(s.events(), want) })
	g.set(digestA, gate.StateError) // a store is away: that is no flip
	i.Recheck()
	g.set(digestA, gate.StatePass)
	i.Recheck()
	want = "Normal ImageVerdictPass Deployment/web: running image docker.io/library/nginx:1@" + digestA + ": pass (was fail): because it is pass"
	eventually(t, "the way back is told", func() bool { return slices.Contains(s.events(), want) })
	if e := s.events(); len(e) != 2 {
		t.Errorf("events: %q", e)
	}
	// A pod that goes and comes is no news; one that is stopped at first sight is.
	s.remove(podsPath + "web-1-a")
	s.remove(podsPath + "web-1-b")
	s.putPod(podsPath+"web-1-c", "web-1", "nginx:1@"+digestA)
	g.set(digestC, gate.StateFail)
	i.Recheck()
	eventually(t, "first sight is told", func() bool { return len(s.events()) == 3 })
	if _, wanted := g.times(digestB); wanted != 0 {
		t.Error("an analysis was asked for though it is off")
	}
	for name, n := range map[string]int{"pratique_running_images": 8, "pratique_running_image_flips_total": 3, "pratique_inventory_leader": 1} {
		if got := testutil.CollectAndCount(i, name); got != n {
			t.Errorf("%s: %d figures", name, got)
		}
	}
}

func TestAnalysisOfWhatRuns(t *testing.T) {
	s, g := newShop(t, "events"), newStandings()
	cfg := inventoryConfig()
	cfg.Analyse = true
	start(t, newInventory(t, s, g, "one", cfg).Run)
	eventually(t, "asked for", func() bool { _, wanted := g.times(digestA); return wanted > 0 })
}

func TestReports(t *testing.T) {
	for _, c := range []struct {
		name, groupVersion, resource, path, kind string
	}{
		{"OpenReports", "openreports.io/v1alpha1", "reports", openPath, "Report"},
		{"PolicyReport", "wgpolicyk8s.io/v1alpha2", "policyreports", policyPath, "PolicyReport"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := newShop(t, "reports", "events"), newStandings()
			s.install(c.groupVersion, c.resource)
			g.set(digestA, gate.StateFail)
			g.set(digestB, gate.StateWarn)
			i := newInventory(t, s, g, "one", inventoryConfig())
			start(t, i.Run)
			path := c.path + "pratique-uid-of-web"
			eventually(t, "the report is there", func() bool { r := s.get(path); return r != nil && len(r["results"].([]any)) == 2 })
			r := s.get(path)
			results := r["results"].([]any)
			if diff := cmp.Diff(object{
				"source": "pratique", "policy": "strict", "rule": "image", "category": "image", "scored": true, "result": "fail",
				"message": "because it is fail", "timestamp": object{"seconds": 1.9e9, "nanos": 5.0},
				"properties": object{"image": "docker.io/library/nginx:1", "digest": digestA, "state": "fail", "report": "http://pratique/report/" + digestA},
			}, results[0].(object)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(object{"pass": 0.0, "fail": 1.0, "warn": 1.0, "error": 0.0, "skip": 0.0}, r["summary"].(object)); diff != "" {
				t.Error(diff)
			}
			owner := metadata(r)["ownerReferences"].([]any)[0].(object)
			if owner["kind"] != "Deployment" || owner["uid"] != "uid-of-web" || r["kind"] != c.kind || r["scope"].(object)["name"] != "web" {
				t.Errorf("report %v", r)
			}
			writes := s.count("patch " + c.resource)
			i.Recheck()
			g.set(digestA, gate.StatePass)
			i.Recheck()
			eventually(t, "the report follows", func() bool { return s.get(path)["summary"].(object)["pass"] == 1.0 })
			if n := s.count("patch "+c.resource) - writes; n != 1 {
				t.Errorf("%d writes for one change", n)
			}
			s.remove(podsPath + "web-1-a")
			s.remove(podsPath + "web-1-b")
			eventually(t, "the report goes with the last pod", func() bool { return s.get(path) == nil })
		})
	}
}

// Reports of workloads that stopped while nobody led are swept; others' are not.
func TestSweep(t *testing.T) {
	s, g := newShop(t, "reports", "events"), newStandings()
	s.install("wgpolicyk8s.io/v1alpha2", "policyreports")
	report := func(name, uid string) {
		s.put(policyPath+name, object{"metadata": object{"name": name, "labels": object{"app.kubernetes.io/managed-by": "pratique"},
			"ownerReferences": []any{object{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": uid}}}})
	}
	report("pratique-gone", "gone")
	report("pratique-uid-of-web", "uid-of-web")
	report("of-somebody-else", "gone")
	start(t, newInventory(t, s, g, "one", inventoryConfig()).Run)
	eventually(t, "swept", func() bool { return s.get(policyPath+"pratique-gone") == nil })
	if s.get(policyPath+"pratique-uid-of-web") == nil || s.get(policyPath+"of-somebody-else") == nil {
		t.Error("too much was swept")
	}
}

func TestReportLimits(t *testing.T) {
	s, g := newShop(t, "reports", "events"), newStandings()
	s.install("openreports.io/v1alpha1", "reports")
	var images []string
	for n := range 12 {
		d := digest.FromString(fmt.Sprint(n))
		images = append(images, fmt.Sprintf("quay.io/i%d:1@%s", n, d))
		g.set(d, gate.StatePass)
	}
	g.set(digest.FromString("7"), gate.StateFail)
	s.putPod(podsPath+"many", "", images...)
	cfg := inventoryConfig()
	cfg.MaxResults = 5
	start(t, newInventory(t, s, g, "one", cfg).Run)
	path := openPath + "pratique-uid-of-many"
	eventually(t, "all are counted", func() bool {
		r := s.get(path)
		return r != nil && r["summary"].(object)["pass"] == 11.0 && r["summary"].(object)["fail"] == 1.0
	})
	r := s.get(path)
	if results := r["results"].([]any); len(results) != 5 || results[0].(object)["result"] != "fail" {
		t.Errorf("%d results, first %v", len(results), results[0])
	}
}

// Of two replicas one writes; when it goes, the other does.
func TestLeader(t *testing.T) {
	s, g := newShop(t, "events"), newStandings()
	g.set(digestA, gate.StatePass)
	one, two := newInventory(t, s, g, "one", inventoryConfig()), newInventory(t, s, g, "two", inventoryConfig())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- one.Run(ctx) }()
	leads := func(i *inventory) bool {
		return testutil.CollectAndCompare(i, strings.NewReader("# HELP pratique_inventory_leader 1 if this replica writes Events and reports.\n# TYPE pratique_inventory_leader gauge\npratique_inventory_leader 1\n"), "pratique_inventory_leader") == nil
	}
	eventually(t, "the first leads", func() bool { return leads(one) })
	start(t, two.Run)
	eventually(t, "the second follows", func() bool { return len(summary(two)) == 2 })
	g.set(digestA, gate.StateFail)
	one.Recheck()
	two.Recheck()
	eventually(t, "told", func() bool { return len(s.events()) == 1 })
	if leads(two) {
		t.Error("both lead")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	eventually(t, "the second leads", func() bool { return leads(two) })
	g.set(digestA, gate.StatePass)
	two.Recheck()
	eventually(t, "the second tells", func() bool {
		return slices.ContainsFunc(s.events(), func(e string) bool { return strings.HasPrefix(e, "Normal ImageVerdictPass") })
	})
}

func TestEviction(t *testing.T) {
	s, g := newShop(t, "events", "eviction"), newStandings()
	bad := func(path, owner string) { s.putPod(path, owner, "quay.io/bad:1@"+digestC) }
	for _, namespace := range []string{"kube-system", ownNamespace, "spared"} {
		bad("/api/v1/namespaces/"+namespace+"/pods/a-"+namespace, "set")
	}
	bad(podsPath+"bad-1", "one-set")
	bad(podsPath+"bare", "")
	bad(podsPath+"held", "held-set")
	s.refuse = func(verb string, a ask) int {
		if a.sub == "eviction" && a.name == "held" {
			return http.StatusTooManyRequests
		}
		return 0
	}
	g.set(digestC, gate.StateFail)
	cfg := inventoryConfig()
	cfg.Eviction = cluster.EvictionConfig{Enabled: true, PerMinute: 60, After: 1, Except: []string{"spared"}}
	i := newInventory(t, s, g, "one", cfg)
	start(t, i.Run)
	eventually(t, "the pod is gone", func() bool { return s.get(podsPath+"bad-1") == nil })
	eventually(t, "the other was tried", func() bool { return s.count("create pods/eviction") >= 2 })
	time.Sleep(1500 * time.Millisecond) // for one tick too many
	for _, path := range []string{"/api/v1/namespaces/kube-system/pods/a-kube-system", "/api/v1/namespaces/pratique/pods/a-pratique",
		"/api/v1/namespaces/spared/pods/a-spared", podsPath + "bare", podsPath + "held", podsPath + "web-1-a"} {
		if s.get(path) == nil {
			t.Errorf("%s was evicted", path)
		}
	}
	if n := s.count("create pods/eviction"); n != 2 {
		t.Errorf("%d evictions were asked for", n)
	}
	eventually(t, "told", func() bool {
		return slices.ContainsFunc(s.events(), func(e string) bool { return strings.Contains(e, "ImageEvicted") })
	})
}

func TestEvictionIsOff(t *testing.T) {
	s, g := newShop(t, "events"), newStandings()
	g.set(digestA, gate.StateFail)
	i := newInventory(t, s, g, "one", inventoryConfig())
	start(t, i.Run)
	eventually(t, "told", func() bool { return len(s.events()) > 0 })
	if n := s.count("create pods/eviction"); n != 0 {
		t.Errorf("%d evictions", n)
	}
}

func TestInventoryConfig(t *testing.T) {
	for want, change := range map[string]func(*cluster.InventoryConfig){
		"":            func(*cluster.InventoryConfig) {},
		"reports":     func(c *cluster.InventoryConfig) { c.Reports = "all" },
		"interval":    func(c *cluster.InventoryConfig) { c.Interval = 1 },
		"max_results": func(c *cluster.InventoryConfig) { c.MaxResults = 5000 },
		"per_minute":  func(c *cluster.InventoryConfig) { c.Eviction.PerMinute = 1000 },
	} {
		cfg := inventoryConfig()
		change(&cfg)
		if err := cfg.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := cluster.NewLeader(cluster.LeaderConfig{Namespace: ownNamespace, Identity: "one"}, nil, silent()); err == nil {
		t.Error("a leader without a lease")
	}
}
