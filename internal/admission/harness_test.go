package admission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// TestMain sees to it that nothing goes on when the tests are over.
func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := leftOver()
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = max(code, 1)
			break
		}
	}
	os.Exit(code)
}

// leftOver gives the stacks of all goroutines but this one, and those that
// Kubernetes' libraries begin when they are loaded, and a gate's caches when they
// are made, and never end.
func leftOver() []string {
	buf := make([]byte, 1<<20)
	var left []string
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		own := strings.Contains(stack, "admission_test.leftOver") || strings.Contains(stack, "os/signal")
		if !own && !strings.Contains(stack, "k8s.io/klog") && !strings.Contains(stack, "golang-lru/v2/expirable") {
			left = append(left, stack)
		}
	}
	return left
}

// gateStub is a gate that was told everything. Digests that it was not told of
// are unknown.
type gateStub struct {
	delay time.Duration // unless ctx ends before

	mu       sync.Mutex
	verdicts map[digest.Digest]gate.Standing
	asked    []gate.Inquiry
	wanted   []gate.Inquiry
	wantErr  error
}

func (g *gateStub) Standing(ctx context.Context, i gate.Inquiry) gate.Standing {
	select {
	case <-time.After(g.delay):
	case <-ctx.Done():
		// What a careless gate might say when it is interrupted.
		return gate.Standing{State: gate.StatePass, Message: "cancelled"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, i)
	if st, ok := g.verdicts[i.Digest]; ok {
		return st
	}
	return gate.Standing{State: gate.StateUnknown, Message: "never seen here"}
}

func (g *gateStub) Want(_ context.Context, i gate.Inquiry) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted = append(g.wanted, i)
	return g.wantErr
}

// turn changes the state of an image.
func (g *gateStub) turn(ref string, state gate.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.verdicts[digestOf(ref)]
	st.State = state
	g.verdicts[digestOf(ref)] = st
}

func (g *gateStub) inquiries() []gate.Inquiry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]gate.Inquiry(nil), g.asked...)
}

func (g *gateStub) wants() []gate.Inquiry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]gate.Inquiry(nil), g.wanted...)
}

// registryStub resolves every tag to the digest of its name, unless it is told
// otherwise.
type registryStub struct {
	delay time.Duration

	mu    sync.Mutex
	moved map[string]digest.Digest // reference in full
	fails map[string]error
	calls []call
}

type call struct {
	ref         string
	credentials admission.Credentials
}

func (s *registryStub) Resolve(ctx context.Context, ref image.Reference, c admission.Credentials) (digest.Digest, error) {
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call{ref.String(), c})
	if err := s.fails[ref.String()]; err != nil {
		return "", err
	}
	if d, ok := s.moved[ref.String()]; ok {
		return d, nil
	}
	return digestOf(ref.String()), nil
}

// move lets a tag stand for something else.
func (s *registryStub) move(ref string, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == nil {
		s.moved = map[string]digest.Digest{}
	}
	s.moved[ref] = d
}

func (s *registryStub) resolved() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

// digestOf is what the registry has under a reference in full.
func digestOf(ref string) digest.Digest { return digest.FromString(ref) }

const (
	good    = "docker.io/library/good:1"
	doubt   = "docker.io/library/doubt:1"
	evil    = "docker.io/library/evil:1"
	waiting = "docker.io/library/waiting:1"
	strange = "docker.io/library/strange:1"
	foreign = "docker.io/library/foreign:1"
	broken  = "docker.io/library/broken:1"
)

// told is a gate that knows the images above, strange excepted.
func told() *gateStub {
	report := func(name string) string { return "https://pratique.example/report/" + digestOf(name).String() }
	return &gateStub{verdicts: map[digest.Digest]gate.Standing{
		digestOf(good):  {State: gate.StatePass, Analysed: true, Policy: "default", Evaluated: time.Now().Add(-time.Minute)},
		digestOf(doubt): {State: gate.StateWarn, Analysed: true, Policy: "default", Message: "3 medium vulnerabilities", Report: report(doubt)},
		digestOf(evil): {State: gate.StateFail, Analysed: true, Policy: "default", Report: report(evil),
			Message: `refused by policy "default": 1 critical vulnerability with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4); report: ` + report(evil)},
		digestOf(waiting): {State: gate.StatePending, Message: "is being analysed"},
		digestOf(foreign): {State: gate.StateUnmapped, Analysed: true, Message: "no mapping is for it"},
		digestOf(broken):  {State: gate.StateError, Message: "the vulnerability data are too old"},
	}}
}

// namespaces is a cluster's.
type namespaces map[string]admission.Namespace

func (n namespaces) Namespace(_ context.Context, name string) (admission.Namespace, error) {
	ns, ok := n[name]
	if !ok {
		return admission.Namespace{}, errors.New("no such namespace")
	}
	ns.Name = name
	return ns, nil
}

// secrets are pull secrets by namespace.
type secrets map[string][]admission.Credentials

func (s secrets) Credentials(_ context.Context, from admission.PullSource, _ image.Reference) ([]admission.Credentials, error) {
	return s[from.Namespace], nil
}

// options are for a webhook over the gate above; change may change them.
func options(change func(*admission.Options)) admission.Options {
	o := admission.Options{
		Config: admission.Defaults(), Standings: told(), Resolver: &registryStub{},
		Metrics: serve.NewMetrics(), Log: slog.New(slog.DiscardHandler),
	}
	o.Config.Listen, o.Config.ShutdownDelay = "127.0.0.1:0", 0
	if change != nil {
		change(&o)
	}
	return o
}

func start(t testing.TB, change func(*admission.Options)) *admission.Webhook {
	t.Helper()
	w, err := admission.New(options(change))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// config is a shorthand for what most tests change.
func config(change func(*admission.Config)) func(*admission.Options) {
	return func(o *admission.Options) { change(&o.Config) }
}

// m is a JSON object.
type m = map[string]any

// pod has one container for each image.
func pod(images ...string) m {
	return m{"apiVersion": "v1", "kind": "Pod", "metadata": m{"name": "web", "namespace": "shop"}, "spec": m{"containers": containers(images...)}}
}

func containers(images ...string) []any {
	var all []any
	for i, im := range images {
		all = append(all, m{"name": fmt.Sprintf("c%d", i), "image": im})
	}
	return all
}

// creation is a request to create an object.
func creation(object m) *admissionv1.AdmissionRequest {
	group, version, kind := "", "v1", "Pod"
	if text, ok := object["apiVersion"].(string); ok {
		version = text
		if before, after, ok := strings.Cut(text, "/"); ok {
			group, version = before, after
		}
	}
	if text, ok := object["kind"].(string); ok {
		kind = text
	}
	req := &admissionv1.AdmissionRequest{
		UID: "705ab4f5-6393-11e8-b7cc-42010a800002", Kind: metav1.GroupVersionKind{Group: group, Version: version, Kind: kind},
		Resource:  metav1.GroupVersionResource{Group: group, Version: version, Resource: strings.ToLower(kind) + "s"},
		Namespace: "shop", Operation: admissionv1.Create,
	}
	req.UserInfo.Username = "alice"
	req.Object.Raw = encode(object)
	return req
}

// update is a request to change an object.
func update(old, object m) *admissionv1.AdmissionRequest {
	req := creation(object)
	req.Operation = admissionv1.Update
	req.OldObject.Raw = encode(old)
	return req
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// post sends a document to the webhook.
func post(t testing.TB, w *admission.Webhook, path string, doc any) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(encode(doc)))
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	return rec
}

// review sends a request, and gives the response, nil when the webhook failed.
func review(t testing.TB, w *admission.Webhook, path string, req *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, *httptest.ResponseRecorder) {
	t.Helper()
	rec := post(t, w, path, admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: req})
	if rec.Code != http.StatusOK {
		return nil, rec
	}
	var res admissionv1.AdmissionReview
	if err := json.Unmarshal(rec.Body.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	if res.APIVersion != "admission.k8s.io/v1" || res.Kind != "AdmissionReview" || res.Response == nil || res.Response.UID != types.UID(req.UID) {
		t.Fatalf("not an answer to the request: %s", rec.Body)
	}
	return res.Response, rec
}

// validated gives the answer in one word, as the configuration spells it.
func validated(t testing.TB, w *admission.Webhook, req *admissionv1.AdmissionRequest) (string, *admissionv1.AdmissionResponse) {
	t.Helper()
	res, rec := review(t, w, "/validate?timeout=5s", req)
	switch {
	case res == nil && rec.Code == http.StatusInternalServerError:
		return admission.Fail, nil
	case res == nil:
		t.Fatalf("%d %s", rec.Code, rec.Body)
	case !res.Allowed:
		if res.Result.Code != http.StatusForbidden || res.Result.Reason != metav1.StatusReasonForbidden {
			t.Errorf("refused with %d %s", res.Result.Code, res.Result.Reason)
		}
		return admission.Deny, res
	case len(res.Warnings) > 0:
		return admission.Warn, res
	}
	return admission.Allow, res
}

// want fails unless the answer is the wanted one.
func want(t testing.TB, w *admission.Webhook, req *admissionv1.AdmissionRequest, answer string) *admissionv1.AdmissionResponse {
	t.Helper()
	got, res := validated(t, w, req)
	if got != answer {
		t.Errorf("%s, want %s: %+v", got, answer, res)
	}
	return res
}
