package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/gate"
)

// home keeps what it is told.
type home struct {
	mu         sync.Mutex
	broken     bool
	exceptions []bundle.Exception
	running    cluster.RunningReport
	noted      map[string]gate.Admitted // what admission let in, by reference
}

func (h *home) PutExceptions(_ context.Context, _ string, list []bundle.Exception) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		return errors.New("nobody is at home")
	}
	h.exceptions = list
	return nil
}

func (h *home) PutRunning(_ context.Context, _ string, doc any) error {
	raw, err := json.Marshal(doc)
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(err, json.Unmarshal(raw, &h.running))
}

func (h *home) NoteAdmitted(_ context.Context, list []gate.Admitted) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range list {
		h.noted[a.Reference] = a
	}
	return nil
}

func (h *home) StillRuns(ctx context.Context, a gate.Admitted) error {
	return h.NoteAdmitted(ctx, []gate.Admitted{a})
}

func (h *home) Admitted(_ context.Context, a gate.Admitted) (*gate.Admitted, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, ok := h.noted[a.Reference]
	if !ok || a.Cluster != "prod" || a.Namespace != "shop" {
		return nil, nil
	}
	return &found, nil
}

func (h *home) ids() (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.exceptions {
		ids = append(ids, e.ID)
	}
	return ids
}

func (h *home) breakDown(broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = broken
}

const exceptionsPath = "/apis/pratique.io/v1alpha1/imageexceptions/"

// exception is an ImageException that holds for a month.
func exception(clock *clock, change func(spec object)) object {
	spec := object{
		"owner": "team web", "reason": "not reachable from outside", "expires": clock.Now().Add(30 * day).Format(time.RFC3339),
		"scope":    object{"images": []any{"docker.io/library/nginx"}, "namespaces": []any{"shop"}, "pulls": true},
		"findings": []any{object{"triggerID": "CVE-2030-1", "packageVersion": "1.2"}},
	}
	if change != nil {
		change(spec)
	}
	return object{"metadata": object{"creationTimestamp": clock.Now().Format(time.RFC3339), "generation": 3}, "spec": spec}
}

func (s *standin) status(name string) string {
	st, _ := s.get(exceptionsPath + name)["status"].(object)
	return fmt.Sprint(st["state"], " ", st["message"])
}

func newExceptions(t *testing.T, s *standin, h *home, clock *clock) *cluster.Exceptions {
	t.Helper()
	leader, err := cluster.NewLeader(leaderConfig("one"), s.client(), silent())
	if err != nil {
		t.Fatal(err)
	}
	e := cluster.NewExceptions(cluster.ExceptionConfig{Enabled: true}, cluster.ExceptionDeps{
		Client: s.client(), Dynamic: s.dynamic(), Leader: leader, Home: h, Cluster: "prod", Log: silent(), Now: clock.Now,
	})
	start(t, leader.Run)
	return e
}

func TestExceptions(t *testing.T) {
	s, h, clock := newStandin(t, "exceptions", "leader"), &home{}, newClock()
	s.install("pratique.io/v1alpha1", "imageexceptions")
	s.put(exceptionsPath+"good", exception(clock, nil))
	s.put(exceptionsPath+"soon", exception(clock, func(spec object) { spec["expires"] = clock.Now().Add(day).Format(time.RFC3339) }))
	for name, change := range map[string]func(object){
		"over":     func(spec object) { spec["expires"] = clock.Now().Add(-time.Minute).Format(time.RFC3339) },
		"nobody's": func(spec object) { delete(spec, "owner") },
		"endless":  func(spec object) { delete(spec, "expires") },
		"long":     func(spec object) { spec["expires"] = clock.Now().Add(400 * day).Format(time.RFC3339) },
		"garbled":  func(spec object) { spec["scope"] = "all" },
	} {
		s.put(exceptionsPath+name, exception(clock, change))
	}
	e := newExceptions(t, s, h, clock)
	eventually(t, "the good ones are told", func() bool { return slices.Equal(h.ids(), []string{"prod/good", "prod/soon"}) })
	want := bundle.Exception{
		ID: "prod/good", Owner: "team web", Reason: "not reachable from outside", Expires: clock.Now().Add(30 * day),
		Scope:    bundle.Scope{Cluster: "prod", Images: []string{"docker.io/library/nginx"}, Namespaces: []string{"shop"}, Pulls: true},
		Findings: []bundle.ExceptedFinding{{TriggerID: "CVE-2030-1", PackageVersion: "1.2"}},
	}
	if diff := cmp.Diff(want, h.exceptions[0]); diff != "" {
		t.Errorf("what home is told (-want +got):\n%s", diff)
	}
	for name, words := range map[string]string{
		"good": "Active", "over": "Expired", "nobody's": "Invalid owner", "endless": "Invalid expires", "long": "Invalid expires: at most 8760h0m0s", "garbled": "Invalid",
	} {
		eventually(t, name+" says "+words, func() bool { return strings.HasPrefix(s.status(name), words) })
	}
	figures := `# HELP pratique_image_exceptions ImageExceptions of the cluster by state, as the leading replica knows them; expiring ones run out within a week, and are active too.
# TYPE pratique_image_exceptions gauge
pratique_image_exceptions{state="active"} 2
pratique_image_exceptions{state="expired"} 1
pratique_image_exceptions{state="expiring"} 1
pratique_image_exceptions{state="invalid"} 4
pratique_image_exceptions{state="pending"} 0
`
	eventually(t, "the figures say so", func() bool { return testutil.CollectAndCompare(e, strings.NewReader(figures)) == nil })
	s.remove(exceptionsPath + "good")
	eventually(t, "one that is deleted is taken back", func() bool { return slices.Equal(h.ids(), []string{"prod/soon"}) })
	h.breakDown(true)
	s.put(exceptionsPath+"late", exception(clock, nil))
	eventually(t, "one that nobody knows yet says so", func() bool { return strings.HasPrefix(s.status("late"), "Pending") })
	h.breakDown(false)
	clock.Add(2 * day)
	s.put(exceptionsPath+"last", exception(clock, nil))
	eventually(t, "what has run out meanwhile is taken back", func() bool { return slices.Equal(h.ids(), []string{"prod/last", "prod/late"}) })
	eventually(t, "all is well again", func() bool {
		return strings.HasPrefix(s.status("late"), "Active") && strings.HasPrefix(s.status("soon"), "Expired")
	})
	if n := s.count("patch imageexceptions/status"); n > 20 {
		t.Errorf("%d statuses were written", n)
	}
}

// A policy that changes is asked about at once, and home comes to know what runs
// and how it came in.
func TestInventoryFollowsTheRulesAndTellsHome(t *testing.T) {
	s, g, h := newShop(t, "events"), newStandings(), &home{}
	g.set(digestA, gate.StatePass)
	s.putPod(podsPath+"other", "web-1", "quay.io/moved:1@"+digestC)
	h.noted = map[string]gate.Admitted{
		"docker.io/library/nginx:1": {Reference: "docker.io/library/nginx:1", Digest: digestA},
		"quay.io/moved:1":           {Reference: "quay.io/moved:1", Digest: digestB},
	}
	var mu sync.Mutex
	basis := "1"
	cfg := inventoryConfig()
	cfg.Interval, cfg.Reports = time.Hour, cluster.ReportsNone
	i := newInventoryWith(t, "one", cfg, cluster.InventoryDeps{Client: s.client(), Dynamic: s.dynamic(), Standings: g, Cluster: "prod", Admitted: h, Home: h,
		Basis: func(context.Context) string {
			mu.Lock()
			defer mu.Unlock()
			return basis
		}})
	start(t, i.Run)
	how := func() (all []string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, r := range h.running.Images {
			all = append(all, fmt.Sprintf("%s %s/%s %s", r.Standing.State, r.Namespace, r.Reference, r.Admission))
		}
		return all
	}
	eventually(t, "home knows", func() bool {
		return slices.Equal(how(), []string{"unknown shop/quay.io/moved:1 other", "unknown shop/quay.io/side:2 none", "pass shop/docker.io/library/nginx:1 admitted"})
	})
	g.set(digestA, gate.StateFail)
	mu.Lock()
	basis = "2"
	mu.Unlock()
	eventually(t, "what another policy says is known", func() bool {
		return len(how()) > 0 && strings.HasPrefix(how()[0], "fail shop/docker.io/library/nginx:1")
	})
	want := map[string]float64{"admitted": 1, "other": 1, "none": 1, "unknown": 0}
	text := "# HELP pratique_running_images_by_admission Images that run in the cluster, by how they came in: this very image was admitted, another one under its name, none, or unknown.\n# TYPE pratique_running_images_by_admission gauge\n"
	for _, label := range []string{"admitted", "none", "other", "unknown"} {
		text += fmt.Sprintf("pratique_running_images_by_admission{admission=%q} %v\n", label, want[label])
	}
	if err := testutil.CollectAndCompare(i, strings.NewReader(text), "pratique_running_images_by_admission"); err != nil {
		t.Error(err)
	}
}
