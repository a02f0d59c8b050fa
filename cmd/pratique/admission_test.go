package main_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// hook is a running `pratique admission`, and the API server that asks it.
type hook struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	client *http.Client
	log    *tail
	done   chan error
}

var webhookAddress = regexp.MustCompile(`(?m)^\s+webhook\s+https://([^/]+)/validate`)

func startHook(t *testing.T, settings ...string) *hook {
	t.Helper()
	cert, key, pool := selfSigned(t)
	h := &hook{t: t, log: &tail{}, done: make(chan error, 1), client: trusting(pool)}
	h.cmd = exec.Command(binary, append([]string{"admission", "--set", "admission.listen=127.0.0.1:0", "--set", "admission.metrics=", "--set", "admission.shutdown_delay=0s",
		"--set", "admission.tls.cert=" + cert, "--set", "admission.tls.key=" + key}, settings...)...)
	stderr, err := h.cmd.StderrPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	go h.read(stderr, found)
	t.Cleanup(h.stop)
	select {
	case addr := <-found:
		h.url = "https://" + addr
	case <-time.After(30 * time.Second):
		t.Fatalf("admission says nothing\n%s", h.log)
	}
	return h
}

// trusting is the client of an API server that knows the webhook's authority.
func trusting(pool *x509.CertPool) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

func (h *hook) read(stderr io.Reader, found chan<- string) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		h.log.add(lines.Text())
		if m := webhookAddress.FindStringSubmatch(lines.Text()); m != nil {
			found <- m[1]
		}
	}
	h.done <- h.cmd.Wait()
}

func (h *hook) stop() {
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-h.done:
		if err != nil {
			h.t.Errorf("admission ended: %v", err)
		}
	case <-time.After(30 * time.Second):
		_ = h.cmd.Process.Kill()
		h.t.Error("admission did not end")
	}
	h.client.CloseIdleConnections()
	if h.t.Failed() {
		h.t.Logf("the end of admission's log:\n%s", h.log)
	}
}

// answer is what the API server takes from a review.
type answer struct {
	http    int
	allowed bool
	code    int
	message string
}

// review asks whether a pod of one image may be made, as an API server does.
func (h *hook) review(image string) answer {
	h.t.Helper()
	body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",
		"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"requestKind":{"group":"","version":"v1","kind":"Pod"},
		"requestResource":{"group":"","version":"v1","resource":"pods"},"name":"web","namespace":"shop","operation":"CREATE","userInfo":{"username":"ana"},
		"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[{"name":"web","image":%q}]}},
		"oldObject":null,"dryRun":false}}`, image)
	res, err := h.client.Post(h.url+"/validate?timeout=3s", "application/json", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	var doc struct {
		Response struct {
			Allowed bool `json:"allowed"`
			Status  struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			} `json:"status"`
		} `json:"response"`
	}
	if res.StatusCode != http.StatusOK {
		return answer{http: res.StatusCode, message: string(raw)}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		h.t.Fatalf("%v in %s", err, raw)
	}
	return answer{res.StatusCode, doc.Response.Allowed, doc.Response.Status.Code, doc.Response.Status.Message}
}

// within waits for an answer, and tells how long it took.
func (h *hook) within(limit time.Duration, image string, want func(answer) bool) time.Duration {
	h.t.Helper()
	began := time.Now()
	for {
		got := h.review(image)
		if want(got) {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			h.t.Fatalf("%s: after %v still %+v", image, limit, got)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func denied(a answer) bool {
	return a.http == http.StatusOK && !a.allowed && a.code == http.StatusForbidden
}
func admitted(a answer) bool { return a.allowed }

// TestAdmissionWithRedisAlone: what the proxy has judged another process knows at
// once, with a real Redis alone between the two; so it is with another policy.
// How long that takes is logged, and not held to a second on a machine that does
// much else. Redis dies, and serve dies: the answers are the configured ones.
func TestAdmissionWithRedisAlone(t *testing.T) {
	redis := clients.Redis(t)
	dir := filepath.Join(t.TempDir(), "data")
	gatetest.WriteData(t, dir, 1, gatetest.Advisories())
	shared := []string{"--set", "redis.url=redis://" + redis.Addr, "--set", "feeds.sources=[]"}
	s := serve(t, dir, shared...)
	h := startHook(t, append(shared, "--set", "admission.resolver.plain_hosts=["+s.registry+"]", "--set", "admission.resolver.allow_hosts=[127.0.0.1]")...)

	r := imagetest.Registry{URL: "http://" + s.registry}
	bad, good := s.registry+"/team/app:bad", s.registry+"/team/app:good"
	for tag, im := range map[string]imagetest.Image{"bad": imagetest.Vulnerable(), "good": imagetest.Clean()} {
		r.Header = s.token("team/app")
		if err := r.Push(t.Context(), "team/app", tag, im); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("admitted %v after the push", h.within(10*time.Second, good, admitted))
	h.within(10*time.Second, bad, denied)
	if got := h.review(bad); !strings.Contains(got.message, "CVE-2025-15467") || !strings.Contains(got.message, "3.3.6-r0") || !strings.Contains(got.message, s.api+"/report/") {
		t.Errorf("the refusal does not explain itself: %s", got.message)
	}
	if got := h.review(s.registry + "/team/app:none"); got.allowed {
		t.Errorf("an image that is not there: %+v", got)
	}

	analysed := figure(t, s, `pratique_analysis_seconds_count{step="image"}`)
	if _, stderr, code := pratique(t, "policy", "activate", "2c53a13c-1765-11e8-82ef-23527761d060", "--url", s.api); code != 0 {
		t.Fatal(stderr)
	}
	// The other bundle has not judged the image: the answer is that it is being
	// judged, then the verdict.
	took := h.within(10*time.Second, bad, func(a answer) bool { return a.allowed || strings.Contains(a.message, "Default bundle") })
	t.Logf("the other policy after %v: %+v", took, h.review(bad))
	if again := figure(t, s, `pratique_analysis_seconds_count{step="image"}`); again != analysed {
		t.Errorf("images were analysed again: %s, then %s", analysed, again)
	}
	if _, stderr, code := pratique(t, "policy", "activate", "default", "--url", s.api); code != 0 {
		t.Fatal(stderr)
	}
	h.within(10*time.Second, bad, denied)

	redis.Stop()
	began := time.Now()
	if got := h.review(bad); !denied(got) { // memory knows
		t.Errorf("without redis: %+v", got)
	}
	s.stop(syscall.SIGKILL)
	if got := h.review(s.registry + "/team/app:other"); got.allowed {
		t.Errorf("without redis and registry: %+v", got)
	}
	t.Logf("two answers without redis after %v", time.Since(began))
}

// TestAdmissionUnderLoadLosesRedisAndServe: while reviews come in, Redis dies, then
// serve. What is known keeps its answer, each within the time of the API server.
func TestAdmissionUnderLoadLosesRedisAndServe(t *testing.T) {
	redis := clients.Redis(t)
	dir := filepath.Join(t.TempDir(), "data")
	gatetest.WriteData(t, dir, 1, gatetest.Advisories())
	shared := []string{"--set", "redis.url=redis://" + redis.Addr, "--set", "feeds.sources=[]"}
	s := serve(t, dir, shared...)
	h := startHook(t, append(shared, "--set", "admission.resolver.plain_hosts=["+s.registry+"]", "--set", "admission.resolver.allow_hosts=[127.0.0.1]",
		"--set", "admission.engine.url="+s.api)...)
	r := imagetest.Registry{URL: "http://" + s.registry}
	name := map[bool]string{}
	for wanted, im := range map[bool]imagetest.Image{false: imagetest.Vulnerable(), true: imagetest.Clean()} {
		tag := fmt.Sprint(wanted)
		r.Header = s.token("team/app")
		if err := r.Push(t.Context(), "team/app", tag, im); err != nil {
			t.Fatal(err)
		}
		// By digest: whoever asks for a tag asks the registry, which dies too.
		name[wanted] = s.registry + "/team/app:" + tag + "@" + im.Digest().String()
	}
	h.within(10*time.Second, name[true], admitted)
	h.within(10*time.Second, name[false], denied)

	over := make(chan struct{})
	var load sync.WaitGroup
	var answers atomic.Int64
	for range 4 {
		load.Go(func() {
			for wanted := true; ; wanted = !wanted {
				select {
				case <-over:
					return
				default:
				}
				began := time.Now()
				got := h.review(name[wanted])
				if got.http != http.StatusOK || got.allowed != wanted || time.Since(began) > 3*time.Second {
					t.Errorf("%s after %v: %+v", name[wanted], time.Since(began), got)
					return
				}
				answers.Add(1)
			}
		})
	}
	step := func(what string) {
		before := answers.Load()
		time.Sleep(2 * time.Second)
		t.Logf("%s: %d answers in two seconds", what, answers.Load()-before)
	}
	step("all is well")
	redis.Stop()
	step("without Redis")
	s.stop(syscall.SIGKILL)
	step("without Redis and serve")
	close(over)
	load.Wait()
	if answers.Load() == 0 {
		t.Error("nothing was answered")
	}
}

// TestAdmissionInsideServe: one process, no Redis. What was never seen is analysed
// because somebody wants to run it.
func TestAdmissionInsideServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	gatetest.WriteData(t, dir, 1, gatetest.Advisories())
	cert, key, pool := selfSigned(t)
	s := serve(t, dir, "--set", "feeds.sources=[]", "--set", "admission.enabled=true", "--set", "admission.listen=127.0.0.1:0", "--set", "admission.shutdown_delay=0s",
		"--set", "admission.tls.cert="+cert, "--set", "admission.tls.key="+key)
	m := webhookAddress.FindStringSubmatch(s.log.String())
	if m == nil {
		t.Fatalf("serve does not say where the webhook is\n%s", s.log)
	}
	h := &hook{t: t, url: "https://" + m[1], client: trusting(pool)}
	t.Cleanup(h.client.CloseIdleConnections)
	r := imagetest.Registry{URL: "http://" + s.registry, Header: s.token("team/app")}
	if err := r.Push(t.Context(), "team/app", "1", imagetest.Vulnerable()); err != nil {
		t.Fatal(err)
	}
	if got := h.review(s.registry + "/team/app:1"); !denied(got) || !strings.Contains(got.message, "CVE-2025-15467") {
		t.Errorf("%+v", got)
	}
	unmapped := h.review("registry.example/app@" + imagetest.Clean().Digest().String())
	if !denied(unmapped) || !strings.Contains(unmapped.message, "no upstream is configured") {
		t.Errorf("%+v", unmapped)
	}
}

// figure is one line of /metrics, without its name.
func figure(t *testing.T, s *server, name string) string {
	t.Helper()
	res, err := http.Get(s.api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return rest
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

// selfSigned writes a certificate for 127.0.0.1.
func selfSigned(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		var text bytes.Buffer
		if err := pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return write("tls.crt", "CERTIFICATE", der), write("tls.key", "PRIVATE KEY", raw), pool
}
