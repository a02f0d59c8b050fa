package doctor_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/doctor"
)

// apiServer answers what the doctor asks of a cluster, over TLS.
type apiServer struct {
	webhooks string // items of the list of validating webhooks; none is none
	refusal  string // of a Pod with the bad image; "" lets it in
	code     int
	warning  string
}

// probe connects to it with a kubeconfig, as the command does.
func (a apiServer) probe(t *testing.T) *cluster.Probe {
	t.Helper()
	server := httptest.NewTLSServer(a.handler(t))
	t.Cleanup(server.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}], "users": [{"name": "u", "user": {"token": "t"}}]}`, server.URL, ca)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := cluster.NewProbe(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (a apiServer) handler(t *testing.T) http.Handler {
	list := func(kind, items string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"kind": %q, "apiVersion": "admissionregistration.k8s.io/v1", "items": [%s]}`, kind, items)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", list("ValidatingWebhookConfigurationList", a.webhooks))
	mux.HandleFunc("GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", list("MutatingWebhookConfigurationList", ""))
	mux.HandleFunc("POST /api/v1/namespaces/shop/pods", func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Query().Get("dryRun") != "All" {
			t.Errorf("no dry run: %s %v", r.URL, err)
		}
		w.Header().Set("Content-Type", "application/json")
		if a.warning != "" {
			w.Header().Set("Warning", fmt.Sprintf("299 - %q", a.warning))
		}
		if a.refusal == "" || !strings.Contains(string(raw), "bad") {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}`)
			return
		}
		status, err := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": a.refusal, "reason": "Forbidden", "code": a.code})
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(a.code)
		_, _ = w.Write(status)
	})
	return mux
}

func TestCluster(t *testing.T) {
	const denied = `admission webhook "validate.pratique.io" denied the request: pratique: `
	webhook := func(policy, bundle string) string {
		return fmt.Sprintf(`{"metadata": {"name": "pratique"}, "webhooks": [{"name": "validate.pratique.io", "failurePolicy": %q,
"clientConfig": {"service": {"namespace": "pratique", "name": "pratique"}, "caBundle": %q}}]}`, policy, bundle)
	}
	bundle := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for _, c := range []struct {
		name   string
		server apiServer
		check  string
		result doctor.Result
		words  []string
	}{
		{"refused", apiServer{refusal: denied + `1 of 1 images: bad:1: refused by policy "default"`, code: 403}, "admission, bad image", doctor.OK, []string{"refused by policy"}},
		{"pending", apiServer{refusal: denied + "bad:1: never seen here; its analysis has been asked for", code: 403}, "admission, bad image", doctor.NotChecked, []string{"in a minute"}},
		{"let in", apiServer{}, "admission, bad image", doctor.Failed, []string{"IS ADMITTED", "--namespace"}},
		{"observed", apiServer{warning: "pratique: would be refused: bad:1"}, "admission, bad image", doctor.Failed, []string{"would be refused", "observes"}},
		{"a quota", apiServer{refusal: `pods "x" is forbidden: exceeded quota`, code: 403}, "admission, bad image", doctor.NotChecked, []string{"exceeded quota"}},
		{"an image that is called so", apiServer{refusal: denied + `registry.example/tests/refused:1: is being analysed`, code: 403}, "admission, bad image", doctor.NotChecked, []string{"not by policy"}},
		{"another's refusal", apiServer{refusal: `admission webhook "other.example" denied the request: pratique: refused`, code: 403}, "admission, bad image", doctor.NotChecked, nil},
		{"the webhook is down", apiServer{refusal: `failed calling webhook "validate.pratique.io": timeout`, code: 500}, "admission, bad image", doctor.NotChecked, []string{"failed calling"}},
		{"no right", apiServer{refusal: `pods is forbidden: User "u" cannot create resource "pods"`, code: 403}, "admission, bad image", doctor.NotChecked, []string{"the right to create pods"}},
		{"good", apiServer{refusal: denied + "refused", code: 403}, "admission, good image", doctor.OK, []string{"is admitted"}},
		{"not registered", apiServer{}, "admission, registered", doctor.Failed, []string{"ask nobody"}},
		{"registered", apiServer{webhooks: webhook("Fail", bundle)}, "admission, validating", doctor.OK, []string{"failurePolicy Fail"}},
		{"ignored", apiServer{webhooks: webhook("Ignore", bundle)}, "admission, validating", doctor.OK, []string{"everything is let in"}},
		{"no authority", apiServer{webhooks: webhook("Fail", "")}, "admission, validating", doctor.Failed, []string{"no caBundle"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := run(t, doctor.Options{
				Proxy: "http://127.0.0.1:1", BadImage: "registry.example/bad:1", GoodImage: "registry.example/good:1",
				Cluster: c.server.probe(t), Namespace: "shop", Timeout: 10 * time.Second, Now: time.Now,
			})
			expect(t, report, c.check, c.result, c.words...)
		})
	}
}
