package upstream_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/registrytest"
	"github.com/pratique/pratique/internal/upstream"
)

var account = upstream.Credentials{Type: "basic", Username: "u", Password: "p"}

// Redirects are followed, without the credentials.
func TestRedirectToAnotherHost(t *testing.T) {
	var seen atomic.Int64
	store := fake(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		for _, h := range []string{"Authorization", "Cookie"} {
			if r.Header.Get(h) != "" {
				t.Errorf("the other host got %s", h)
			}
		}
		if r.Method == http.MethodHead { // signed for GET
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
	})
	registry := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Set-Cookie", "a=b")
		http.Redirect(w, r, store+"/object?X-Amz-Signature=secret", http.StatusTemporaryRedirect)
	})
	r := connect(t, upstream.Config{Name: "test", URL: registry, Credentials: account})
	body, _, err := r.Blob(t.Context(), "a", blob, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || len(got) != len(content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if size, err := r.StatBlob(t.Context(), "a", blob); err != nil || size != 100_000 {
		t.Errorf("stat: %d, %v", size, err)
	}
	if seen.Load() == 0 {
		t.Error("the redirect was not followed")
	}
}

func TestRedirectsThatAreRefused(t *testing.T) {
	var target atomic.Value
	registry := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Redirect(w, r, target.Load().(string), http.StatusTemporaryRedirect)
		}
	})
	cases := []struct{ name, target, want string }{
		{"loop", registry + "/v2/a/blobs/" + blob.String(), "redirects"},
		{"metadata service", "http://169.254.169.254/latest/meta-data?token=secret", "not allowed"},
		{"private address", "https://10.1.2.3/x?sig=secret", "not allowed"},
		{"private address in IPv6 clothes", "https://[::ffff:10.1.2.3]/x?sig=secret", "not allowed"},
		{"another scheme", "file:///etc/passwd?secret", "not an http address"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target.Store(c.target)
			r := connect(t, upstream.Config{Name: "test", URL: registry})
			_, _, err := r.Blob(t.Context(), "a", blob, 0, -1)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one with %q", err, c.want)
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("error has the query: %v", err)
			}
		})
	}
}

func TestUploadLocationOnAnotherHost(t *testing.T) {
	var query string
	store := fake(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		if r.Header.Get("Authorization") != "" {
			t.Error("the other host got the password")
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	registry := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Location", store+"/up?a=1%2B1&b")
		w.WriteHeader(http.StatusAccepted)
	})
	r := connect(t, upstream.Config{Name: "test", URL: registry, Credentials: account})
	state, err := r.StartUpload(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CommitUpload(t.Context(), "a", state, 0, blob, strings.NewReader(string(content)), 100_000); err != nil {
		t.Fatal(err)
	}
	if want := "a=1%2B1&b&digest=" + url.QueryEscape(blob.String()); query != want {
		t.Errorf("query = %q, want %q", query, want)
	}
}

func TestDialRule(t *testing.T) {
	cases := []struct {
		name, configured string
		allow            []string
		host, ip         string
		want             bool
	}{
		{"registry itself, private", "registry.corp", nil, "registry.corp", "10.0.0.5", true},
		{"registry itself, other case", "registry.corp", nil, "Registry.Corp", "10.0.0.5", true},
		{"public host", "registry.corp", nil, "cdn.example", "93.184.215.14", true},
		{"private neighbour", "registry.corp", nil, "auth.corp", "10.0.0.6", false},
		{"private neighbour, allowed", "registry.corp", []string{"auth.corp"}, "auth.corp", "10.0.0.6", true},
		{"loopback", "registry.corp", nil, "evil.example", "127.0.0.1", false},
		{"loopback, mapped", "registry.corp", nil, "evil.example", "::ffff:127.0.0.1", false},
		{"loopback from loopback", "127.0.0.1", nil, "localhost", "::1", true},
		{"private from loopback", "127.0.0.1", nil, "evil.example", "192.168.0.1", false},
		{"link-local", "registry.corp", nil, "evil.example", "169.254.169.254", false},
		{"link-local with zone", "registry.corp", nil, "evil.example", "fe80::1%eth0", false},
		{"unspecified", "registry.corp", nil, "evil.example", "0.0.0.0", false},
		{"this network", "registry.corp", nil, "evil.example", "0.1.2.3", false},
		{"shared address space", "registry.corp", nil, "evil.example", "100.64.1.1", false},
		{"unique local", "registry.corp", nil, "evil.example", "fd00::1", false},
		{"multicast", "registry.corp", nil, "evil.example", "224.0.0.1", false},
		{"NAT64 of a private address", "registry.corp", nil, "evil.example", "64:ff9b::a00:1", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := upstream.MayDial(c.configured, c.allow, c.host, c.ip); got != c.want {
				t.Errorf("may dial = %t, want %t", got, c.want)
			}
		})
	}
}

func TestRealmTrust(t *testing.T) {
	cases := []struct {
		registry, realm string
		want            bool
	}{
		{"https://registry-1.docker.io", "https://auth.docker.io/token", true},
		{"https://registry.example", "http://registry.example/token", false},
		{"https://registry.example", "http://auth.example/token", false},
		{"http://registry.example:5000", "http://registry.example:5001/token", true},
		{"http://registry.example", "http://localhost/token", false},
		{"http://127.0.0.1:5000", "http://localhost:5001/token", true},
		{"http://127.0.0.1:5000", "http://10.0.0.1/token", false},
		{"https://registry.example", "/token", false},
		{"https://registry.example", "https://u:p@auth.example/token", false},
		{"https://registry.example", "file:///etc/passwd", false},
	}
	for _, c := range cases {
		if got := upstream.RealmTrusted(c.registry, c.realm); got != c.want {
			t.Errorf("%s may send credentials to %s = %t, want %t", c.registry, c.realm, got, c.want)
		}
	}
}

// A proxy on loopback, as HTTPS_PROXY names one, carries the connection; the
// registry's name is only known to it.
func TestProxy(t *testing.T) {
	s := registrytest.StartDistribution(t, registrytest.Options{TLS: true})
	target := strings.TrimPrefix(s.URL, "https://")
	var connects atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "registry.test:443" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		connects.Add(1)
		tunnel(t, w, target)
	}))
	t.Cleanup(proxy.Close)
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	r, err := upstream.NewWithProxy(upstream.Config{Name: "test", URL: "https://registry.test", CAFile: s.CAFile}, http.ProxyURL(proxyURL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	d := registrytest.PutBlob(t, r, "a", []byte("through the proxy"))
	if _, err := r.StatBlob(t.Context(), "a", d); err != nil {
		t.Error(err)
	}
	if connects.Load() == 0 {
		t.Error("the proxy was not used")
	}
}

func tunnel(t *testing.T, w http.ResponseWriter, target string) {
	far, err := net.Dial("tcp", target)
	if err != nil {
		t.Error(err)
		return
	}
	w.WriteHeader(http.StatusOK)
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		defer far.Close()
		_, _ = io.Copy(far, near)
	}()
	go func() {
		defer near.Close()
		_, _ = io.Copy(near, far)
	}()
}

func TestUnknownAuthority(t *testing.T) {
	s := registrytest.StartDistribution(t, registrytest.Options{TLS: true})
	r := connect(t, upstream.Config{Name: "test", URL: s.URL})
	if err := r.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("ping: %v", err)
	}
}

// Many requests at once ask for one token; a wrong password is not tried for
// each of them, and never shown.
func TestTokensAreShared(t *testing.T) {
	options := registrytest.Options{Token: true, BasicUser: "u", BasicPassword: "hunter2"}
	for _, right := range []bool{true, false} {
		t.Run(fmt.Sprintf("right=%t", right), func(t *testing.T) {
			s := registrytest.StartDistribution(t, options)
			file := filepath.Join(t.TempDir(), "password")
			password := map[bool]string{true: "hunter2\n", false: "hunter3\n"}[right]
			if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
				t.Fatal(err)
			}
			r := connect(t, upstream.Config{Name: "test", URL: s.URL, Credentials: upstream.Credentials{Type: "basic", Username: "u", PasswordFile: file}})
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					_, err := r.Resolve(t.Context(), "a/b", "latest")
					if err == nil || strings.Contains(err.Error(), "hunter") {
						t.Errorf("resolve: %v", err)
					}
				})
			}
			wg.Wait()
			if diff := cmp.Diff([]string{"repository:a/b:pull"}, s.Tokens.Requests()); diff != "" {
				t.Errorf("tokens (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChallenges(t *testing.T) {
	cases := []struct {
		name    string
		headers []string
		schemes []string
		params  []map[string]string
	}{
		{"bearer", []string{`Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"`}, []string{"bearer"},
			[]map[string]string{{"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"}}},
		{"two in one header", []string{`Basic realm="a, b=c", Bearer realm="x" , service = y`}, []string{"basic", "bearer"},
			[]map[string]string{{"realm": "a, b=c"}, {"realm": "x", "service": "y"}}},
		{"two headers", []string{`Negotiate`, `BASIC realm="\"q\""`}, []string{"negotiate", "basic"},
			[]map[string]string{{}, {"realm": `"q"`}}},
		{"open quote", []string{`Bearer realm="x`}, []string{"bearer"}, []map[string]string{{}}},
		{"nothing", []string{"", "=", `"`}, nil, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			schemes, params := upstream.Challenges(c.headers...)
			if diff := cmp.Diff(c.schemes, schemes); diff != "" {
				t.Errorf("schemes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.params, params); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service="s"`)
	f.Add(`Basic realm="\"", Bearer x=y,=,"`)
	f.Fuzz(func(t *testing.T, header string) {
		schemes, params := upstream.Challenges(header)
		if len(schemes) != len(params) {
			t.Error("schemes without parameters")
		}
	})
}

func TestConfig(t *testing.T) {
	good := upstream.Config{Name: "hub", Prefix: "docker.io", URL: "https://registry-1.docker.io", Credentials: account}
	cases := []struct {
		name   string
		change func(*upstream.Config)
		want   string // part of the error; "" for none
	}{
		{"good", func(*upstream.Config) {}, ""},
		{"no name", func(c *upstream.Config) { c.Name = "" }, "name"},
		{"prefix is no host", func(c *upstream.Config) { c.Prefix = "docker" }, "prefix"},
		{"hostnames", func(c *upstream.Config) { c.Hostnames = []string{"a/b"} }, "hostnames"},
		{"allowed host with port", func(c *upstream.Config) { c.AllowHosts = []string{"a.b:1"} }, "allow_hosts"},
		{"allowed IPv6 address", func(c *upstream.Config) { c.AllowHosts = []string{"fd00::1"} }, ""},
		{"path", func(c *upstream.Config) { c.URL += "/v2" }, "alone"},
		{"password in the address", func(c *upstream.Config) { c.URL = "https://u:hunter2@a.b" }, "credentials"},
		{"unreadable address", func(c *upstream.Config) { c.URL = "https://u:hunter2@a.b:x" }, "url"},
		{"no scheme", func(c *upstream.Config) { c.URL = "a.b" }, "https://"},
		{"password in the clear", func(c *upstream.Config) { c.URL = "http://a.b" }, "http://"},
		{"in the clear without password", func(c *upstream.Config) { c.URL, c.Credentials = "http://a.b", upstream.Credentials{} }, ""},
		{"unknown credentials", func(c *upstream.Config) { c.Credentials.Type = "magic" }, "magic"},
		{"no password", func(c *upstream.Config) { c.Credentials.Password = "" }, "password"},
		{"user without type", func(c *upstream.Config) { c.Credentials.Type = "" }, "type"},
		{"negative time", func(c *upstream.Config) { c.IdleTimeout = -1 }, "idle_timeout"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("error = %v, want one with %q", err, c.want)
			}
		})
	}
	if s := fmt.Sprintf("%v %+v %#v", good, good, good); strings.Contains(s, `"p"`) || strings.Contains(s, "Password:p") {
		t.Errorf("printed configuration has the password: %s", s)
	}
}

func TestDockerHubLibrary(t *testing.T) {
	var path string
	registry := fake(t, func(w http.ResponseWriter, r *http.Request) { path = r.URL.Path })
	proxyURL, err := url.Parse(registry)
	if err != nil {
		t.Fatal(err)
	}
	for repo, want := range map[string]string{"nginx": "/v2/library/nginx/tags/list", "a/b": "/v2/a/b/tags/list"} {
		r, err := upstream.NewWithProxy(upstream.Config{Name: "hub", URL: "http://registry-1.docker.io"}, http.ProxyURL(proxyURL))
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = r.Tags(t.Context(), repo, "", 0)
		r.Close()
		if path != want {
			t.Errorf("%s asks %s, want %s", repo, path, want)
		}
	}
}

// A registry that a stranger named is no way to what only this machine reaches.
func TestForeignRegistry(t *testing.T) {
	var asked atomic.Int64
	registry := fake(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	host, _, err := net.SplitHostPort(strings.TrimPrefix(registry, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		cfg   upstream.Config
		reach bool
	}{
		{"of the operator", upstream.Config{}, true},
		{"of a stranger", upstream.Config{Foreign: true}, false},
		{"of a stranger, and allowed", upstream.Config{Foreign: true, AllowHosts: []string{host}}, true},
		{"of a stranger, and another allowed", upstream.Config{Foreign: true, AllowHosts: []string{"localhost"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked.Store(0)
			c.cfg.Name, c.cfg.URL = "test", registry
			err := connect(t, c.cfg).Ping(t.Context())
			if reached := err == nil; reached != c.reach || (asked.Load() > 0) != c.reach {
				t.Errorf("asked %d times, %v", asked.Load(), err)
			}
			if err != nil && !strings.Contains(err.Error(), "not allowed") {
				t.Error(err)
			}
		})
	}
}
