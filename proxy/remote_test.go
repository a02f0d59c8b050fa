package proxy_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/registrytest"
	"github.com/pratique/pratique/internal/upstream"
)

// remote is an upstream for names that begin with reg.example.
func remote(t *testing.T, cfg upstream.Config) gate.Upstreams {
	t.Helper()
	cfg.Name, cfg.Prefix = "remote", "reg.example"
	r, err := upstream.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return gate.Upstreams{{Name: cfg.Name, Prefix: cfg.Prefix, Hostnames: cfg.Names(), Registry: r}}
}

// second is an upstream for names that begin with reg.example, in the process.
// What wrap makes of its registry is what the proxy sees; nil: itself.
func second(t *testing.T, wrap func(gate.Registry) gate.Registry) gate.Upstreams {
	t.Helper()
	local, err := localregistry.Open(filepath.Join(t.TempDir(), "second"), localregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Close(); err != nil {
			t.Error(err)
		}
	})
	var reg gate.Registry = local
	if wrap != nil {
		reg = wrap(reg)
	}
	return gate.Upstreams{{Name: "second", Prefix: "reg.example", Hostnames: []string{"reg.example"}, Registry: reg}}
}

// putBehind stores an image in a registry so that the proxy sees nothing of it.
func putBehind(t *testing.T, reg gate.Registry, repository, reference string, im imagetest.Image) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for d, blob := range im.Blobs() {
		state, err := reg.StartUpload(t.Context(), repository)
		check(err)
		state, written, err := reg.AppendUpload(t.Context(), repository, state, 0, bytes.NewReader(blob))
		check(err)
		check(reg.CommitUpload(t.Context(), repository, state, written, d, nil, 0))
	}
	check(reg.PutManifest(t.Context(), repository, reference, image.MediaTypeManifest, im.Manifest))
}

// TestRealRegistryBehind pushes and pulls through to distribution's own
// registry, with each way to authenticate.
func TestRealRegistryBehind(t *testing.T) {
	account := upstream.Credentials{Type: "basic", Username: "u", Password: "p"}
	for _, tt := range []struct {
		name        string
		options     registrytest.Options
		credentials upstream.Credentials
	}{
		{"open", registrytest.Options{}, upstream.Credentials{}},
		{"basic", registrytest.Options{BasicUser: "u", BasicPassword: "p"}, account},
		{"token", registrytest.Options{BasicUser: "u", BasicPassword: "p", Token: true}, account},
		{"private CA", registrytest.Options{TLS: true}, upstream.Credentials{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := registrytest.StartDistribution(t, tt.options)
			d := open(t, gatetest.Options{Upstreams: remote(t, upstream.Config{URL: server.URL, CAFile: server.CAFile, Credentials: tt.credentials})})
			good, bad := imagetest.Clean(), imagetest.Vulnerable()
			d.push("reg.example/team/app", "good", good)
			d.push("reg.example/team/app", "bad", bad)
			if got := d.call("GET", "/v2/reg.example/team/app/manifests/good", nil); got.status != 200 || !bytes.Equal(got.body, good.Manifest) {
				t.Errorf("good: HTTP %d %s", got.status, got.body)
			}
			for dg, want := range good.Blobs() {
				if got := d.call("GET", "/v2/reg.example/team/app/blobs/"+dg.String(), nil); got.status != 200 || !bytes.Equal(got.body, want) {
					t.Errorf("blob of good: HTTP %d", got.status)
				}
			}
			if got := d.call("GET", "/v2/reg.example/team/app/manifests/bad", nil); got.status != 403 || !strings.Contains(got.message(), "CVE-2025-15467") {
				t.Errorf("bad: HTTP %d %s", got.status, got.body)
			}
			if got := d.call("GET", "/v2/reg.example/team/app/tags/list", nil); !strings.Contains(string(got.body), `"tags":["bad","good"]`) {
				t.Errorf("tags: %s", got.body)
			}
			if got := d.call("GET", "/v2/team/app/manifests/good?ns=reg.example", nil); got.status != 200 {
				t.Errorf("by namespace: HTTP %d %s", got.status, got.body)
			}
			if got := d.call("GET", "/v2/other.example/team/app/manifests/good", nil); got.code() != "NAME_UNKNOWN" {
				t.Errorf("a registry that is not configured: HTTP %d %s", got.status, got.body)
			}
		})
	}
}

// TestPushedAroundTheProxy: an image that the proxy never saw is analysed before
// its first byte is served, by whatever route it is asked for.
func TestPushedAroundTheProxy(t *testing.T) {
	server := registrytest.StartDistribution(t, registrytest.Options{})
	direct := imagetest.Registry{URL: server.URL}
	good, bad := imagetest.Clean(), imagetest.Vulnerable()
	ctx := context.Background()
	for tag, im := range map[string]imagetest.Image{"good": good, "bad": bad} {
		if err := direct.Push(ctx, "app", tag, im); err != nil {
			t.Fatal(err)
		}
	}
	index := imagetest.BuildIndex(bad)
	if err := direct.PushIndex(ctx, "app", "multi", index); err != nil {
		t.Fatal(err)
	}
	d := open(t, gatetest.Options{Upstreams: remote(t, upstream.Config{URL: server.URL})})
	layer := bad.Layers[0].Descriptor().Digest.String()
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"blobs/" + layer, 404}, // nobody has asked for a manifest that names it
		{"manifests/good", 200}, {"manifests/bad", 403}, {"manifests/" + bad.Digest().String(), 403},
		{"manifests/multi", 403}, // all of its images are known and refused by now
		{"blobs/" + layer, 403}, {"blobs/" + good.Layers[0].Descriptor().Digest.String(), 200},
	} {
		if got := d.call("GET", "/v2/reg.example/app/"+tt.path, nil); got.status != tt.status {
			t.Errorf("%s: HTTP %d %s, want %d", tt.path, got.status, got.body, tt.status)
		}
	}
}

// TestUnseenIndexGatesItsChildren: an index that was never seen is served
// before its children are known; they are gated when they are asked for.
func TestUnseenIndexGatesItsChildren(t *testing.T) {
	server := registrytest.StartDistribution(t, registrytest.Options{})
	bad := imagetest.Vulnerable()
	if err := (imagetest.Registry{URL: server.URL}).PushIndex(context.Background(), "app", "multi", imagetest.BuildIndex(bad)); err != nil {
		t.Fatal(err)
	}
	d := open(t, gatetest.Options{Upstreams: remote(t, upstream.Config{URL: server.URL})})
	if got := d.call("GET", "/v2/reg.example/app/manifests/multi", nil); got.status != 200 {
		t.Errorf("the index: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("GET", "/v2/reg.example/app/manifests/"+bad.Digest().String(), nil); got.status != 403 {
		t.Errorf("its child: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("GET", "/v2/reg.example/app/manifests/multi", nil); got.status != 403 {
		t.Errorf("the index, now that its child is known: HTTP %d", got.status)
	}
}

// TestUpstreamThatFails: what cannot be had is not served, and the answer says
// which registry is to blame.
func TestUpstreamThatFails(t *testing.T) {
	server := registrytest.StartDistribution(t, registrytest.Options{})
	im := imagetest.Clean()
	if err := (imagetest.Registry{URL: server.URL}).Push(context.Background(), "app", "1", im); err != nil {
		t.Fatal(err)
	}
	behind, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	reverse := httputil.NewSingleHostReverseProxy(behind)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() && strings.Contains(r.URL.Path, "/blobs/") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		reverse.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	d := open(t, gatetest.Options{Upstreams: remote(t, upstream.Config{URL: front.URL})})
	broken.Store(true)
	if got := d.call("GET", "/v2/reg.example/app/manifests/1", nil); got.status != 403 || !strings.Contains(got.message(), "upstream registry does not answer") {
		t.Errorf("layers that cannot be read: HTTP %d %s", got.status, got.body)
	}
	broken.Store(false)
	if got := d.call("GET", "/v2/reg.example/app/manifests/1", nil); got.status != 200 {
		t.Errorf("and when they can be: HTTP %d %s", got.status, got.body)
	}
	front.Close()
	if got := d.call("GET", "/v2/reg.example/app/manifests/1", nil); got.status != http.StatusBadGateway || !strings.Contains(got.message(), "cannot be reached") {
		t.Errorf("upstream gone, by tag: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("GET", "/v2/reg.example/app/manifests/"+im.Digest().String(), nil); got.status != 200 {
		t.Errorf("upstream gone, a known image by digest: HTTP %d %s", got.status, got.body)
	}
}

// TestSlowAnalysisIsPending: a pull waits for the first analysis as long as it
// may, then is told to come back; the analysis goes on.
func TestSlowAnalysisIsPending(t *testing.T) {
	server := registrytest.StartDistribution(t, registrytest.Options{})
	if err := (imagetest.Registry{URL: server.URL}).Push(context.Background(), "app", "1", imagetest.Clean()); err != nil {
		t.Fatal(err)
	}
	behind, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	reverse := httputil.NewSingleHostReverseProxy(behind)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-release
		}
		reverse.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	d := open(t, gatetest.Options{
		Upstreams: remote(t, upstream.Config{URL: front.URL}),
		Config:    configure(func(c *gate.Config) { c.Wait = 200 * time.Millisecond }),
	})
	got := d.call("GET", "/v2/reg.example/app/manifests/1", nil)
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" || !strings.Contains(got.message(), "being analysed") {
		t.Errorf("HTTP %d %v %s", got.status, got.header, got.body)
	}
	close(release)
	for range 50 {
		if got = d.call("GET", "/v2/reg.example/app/manifests/1", nil); got.status == 200 {
			return
		}
	}
	t.Errorf("still HTTP %d %s", got.status, got.body)
}
