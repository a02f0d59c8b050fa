package admission_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/gate"
)

// memory is what admissions are noted in.
type memory struct {
	mu    sync.Mutex
	noted []gate.Admitted
	err   error
}

func (m *memory) NoteAdmitted(_ context.Context, list []gate.Admitted) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noted = append(m.noted, list...)
	return m.err
}

func (m *memory) StillRuns(context.Context, gate.Admitted) error { return nil }

func (m *memory) Admitted(context.Context, gate.Admitted) (*gate.Admitted, error) { return nil, nil }

func (m *memory) all() (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.noted {
		lines = append(lines, strings.Join([]string{a.Cluster, a.Namespace, a.Reference, a.Digest.String(), string(a.State), a.Answer}, " "))
	}
	return lines
}

// TestRemembered: what is let in of pods is noted behind the answer; what is
// refused, tried or no pod is not.
func TestRemembered(t *testing.T) {
	notes := &memory{err: errors.New("the store is away")} // and nobody is refused for it
	w, _, _, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) {
		o.Admissions, o.Config.Cluster = notes, "prod"
	})
	want(t, w, creation(pod(evil, good)), admission.Deny)
	dry := creation(pod(good))
	yes := true
	dry.DryRun = &yes
	want(t, w, dry, admission.Allow)
	want(t, w, creation(m{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": m{"name": "web"}, "spec": m{"template": m{"spec": m{"containers": containers(good)}}}}), admission.Allow)
	want(t, w, creation(pod(good, doubt)), admission.Warn)
	expected := []string{"prod shop " + doubt + " " + digestOf(doubt).String() + " warn warn", "prod shop " + good + " " + digestOf(good).String() + " pass allow"}
	for deadline := time.Now().Add(15 * time.Second); len(notes.all()) < 2 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := notes.all(); !slices.Equal(got, expected) {
		t.Errorf("noted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(expected, "\n"))
	}
}

// TestExceptionsThatRunOut: who gets in by an exception is told when it ends, if
// that is soon, and the gate is asked for the namespace's exceptions.
func TestExceptionsThatRunOut(t *testing.T) {
	for _, tt := range []struct {
		name string
		left time.Duration
		want string
	}{{"soon", 24 * time.Hour, admission.Warn}, {"later", 30 * 24 * time.Hour, admission.Allow}} {
		t.Run(tt.name, func(t *testing.T) {
			g, end := told(), time.Now().Add(tt.left)
			st := g.verdicts[digestOf(good)]
			st.Expires = end
			g.verdicts[digestOf(good)] = st
			w := start(t, func(o *admission.Options) { o.Standings, o.Config.Cluster = g, "prod" })
			res := want(t, w, creation(pod(good)), tt.want)
			if tt.want == admission.Warn && (len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "runs out at "+end.UTC().Format(time.RFC3339))) {
				t.Errorf("warnings %q", res.Warnings)
			}
			if !strings.Contains(res.AuditAnnotations["images"], "excepted_until") {
				t.Errorf("the audit log does not say so: %v", res.AuditAnnotations)
			}
			if asked := g.inquiries(); len(asked) != 1 || asked[0].Cluster != "prod" || asked[0].Namespace != "shop" {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// TestRefusalsAreTold: what is refused is told with who made it; what is tried or
// let in is not.
func TestRefusalsAreTold(t *testing.T) {
	var told []admission.Refusal
	w := start(t, func(o *admission.Options) { o.Refused = func(r admission.Refusal) { told = append(told, r) } })
	owned := pod(evil)
	owned["metadata"] = m{"generateName": "web-", "namespace": "shop", "ownerReferences": []any{m{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": true}}}
	want(t, w, creation(owned), admission.Deny)
	want(t, w, creation(pod(evil)), admission.Deny)
	want(t, w, creation(pod(doubt)), admission.Warn)
	dry, yes := creation(pod(evil)), true
	dry.DryRun = &yes
	want(t, w, dry, admission.Deny)
	if len(told) != 2 || told[0].Controller == nil || told[0].Controller.Name != "web-1" || told[0].Object.Name != "web-" || told[1].Controller != nil {
		t.Fatalf("told %+v", told)
	}
	if o := told[1].Object; o.Kind != "Pod" || o.Namespace != "shop" || o.Name != "web" || !strings.Contains(told[1].Message, "CVE-2023-0286") {
		t.Errorf("told %+v", told[1])
	}
}
