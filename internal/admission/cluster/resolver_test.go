package cluster_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/upstream"
)

var someDigest = digest.FromString("an image")

// registry is one that knows the tag 1 of two repositories, of which private/app
// wants an account.
type registry struct {
	*httptest.Server
	host     string
	asked    atomic.Int64
	mu       sync.Mutex
	accounts []string // that came, "user:password"
	answer   func(w http.ResponseWriter, r *http.Request) bool
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	r.host = strings.TrimPrefix(r.URL, "https://")
	return r
}

func (r *registry) serve(w http.ResponseWriter, q *http.Request) {
	r.asked.Add(1)
	if basic, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Basic "); ok {
		raw, _ := base64.StdEncoding.DecodeString(basic)
		r.mu.Lock()
		r.accounts = append(r.accounts, string(raw))
		r.mu.Unlock()
	}
	user, password, _ := q.BasicAuth()
	known := user == "u" && password == "p"
	switch {
	case r.answer != nil && r.answer(w, q):
	case q.URL.Path == "/v2/" && !known:
		w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
		w.WriteHeader(http.StatusUnauthorized)
	case q.URL.Path == "/v2/":
	case strings.HasSuffix(q.URL.Path, "private/app/manifests/1") && !known:
		w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasSuffix(q.URL.Path, "/manifests/1"):
		w.Header().Set("Docker-Content-Digest", someDigest.String())
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
	}
}

func (r *registry) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accounts
}

// caFile holds the authority of httptest's servers: they have the same.
func (r *registry) caFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pemOf(r.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func newResolver(t *testing.T, cfg cluster.ResolverConfig) *cluster.Resolver {
	t.Helper()
	r, err := cluster.NewResolver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResolve(t *testing.T) {
	reg := newRegistry(t)
	r := newResolver(t, cluster.ResolverConfig{AllowHosts: []string{"127.0.0.1"}, CAFile: reg.caFile(t)})
	good, bad := cluster.Credential{Username: "u", Password: "p"}, cluster.Credential{Username: "u", Password: "wrong"}
	for _, c := range []struct {
		name, reference string
		credentials     []cluster.Credential
		want            error
	}{
		{"public", reg.host + "/public/app:1", nil, nil},
		{"private", reg.host + "/private/app:1", []cluster.Credential{good}, nil},
		{"the second account", reg.host + "/private/app:1", []cluster.Credential{bad, good}, nil},
		{"private, anonymous", reg.host + "/private/app:1", nil, cluster.ErrImageDenied},
		{"a wrong account", reg.host + "/private/app:1", []cluster.Credential{bad}, cluster.ErrImageDenied},
		{"no such tag", reg.host + "/public/app:2", nil, cluster.ErrImageNotFound},
		{"nobody listens", "127.0.0.1:1/public/app:1", nil, cluster.ErrUnreachable},
		{"a name nobody has", "registry.invalid/public/app:1", nil, cluster.ErrUnreachable},
		{"the metadata service", "169.254.169.254/latest/meta-data:1", nil, cluster.ErrUnreachable},
		{"a private address", "10.0.0.1:5000/app:1", nil, cluster.ErrUnreachable},
		{"no reference", "Upper/case", nil, image.ErrInvalidReference},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			d, err := r.Resolve(ctx, c.reference, c.credentials)
			if !errors.Is(err, c.want) || (err == nil) != (d == someDigest) {
				t.Errorf("%s, %v", d, err)
			}
			if strings.HasPrefix(c.reference, "169") && !strings.Contains(err.Error(), "not allowed") {
				t.Error(err)
			}
		})
	}
}

// What runs is what the digest names: nobody need be asked.
func TestResolveDigest(t *testing.T) {
	r := newResolver(t, cluster.ResolverConfig{})
	for _, reference := range []string{"nginx@" + someDigest.String(), "registry.invalid/a:1@" + someDigest.String()} {
		if d, err := r.Resolve(t.Context(), reference, nil); err != nil || d != someDigest {
			t.Errorf("%s: %s, %v", reference, d, err)
		}
	}
}

// Loopback is refused unless it is configured, whatever name leads there.
func TestResolveForeignHost(t *testing.T) {
	reg := newRegistry(t)
	r := newResolver(t, cluster.ResolverConfig{CAFile: reg.caFile(t)})
	for _, host := range []string{reg.host, strings.Replace(reg.host, "127.0.0.1", "localhost", 1), strings.Replace(reg.host, "127.0.0.1", "127.0.0.2", 1)} {
		if d, err := r.Resolve(t.Context(), host+"/public/app:1", nil); !errors.Is(err, cluster.ErrUnreachable) {
			t.Errorf("%s: %s, %v", host, d, err)
		}
	}
	if n := reg.asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// The image is looked up through the proxy, under its prefix, with the proxy's
// account: what the pod has is not for it.
func TestResolveThroughProxy(t *testing.T) {
	proxy := newRegistry(t)
	var paths []string
	proxy.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		paths = append(paths, r.URL.Path)
		return false
	}
	r := newResolver(t, cluster.ResolverConfig{Proxies: map[string]cluster.Proxy{"docker.io": {
		Address: proxy.URL, Prefix: "docker.io", CAFile: proxy.caFile(t),
		Credentials: upstream.Credentials{Type: "basic", Username: "u", PasswordFile: passwordFile(t, "p")},
	}}})
	for _, reference := range []string{"nginx:1", "docker.io/nginx:1", "index.docker.io/library/nginx:1"} {
		d, err := r.Resolve(t.Context(), reference, []cluster.Credential{{Username: "pod", Password: "secret"}})
		if err != nil || d != someDigest {
			t.Fatalf("%s: %s, %v", reference, d, err)
		}
		if last := paths[len(paths)-1]; last != "/v2/docker.io/library/nginx/manifests/1" {
			t.Errorf("%s: asked for %s", reference, last)
		}
	}
	for _, account := range proxy.seen() {
		if account != "u:p" {
			t.Errorf("the proxy was shown %s", account)
		}
	}
}

// A password is sent in the clear on this machine alone.
func TestResolvePlain(t *testing.T) {
	var accounts atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			accounts.Add(1)
		} else {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Docker-Content-Digest", someDigest.String())
	}))
	defer plain.Close()
	host := strings.TrimPrefix(plain.URL, "http://")
	const other = "registry.invalid:80"
	r := newResolver(t, cluster.ResolverConfig{AllowHosts: []string{"127.0.0.1"}, PlainHosts: []string{host, other}})
	credentials := []cluster.Credential{{Username: "u", Password: "p"}}
	if d, err := r.Resolve(t.Context(), host+"/app:1", credentials); err != nil || d != someDigest || accounts.Load() == 0 {
		t.Errorf("%s, %v", d, err)
	}
	// Elsewhere it is asked anonymously: nobody is there, and that is the error.
	if _, err := r.Resolve(t.Context(), other+"/app:1", credentials); !errors.Is(err, cluster.ErrUnreachable) {
		t.Error(err)
	}
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestResolveInTime(t *testing.T) {
	reg := newRegistry(t)
	hang := make(chan struct{})
	defer close(hang)
	reg.answer = func(http.ResponseWriter, *http.Request) bool { <-hang; return false }
	r := newResolver(t, cluster.ResolverConfig{AllowHosts: []string{"127.0.0.1"}, CAFile: reg.caFile(t)})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := r.Resolve(ctx, reg.host+"/public/app:1", nil)
	if !errors.Is(err, cluster.ErrUnreachable) || time.Since(begun) > 3*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
}

// Two hundred pods of one image ask once, more or less; a pod with another
// account, or none, does not learn from them.
func TestResolveShares(t *testing.T) {
	reg := newRegistry(t)
	var manifests atomic.Int64
	release := make(chan struct{})
	reg.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			manifests.Add(1)
			<-release
		}
		return false
	}
	r := newResolver(t, cluster.ResolverConfig{AllowHosts: []string{"127.0.0.1"}, CAFile: reg.caFile(t)})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if d, err := r.Resolve(t.Context(), reg.host+"/private/app:1", []cluster.Credential{{Username: "u", Password: "p"}}); err != nil || d != someDigest {
				t.Errorf("%s, %v", d, err)
			}
		})
	}
	wg.Go(func() {
		if d, err := r.Resolve(t.Context(), reg.host+"/private/app:1", nil); !errors.Is(err, cluster.ErrImageDenied) {
			t.Errorf("anonymous: %s, %v", d, err)
		}
	})
	time.Sleep(100 * time.Millisecond)
	close(release)
	wg.Wait()
	if n := manifests.Load(); n > 20 {
		t.Errorf("the registry was asked %d times", n)
	}
}

func TestResolverConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  cluster.ResolverConfig
		want string
	}{
		{cluster.ResolverConfig{}, ""},
		{cluster.ResolverConfig{AllowHosts: []string{"a:5000"}}, "allow_hosts"},
		{cluster.ResolverConfig{PlainHosts: []string{"http://a"}}, "plain_hosts"},
		{cluster.ResolverConfig{Proxies: map[string]cluster.Proxy{"docker.io": {}}}, "proxies"},
		{cluster.ResolverConfig{Proxies: map[string]cluster.Proxy{"docker.io": {Address: "https://p", Prefix: "UP"}}}, "prefix"},
		{cluster.ResolverConfig{Timeout: -1}, "timeout"},
	} {
		if err := c.cfg.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q: %v", c.want, err)
		}
	}
}
