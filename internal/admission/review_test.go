package admission_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/admission"
)

func get(t testing.TB, w *admission.Webhook, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return rec
}

// TestBadRequests: what is no review is answered as what it is, and lets nothing
// in.
func TestBadRequests(t *testing.T) {
	w := start(t, nil)
	const head = `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", `
	good := head + `"request": {"uid": "x", "operation": "DELETE"}}`
	for _, tt := range []struct {
		name, path, media, body string
		status                  int
	}{
		{"good", "/validate", "application/json; charset=utf-8", good, 200},
		{"mutating", "/mutate", "application/json", good, 200},
		{"GET", "/validate", "", "", 405},
		{"another address", "/validates", "application/json", good, 404},
		{"no media type", "/validate", "", good, 415},
		{"YAML", "/validate", "application/yaml", good, 415},
		{"a form", "/validate", "application/x-www-form-urlencoded", good, 415},
		{"no body", "/validate", "application/json", "", 400},
		{"half a body", "/validate", "application/json", good[:40], 400},
		{"more behind it", "/validate", "application/json", good + good, 400},
		{"no request", "/validate", "application/json", head + `"request": null}`, 400},
		{"no uid", "/validate", "application/json", head + `"request": {"operation": "CREATE"}}`, 400},
		{"another kind", "/validate", "application/json", strings.Replace(good, "AdmissionReview", "ImageReview", 1), 400},
		{"another version", "/validate", "application/json", strings.Replace(good, "/v1", "/v2", 1), 400},
		{"keys in another case", "/validate", "application/json", strings.Replace(good, "request", "Request", 1), 400},
		{"a time that is none", "/validate?timeout=soon", "application/json", good, 400},
		{"a time that is over", "/validate?timeout=-1s", "application/json", good, 400},
		{"too large", "/validate", "application/json", `{"x": "` + strings.Repeat("x", 9<<20) + `"}`, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			method := http.MethodPost
			if tt.status == 405 {
				method = http.MethodGet
			}
			r := httptest.NewRequestWithContext(t.Context(), method, tt.path, strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.media)
			rec := httptest.NewRecorder()
			w.Handler().ServeHTTP(rec, r)
			if rec.Code != tt.status {
				t.Errorf("%d, want %d: %s", rec.Code, tt.status, rec.Body)
			}
			if rec.Header().Get("Retry-After") != "" {
				t.Error("an API server would wait and come again while somebody waits for it")
			}
		})
	}
}

// FuzzReview: whatever comes, there is an answer, and what is let in was read.
func FuzzReview(f *testing.F) {
	review := func(request string) string {
		return `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": ` + request + `}`
	}
	object := string(encode(pod(evil)))
	for _, seed := range []string{
		review(`{"uid": "x", "operation": "CREATE", "kind": {"version": "v1", "kind": "Pod"}, "namespace": "shop", "object": ` + object + `}`),
		review(`{"uid": "x", "operation": "UPDATE", "kind": {"version": "v1", "kind": "Pod"}, "object": ` + object + `, "oldObject": ` + object + `, "dryRun": true}`),
		review(`{"uid": "x", "operation": "CREATE", "kind": {"group": "apps", "kind": "Deployment"}, "object": {"metadata": {"annotations": {"pratique.io/original-images": "{"}}, "spec": {"template": {"spec": {"containers": [{"image": "a@sha256:"}]}}}}}`),
		review(`{}`), `{`, `[]`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	w, err := admission.New(options(config(func(c *admission.Config) {
		c.Mutation = admission.Mutation{Pin: true, PullAlways: true, Rewrite: map[string]string{"docker.io": "proxy:5000"}}
	})))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(w.Close)
	h := w.Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/validate", "/mutate", "/image-review", "/gatekeeper"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path+"?timeout=2s", strings.NewReader(string(body)))
			r.Header.Set("Content-Type", "application/json")
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			var answer struct {
				Response struct{ UID string }
			}
			if rec.Code == http.StatusOK && json.Unmarshal(rec.Body.Bytes(), &answer) != nil {
				t.Errorf("%s: %s", path, rec.Body)
			}
		}
	})
}
