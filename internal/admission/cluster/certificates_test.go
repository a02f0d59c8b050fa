package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pratique/pratique/internal/admission/cluster"
)

func TestFirstStart(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	c := replica(t, s, clock)
	if _, err := c.GetCertificate(nil); err == nil {
		t.Error("a certificate before the first pass")
	}
	if c.Ready() == nil {
		t.Error("ready before the first pass")
	}
	pass(t, c)
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
	mustTrust(t, s, clock, c)
	if len(s.bundles(checkPath)) != 2 {
		t.Errorf("%d bundles", len(s.bundles(checkPath)))
	}
	// What others wrote in the configuration is as it was.
	hooks := s.get(checkPath)["webhooks"].([]any)
	if got := hooks[0].(object)["failurePolicy"]; got != "Ignore" {
		t.Errorf("failurePolicy is %v", got)
	}
	cert := shown(t, c)
	for name, want := range map[string]bool{serverName: true, serverName + ".cluster.local": true, "webhook.other.svc": false} {
		if ok := cert.VerifyHostname(name) == nil; ok != want {
			t.Errorf("%s: %v", name, ok)
		}
	}
	writes := s.count("patch validatingwebhookconfigurations") + s.count("update secrets")
	pass(t, c, c)
	if again := s.count("patch validatingwebhookconfigurations") + s.count("update secrets"); again != writes || s.count("create secrets") != 1 {
		t.Errorf("%d writes when nothing was due", again-writes)
	}
	if n := testutil.CollectAndCount(c, "pratique_admission_certificate_expiry_timestamp_seconds"); n != 2 {
		t.Errorf("%d expiry figures", n)
	}
}

// Both find that there is no Secret, before either has written one.
func TestTwoReplicasStartAtOnce(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	var together sync.WaitGroup
	together.Add(2)
	var attempts atomic.Int64
	s.before = func(verb string, a ask) {
		if verb == "create" && a.resource == "secrets" && attempts.Add(1) <= 2 {
			together.Done()
			together.Wait()
		}
	}
	replicas := []*cluster.Certificates{replica(t, s, clock), replica(t, s, clock)}
	var wg sync.WaitGroup
	for _, c := range replicas {
		wg.Go(func() {
			// A patch may meet the other's: that is for the next pass.
			if err := cluster.Pass(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	pass(t, replicas...)
	if n := s.count("create secrets"); n != 2 {
		t.Errorf("%d attempts to make the Secret", n)
	}
	if !shown(t, replicas[0]).Equal(shown(t, replicas[1])) {
		t.Error("the replicas show different certificates")
	}
	mustTrust(t, s, clock, replicas...)
}

// Five lives of an authority, in steps of twelve hours, with two replicas of which
// one is always a step behind. At no moment does any webhook configuration
// distrust what either shows, and no authority signs before all have known it for
// the overlap.
func TestRotation(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	short := certificateConfig()
	short.AuthorityLifetime, short.Lifetime = 30*day, 6*day
	a, b := replicaWith(t, s, clock, short), replicaWith(t, s, clock, short)
	pass(t, a, b)
	known := map[string]time.Time{} // when a bundle first had the authority
	leaves, signers := map[string]bool{}, map[string]bool{}
	const step = 12 * time.Hour
	for range 120 * 2 {
		clock.Add(step)
		pass(t, a)
		mustTrust(t, s, clock, a, b)
		pass(t, b)
		mustTrust(t, s, clock, a, b)
		for rest := s.bundles(secondPath)[0]; len(rest) > 0; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				t.Fatal("the bundle has no PEM")
			}
			ca, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := known[ca.Subject.CommonName]; !ok {
				known[ca.Subject.CommonName] = clock.Now()
			}
		}
		cert := shown(t, a)
		signer := cert.Issuer.CommonName
		if !signers[signer] && len(signers) > 0 && clock.Now().Sub(known[signer]) < day {
			t.Errorf("%s signs %s after it was made known", signer, clock.Now().Sub(known[signer]))
		}
		leaves[cert.SerialNumber.String()], signers[signer] = true, true
	}
	if len(signers) < 5 || len(leaves) < 20 {
		t.Errorf("%d authorities and %d certificates in 120 days", len(signers), len(leaves))
	}
	if n := bytes.Count(s.field("ca.crt"), []byte("BEGIN")); n > 3 {
		t.Errorf("%d authorities are trusted at the end", n)
	}
}

// While a webhook configuration cannot be written, the next authority waits.
func TestRotationWaitsForEveryBundle(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	c := replica(t, s, clock)
	pass(t, c)
	signer := shown(t, c).Issuer.CommonName
	s.mu.Lock()
	s.refuse = func(verb string, a ask) int {
		if verb == "patch" && a.name == "second" {
			return http.StatusInternalServerError
		}
		return 0
	}
	s.mu.Unlock()
	for range 60 {
		clock.Add(5 * day)
		if err := cluster.Pass(t.Context(), c); err != nil && !strings.Contains(err.Error(), "second") {
			t.Fatal(err)
		}
	}
	if got := shown(t, c).Issuer.CommonName; got != signer {
		t.Errorf("%s signs, unknown to a webhook configuration", got)
	}
	mustTrust(t, s, clock, c)
	s.mu.Lock()
	s.refuse = nil
	s.mu.Unlock()
	pass(t, c, c)
	if got := shown(t, c).Issuer.CommonName; got == signer {
		t.Error("the next authority does not sign though all know it")
	}
	mustTrust(t, s, clock, c)
}

func TestBrokenSecret(t *testing.T) {
	stranger := func() []byte {
		other := newStandin(t, "certificates")
		newHooks(other)
		pass(t, replica(t, other, newClock()))
		return other.field("ca.crt")
	}()
	for _, c := range []struct {
		name  string
		spoil func(data object)
	}{
		{"no PEM", func(d object) { d["ca.crt"] = "bm8=" }},
		{"another authority", func(d object) { d["ca.crt"] = base64.StdEncoding.EncodeToString(stranger) }},
		{"key of the authority gone", func(d object) { delete(d, "ca.key") }},
		{"key of the certificate exchanged", func(d object) { d["tls.key"] = d["ca.key"] }},
		{"certificate gone", func(d object) { delete(d, "tls.crt") }},
		{"authority as certificate", func(d object) { d["tls.crt"], d["tls.key"] = d["ca.crt"], d["ca.key"] }},
		{"broken next", func(d object) { d["next.key"] = "bm8=" }},
		{"empty", func(d object) { clear(d) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, clock := newStandin(t, "certificates"), newClock()
			newHooks(s)
			running := replica(t, s, clock)
			pass(t, running)
			before := shown(t, running)
			secret := s.get(secretPath)
			c.spoil(secret["data"].(object))
			secret["data"].(object)["note"] = "bWluZQ=="
			s.put(secretPath, secret)
			pass(t, running)
			if !shown(t, running).Equal(before) {
				t.Error("the certificate in use has changed")
			}
			fresh := replica(t, s, clock)
			pass(t, fresh)
			if !shown(t, fresh).Equal(before) {
				t.Error("the Secret was not put right")
			}
			if string(s.field("note")) != "mine" {
				t.Error("a field of somebody else is gone")
			}
			mustTrust(t, s, clock, running, fresh)
		})
	}
}

// A broken Secret and nobody who knows better: a new beginning.
func TestBrokenSecretAtStart(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	s.put(secretPath, corev1.Secret{Data: map[string][]byte{"ca.crt": []byte("nonsense"), "ca.key": []byte("nonsense")}})
	c := replica(t, s, clock)
	pass(t, c)
	mustTrust(t, s, clock, c)
}

func TestDeletedSecret(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	a, b := replica(t, s, clock), replica(t, s, clock)
	pass(t, a, b)
	before := shown(t, a)
	s.remove(secretPath)
	pass(t, a)
	mustTrust(t, s, clock, a, b)
	pass(t, b)
	if !shown(t, a).Equal(before) || !shown(t, b).Equal(before) {
		t.Error("the certificate has changed")
	}
}

// A certificate that API servers do not trust is of no use to them.
func TestNotReadyBeforeItIsAnnounced(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	var refused atomic.Bool
	refused.Store(true)
	s.refuse = func(verb string, _ ask) int {
		if verb == "patch" && refused.Load() {
			return http.StatusForbidden
		}
		return 0
	}
	c := replica(t, s, clock)
	if err := cluster.Pass(t.Context(), c); err == nil {
		t.Error("no caBundle may be written, and nothing is said")
	}
	if shown(t, c) == nil || c.Ready() == nil || !strings.Contains(c.Ready().Error(), "authority") {
		t.Errorf("ready: %v", c.Ready())
	}
	refused.Store(false)
	pass(t, c)
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
}

// The cluster was off until everything had expired.
func TestEverythingExpired(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	old := replica(t, s, clock)
	pass(t, old)
	clock.Add(45 * day)
	if err := old.Ready(); err == nil {
		t.Error("ready with an expired certificate")
	}
	clock.Add(500 * day)
	c := replica(t, s, clock)
	pass(t, c, old)
	mustTrust(t, s, clock, c, old)
	if err := errors.Join(c.Ready(), old.Ready()); err != nil {
		t.Error(err)
	}
	if n := bytes.Count(s.field("ca.crt"), []byte("BEGIN")); n != 1 {
		t.Errorf("%d authorities, want the new one alone", n)
	}
}

func TestBundleIsKept(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	s.remove(changePath)
	c := replica(t, s, clock)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	current := func(path string) bool {
		bundles := s.bundles(path)
		return len(bundles) > 0 && cmp.Equal(bundles[0], s.field("ca.crt"))
	}
	s.put(checkPath, admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{{Name: "a.pratique.io"}}})
	eventually(t, "a bundle taken away is back", func() bool { return current(checkPath) })
	s.put(changePath, admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{{Name: "a.pratique.io"}}})
	eventually(t, "a configuration made later has it", func() bool { return current(changePath) })
	s.remove(secretPath)
	eventually(t, "the Secret is back", func() bool { return current(checkPath) })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A patch by number must not meet another webhook than the one that was read.
func TestConfigurationChangesMeanwhile(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	newHooks(s)
	var once sync.Once
	s.before = func(verb string, a ask) {
		if verb == "patch" && a.name == "check" {
			once.Do(func() {
				s.put(checkPath, admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{
					{Name: "of-somebody-else", ClientConfig: admissionv1.WebhookClientConfig{CABundle: []byte("theirs")}}}})
			})
		}
	}
	c := replica(t, s, clock)
	pass(t, c)
	if got := s.bundles(checkPath); len(got) != 1 || string(got[0]) != "theirs" {
		t.Errorf("bundles %q", got)
	}
}

// The certificate serves TLS, as an API server calls it.
func TestHandshake(t *testing.T) {
	s, clock := newStandin(t, "certificates"), newClock()
	clock.Add(time.Since(clock.Now()))
	newHooks(s)
	c := replica(t, s, clock)
	pass(t, c)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: c.GetCertificate, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.bundles(checkPath)[0])
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: serverName},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
		}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + serverName + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestCertificateConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*cluster.CertificateConfig)
		want   string
	}{
		{"defaults", func(*cluster.CertificateConfig) {}, ""},
		{"no service", func(c *cluster.CertificateConfig) { c.Service = "" }, "service"},
		{"overlap", func(c *cluster.CertificateConfig) { c.Overlap = 100 * day }, "overlap"},
		{"lifetime", func(c *cluster.CertificateConfig) { c.Lifetime = time.Second }, "lifetime"},
		{"authority", func(c *cluster.CertificateConfig) { c.AuthorityLifetime = 40 * day }, "authority_lifetime"},
	} {
		cfg := certificateConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
