package serve_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/serve"
)

// renewed is how long a renewal may take to be noticed: a check every two
// seconds, at a handshake, on a slow machine.
const renewed = 10 * time.Second

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), text)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// trusts reports whether a new connection meets a certificate of the pool.
func trusts(t *testing.T, s *serve.Server, pool *x509.CertPool) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: pool})
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func eventually(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRenewal: new connections meet the new certificate, a transfer under way
// goes on, and half a renewal changes nothing.
func TestRenewal(t *testing.T) {
	t.Parallel()
	files, first := certificate(t)
	next, second := certificate(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var log lines
	s := &serve.Server{TLS: files, Log: log.logger(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first half, ")
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-goOn
		_, _ = io.WriteString(w, "second half")
	})}
	start(t, s)
	got := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: first}, DisableKeepAlives: true}}
		res, err := client.Get(s.URL())
		if err != nil {
			got <- err.Error()
			return
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			body = []byte(err.Error())
		}
		_ = res.Body.Close()
		got <- string(body)
	}()
	select {
	case <-begun:
	case body := <-got:
		t.Fatalf("no transfer: %s", body)
	}

	move(t, next.Cert, files.Cert) // certbot has written one of the two
	eventually(t, "the half renewal is logged", renewed, func() bool {
		if !trusts(t, s, first) {
			t.Fatal("half a renewal took the certificate away")
		}
		return log.count("certificate not renewed") > 0
	})
	time.Sleep(2500 * time.Millisecond) // one more check
	if !trusts(t, s, first) || log.count("certificate not renewed") != 1 {
		t.Errorf("logged %d times", log.count("certificate not renewed"))
	}
	move(t, next.Key, files.Key)
	eventually(t, "the renewal is in force", renewed, func() bool { return trusts(t, s, second) })
	if trusts(t, s, first) || log.count("certificate renewed") != 1 {
		t.Error("the old certificate is still served, or the renewal not logged once")
	}
	close(goOn)
	if body := <-got; body != "first half, second half" {
		t.Errorf("the transfer: %q", body)
	}
}

// TestReload: at a signal at once, and with an error that says what is wrong.
func TestReload(t *testing.T) {
	t.Parallel()
	files, first := certificate(t)
	next, second := certificate(t)
	s := &serve.Server{TLS: files, Handler: http.NotFoundHandler()}
	start(t, s)
	for _, tt := range []struct {
		name  string
		spoil func()
		wrong bool
		pool  *x509.CertPool
	}{
		{"as it was", func() {}, false, first},
		{"not PEM", func() { write(t, create(t, files.Cert), "hello") }, true, first},
		{"gone", func() { _ = os.Remove(files.Cert) }, true, first},
		{"the key of another", func() { move(t, next.Cert, files.Cert) }, true, first},
		{"too long", func() { write(t, create(t, files.Key), strings.Repeat("x", 2<<20)) }, true, first},
		{"a new pair", func() { move(t, next.Key, files.Key) }, false, second},
	} {
		tt.spoil()
		err := s.Reload()
		if (err != nil) != tt.wrong || err != nil && !strings.HasPrefix(err.Error(), "test.tls: ") {
			t.Errorf("%s: Reload = %v", tt.name, err)
		}
		if !trusts(t, s, tt.pool) {
			t.Errorf("%s: another certificate is served", tt.name)
		}
	}
	plain := &serve.Server{Handler: http.NotFoundHandler()}
	start(t, plain)
	if err := plain.Reload(); err != nil {
		t.Errorf("without TLS: %v", err)
	}
}

func create(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestRenewalOfAMount: Kubernetes swaps one symlink under both files.
func TestRenewalOfAMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	revision := func(name string) *x509.CertPool {
		pair, pool := certificate(t)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		move(t, pair.Cert, filepath.Join(dir, name, "tls.crt"))
		move(t, pair.Key, filepath.Join(dir, name, "tls.key"))
		link := filepath.Join(dir, "..data")
		if err := os.Symlink(name, link+"_tmp"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+"_tmp", link); err != nil {
			t.Fatal(err)
		}
		return pool
	}
	first := revision("..2026_01")
	files := serve.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	for _, name := range []string{files.Cert, files.Key} {
		if err := os.Symlink(filepath.Join("..data", filepath.Base(name)), name); err != nil {
			t.Fatal(err)
		}
	}
	s := &serve.Server{TLS: files, Handler: http.NotFoundHandler()}
	start(t, s)
	if !trusts(t, s, first) {
		t.Fatal("the certificate of the mount is not served")
	}
	second := revision("..2026_02")
	eventually(t, "the new mount is served", renewed, func() bool { return trusts(t, s, second) })
}
