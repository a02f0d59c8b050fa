package admission_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/admission"
)

// TestReady: ready is who has a configuration, a certificate that is valid now,
// and no end in sight. Nobody else is asked.
func TestReady(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name  string
		until time.Time
		fails error
		ready error  // of Options.Ready
		want  string // "": ready
	}{
		{"valid", now.Add(time.Hour), nil, nil, ""},
		{"ran out", now.Add(-time.Second), nil, nil, "ran out"},
		{"none", time.Time{}, errors.New("not made yet"), nil, "no certificate"},
		{"not announced", now.Add(time.Hour), nil, errors.New("the cluster does not know it"), "the cluster does not know it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pair, _ := certificate(t, tt.until)
			w := start(t, func(o *admission.Options) {
				o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, tt.fails }
				o.Ready = func() error { return tt.ready }
			})
			rec := get(t, w, "/readyz")
			if (rec.Code == http.StatusOK) != (tt.want == "") || !strings.Contains(rec.Body.String(), tt.want) {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
			if rec := get(t, w, "/healthz"); rec.Code != http.StatusOK {
				t.Errorf("not alive: %d", rec.Code)
			}
			wanted := "pratique_admission_certificate_expiry_seconds 0"
			if text := figures(t, w); (tt.fails != nil) != strings.Contains(text, wanted) {
				t.Error("the figure of the certificate is wrong")
			}
		})
	}
}

// TestNoPlainHTTP: API servers speak TLS alone.
func TestNoPlainHTTP(t *testing.T) {
	w := start(t, nil)
	if err := w.Bind(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := w.Run(ctx); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Error(err)
	}
}

// TestShutdown: a request that is under way is answered, and those who come while
// the cluster does not know yet are sent elsewhere with the next one.
func TestShutdown(t *testing.T) {
	g := told()
	g.delay = 500 * time.Millisecond
	w, url, _, stop := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) {
		o.Standings, o.Config.ShutdownDelay = g, 200*time.Millisecond
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	send := func() (*http.Response, error) {
		body := encode(m{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": creation(pod(good))})
		return client.Post(url+"/validate?timeout=5s", "application/json", bytes.NewReader(body))
	}
	under := make(chan error, 1)
	go func() {
		res, err := send()
		if err == nil {
			err = errors.Join(res.Body.Close(), status(res))
		}
		under <- err
	}()
	time.Sleep(100 * time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- stop() }()
	for begun := time.Now(); w.Ready() == nil && time.Since(begun) < 5*time.Second; {
		time.Sleep(time.Millisecond)
	}
	res, err := send()
	if err != nil || status(res) != nil || !res.Close {
		t.Errorf("while it goes: %v, %+v", err, res)
	}
	if err == nil {
		_ = res.Body.Close()
	}
	if err := errors.Join(<-under, <-done); err != nil {
		t.Error(err)
	}
	if _, err := send(); err == nil {
		t.Error("still there")
	}
}

func status(res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestAnchoreFilesAreFollowed: changed files are taken over within seconds, and
// wrong ones are not.
func TestAnchoreFilesAreFollowed(t *testing.T) {
	var files admission.AnchoreFiles
	log := &lines{}
	w, _, _, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) {
		anchore(t, values, "")(o)
		files, o.Namespaces, o.Log = o.Config.Anchore, namespaces{"shop": {}}, slog.New(slog.NewTextHandler(log, nil))
	})
	want(t, w, creation(pod(evil)), admission.Warn)
	eventually := func(what string, holds func() bool) {
		t.Helper()
		for begun := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Since(begun) > 15*time.Second {
				t.Fatalf("never: %s\n%s", what, log)
			}
		}
	}
	write(t, files.Config, strings.Replace(values, "Mode: breakglass", "Mode: brokenglass", 1))
	eventually("mistake logged", func() bool { return strings.Contains(log.String(), "brokenglass") })
	want(t, w, creation(pod(evil)), admission.Warn)
	write(t, files.Config, configJSON(`{"Selector": {"ResourceType": "image", "SelectorValueRegex": ".*"}, "Mode": "policy"}`))
	eventually("taken over", func() bool {
		answer, _ := validated(t, w, creation(pod(evil)))
		return answer == admission.Deny
	})
}

// TestLogLine: one line for a request, with what was asked and what was said.
func TestLogLine(t *testing.T) {
	log := &lines{}
	w := start(t, func(o *admission.Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
	want(t, w, creation(pod(evil)), admission.Deny)
	text := log.String()
	if strings.Count(text, "request answered") != 1 {
		t.Errorf("%s", text)
	}
	for _, fact := range []string{"operation=validate", "kind=Pod", "namespace=shop", "user=alice", "verb=CREATE", "decision=deny", "dry_run=false", digestOf(evil).String(), "State:fail", "Mode:policy"} {
		if !strings.Contains(text, fact) {
			t.Errorf("%s is missing in %s", fact, text)
		}
	}
}
