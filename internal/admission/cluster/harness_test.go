package cluster_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/pratique/pratique/internal/admission/cluster"
)

const (
	secretPath = "/api/v1/namespaces/pratique/secrets/webhook-tls"
	checkPath  = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/check"
	secondPath = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/second"
	changePath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/change"
	serverName = "webhook.pratique.svc"
)

var day = 24 * time.Hour

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func pemOf(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func certificateConfig() cluster.CertificateConfig {
	return cluster.CertificateConfig{Namespace: ownNamespace, Service: "webhook", Secret: "webhook-tls",
		Validating: []string{"check", "second"}, Mutating: []string{"change"}}
}

// newHooks stores three webhook configurations, one with two webhooks.
func newHooks(s *standin) {
	policy := admissionv1.Ignore
	s.put(checkPath, admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{
		{Name: "a.pratique.io", FailurePolicy: &policy}, {Name: "b.pratique.io"}}})
	s.put(secondPath, admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{{Name: "a.pratique.io"}}})
	s.put(changePath, admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{{Name: "a.pratique.io"}}})
}

// bundles are the caBundles of a webhook configuration.
func (s *standin) bundles(path string) [][]byte {
	s.t.Helper()
	var all [][]byte
	hooks, _ := s.get(path)["webhooks"].([]any)
	for _, h := range hooks {
		text, _ := h.(object)["clientConfig"].(object)["caBundle"].(string)
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, raw)
	}
	return all
}

// field is a field of the Secret.
func (s *standin) field(name string) []byte {
	s.t.Helper()
	data, _ := s.get(secretPath)["data"].(object)
	text, _ := data[name].(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// replica is one process.
func replica(t *testing.T, s *standin, clock *clock) *cluster.Certificates {
	t.Helper()
	return replicaWith(t, s, clock, certificateConfig())
}

func replicaWith(t *testing.T, s *standin, clock *clock, cfg cluster.CertificateConfig) *cluster.Certificates {
	t.Helper()
	c, err := cluster.NewCertificates(cfg, s.client(), silent(), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pass lets replicas look once, one after another.
func pass(t *testing.T, replicas ...*cluster.Certificates) {
	t.Helper()
	for _, c := range replicas {
		if err := cluster.Pass(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// shown is what the replica shows now.
func shown(t *testing.T, c *cluster.Certificates) *x509.Certificate {
	t.Helper()
	pair, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// trusted says whether an API server with this bundle accepts the certificate.
func trusted(bundle []byte, cert *x509.Certificate, at time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	_, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: serverName, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// mustTrust checks that every webhook configuration accepts what each replica shows.
func mustTrust(t *testing.T, s *standin, clock *clock, replicas ...*cluster.Certificates) {
	t.Helper()
	for _, path := range []string{checkPath, secondPath, changePath} {
		for i, bundle := range s.bundles(path) {
			for n, c := range replicas {
				if err := trusted(bundle, shown(t, c), clock.Now()); err != nil {
					t.Errorf("%s: %s, webhook %d does not trust replica %d: %v", clock.Now().Format(time.DateTime), path, i, n, err)
				}
			}
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 30s: %s", what)
		}
	}
}
