package serve_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/serve"
)

// certificate writes a certificate of 127.0.0.1 that signs itself, and its key.
func certificate(t *testing.T) (serve.TLSFiles, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := serve.TLSFiles{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	pool := x509.NewCertPool()
	for path, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return files, pool
}

func TestTLS(t *testing.T) {
	files, pool := certificate(t)
	s := &serve.Server{TLS: files, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
	start(t, s)
	if !strings.HasPrefix(s.URL(), "https://127.0.0.1:") {
		t.Errorf("URL() = %s", s.URL())
	}
	for _, tt := range []struct {
		name   string
		config *tls.Config
		want   string // "": no answer
	}{
		{"trusted", &tls.Config{RootCAs: pool}, "HTTP/1.1"},
		{"TLS 1.2", &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS12}, "HTTP/1.1"},
		{"TLS 1.1", &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, ""},
		{"not trusted", &tls.Config{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: tt.config, DisableKeepAlives: true}}
			res, err := client.Get(s.URL())
			if err != nil {
				if tt.want != "" {
					t.Error(err)
				}
				return
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != tt.want {
				t.Errorf("%q, %v, want %q", body, err, tt.want)
			}
		})
	}
}

// TestTLSFiles: files that are not what they should be are known at the start,
// and the port is free again.
func TestTLSFiles(t *testing.T) {
	files, _ := certificate(t)
	other, _ := certificate(t)
	for _, tt := range []struct {
		name  string
		files serve.TLSFiles
	}{
		{"no key", serve.TLSFiles{Cert: files.Cert}},
		{"no certificate", serve.TLSFiles{Key: files.Key}},
		{"not there", serve.TLSFiles{Cert: files.Cert + ".old", Key: files.Key}},
		{"the key of another", serve.TLSFiles{Cert: files.Cert, Key: other.Key}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			s := &serve.Server{Name: "api", Listen: addr, TLS: tt.files}
			if err := s.Bind(); err == nil || !strings.HasPrefix(err.Error(), "api.tls: ") {
				t.Errorf("Bind = %v", err)
			}
			if l, err = net.Listen("tcp", addr); err != nil {
				t.Fatalf("the port is still taken: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHTTP2: where it is let, many requests at the same time share a connection;
// elsewhere there is HTTP/1.1 alone.
func TestHTTP2(t *testing.T) {
	for _, tt := range []struct {
		http2 bool
		want  string
	}{{true, "HTTP/2.0"}, {false, "HTTP/1.1"}} {
		files, pool := certificate(t)
		s := &serve.Server{TLS: files, HTTP2: tt.http2, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, r.Proto)
		})}
		start(t, s)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		res, err := (&http.Client{Transport: transport}).Post(s.URL(), "text/plain", strings.NewReader("a body"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != tt.want || res.Body.Close() != nil {
			t.Errorf("%s, %v, want %s", body, err, tt.want)
		}
	}
}
