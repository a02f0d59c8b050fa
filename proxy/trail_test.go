package proxy_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/registrytest"
	"github.com/pratique/pratique/internal/upstream"
	"github.com/pratique/pratique/proxy"
)

// TestTrail: who did what, and who was refused what.
func TestTrail(t *testing.T) {
	g := openGuarded(t, gatetest.Options{Config: configure(func(c *gate.Config) {
		c.Rules = []gate.Rule{{Match: gate.Match{Repository: "team/strict"}, Settings: gate.Settings{Push: gate.PushEnforce}}}
	})}, people())
	good, bad := numbered(1), numberedBad(1)
	g.pushAs("carol", "team/app", "bad", bad)
	layer := bad.Layers[0].Descriptor().Digest
	for _, tt := range []struct {
		name string
		do   func()
		want catalog.AuditEntry
		says string
	}{
		{"push", func() { g.pushAs("alice", "team/app", "1", good) },
			catalog.AuditEntry{Kind: audit.Pushed, Principal: "alice", Repository: "team/app", Reference: "1", Digest: good.Digest().String()}, ""},
		{"push of a failing image", func() { g.pushAs("robot+ci", "team/app", "2", bad) },
			catalog.AuditEntry{Kind: audit.Pushed, Principal: "robot+ci", Repository: "team/app", Reference: "2", Digest: bad.Digest().String()}, "pulls will be refused"},
		{"refused push", func() { _ = g.as("alice", "team/strict").Push(t.Context(), "team/strict", "1", bad) },
			catalog.AuditEntry{Kind: audit.PushRefused, Principal: "alice", Repository: "team/strict", Reference: "1", Digest: bad.Digest().String()}, "CVE-2025-15467"},
		{"refused pull", func() { g.ask("bob", "GET", "team/app", "/manifests/bad") },
			catalog.AuditEntry{Kind: audit.PullRefused, Principal: "bob", Repository: "team/app", Reference: "bad", Digest: bad.Digest().String()}, "CVE-2025-15467"},
		{"refused blob", func() { g.ask("bob", "GET", "team/app", "/blobs/"+layer.String()) },
			catalog.AuditEntry{Kind: audit.PullRefused, Principal: "bob", Repository: "team/app", Reference: layer.String(), Digest: layer.String()}, "CVE-2025-15467"},
		{"no right", func() { g.ask("bob", "DELETE", "team/app", "/manifests/1") },
			catalog.AuditEntry{Kind: audit.Forbidden, Principal: "bob", Repository: "team/app", Reference: "1"}, "bob has no right to delete"},
		{"delete of a tag", func() { g.ask("carol", "DELETE", "team/app", "/manifests/1") },
			catalog.AuditEntry{Kind: audit.Deleted, Principal: "carol", Repository: "team/app", Reference: "1"}, ""},
		{"delete of a manifest", func() { g.ask("carol", "DELETE", "team/app", "/manifests/"+good.Digest().String()) },
			catalog.AuditEntry{Kind: audit.Deleted, Principal: "carol", Repository: "team/app", Reference: good.Digest().String(), Digest: good.Digest().String()}, ""},
		{"delete of a blob", func() { g.ask("carol", "DELETE", "team/app", "/blobs/"+layer.String()) },
			catalog.AuditEntry{Kind: audit.Deleted, Principal: "carol", Repository: "team/app", Reference: layer.String(), Digest: layer.String()}, "blob"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.do()
			entries, err := g.Catalog.Audit(t.Context(), catalog.AuditFilter{Limit: 1})
			if err != nil || len(entries) != 1 {
				t.Fatal(entries, err)
			}
			got := entries[0]
			if !strings.Contains(got.Message, tt.says) || got.Client != "127.0.0.1" || got.At.IsZero() {
				t.Errorf("%+v, want it to say %q", got, tt.says)
			}
			got.ID, got.At, got.Client, got.Message = 0, tt.want.At, "", ""
			if got != tt.want {
				t.Errorf("entry %+v, want %+v", got, tt.want)
			}
		})
	}
	// What is served, and who is asked for a name, is no entry.
	before := g.kinds("")
	g.pushAs("alice", "team/app", "3", good)
	g.ask("bob", "GET", "team/app", "/manifests/3")
	g.call("GET", "/v2/team/app/manifests/3", nil)
	if after := g.kinds(""); after[audit.PullRefused] != before[audit.PullRefused] || after[audit.Forbidden] != before[audit.Forbidden] {
		t.Errorf("before %v, after %v", before, after)
	}
}

// TestMaxBlob: a blob that is too large is refused, however it comes, and nothing
// of it stays.
func TestMaxBlob(t *testing.T) {
	behind := registrytest.StartDistribution(t, registrytest.Options{})
	s := gatetest.New(t, gatetest.Options{Upstreams: remote(t, upstream.Config{URL: behind.URL})})
	tokens := openAuth(t)
	p := &proxy.Proxy{Gate: s.Gate, Upstreams: s.Upstreams, Catalog: s.Catalog, Auth: tokens, OpenLoopback: true, Audit: s.Audit, MaxBlob: 1000, Log: s.Log, Now: s.Clock.Now}
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	d := &door{s, server.URL, t}
	for _, repository := range []string{"app", "reg.example/app"} {
		push := []string{"Authorization", "Bearer " + d.token("repository:"+repository+":pull,push")}
		start := func() string {
			return d.call("POST", "/v2/"+repository+"/blobs/uploads/", nil, push...).header.Get("Location")
		}
		for _, tt := range []struct {
			name   string
			size   int
			status int
		}{{"as large as may be", 1000, 201}, {"one byte more", 1001, 413}, {"much more", 1 << 20, 413}} {
			blob := bytes.Repeat([]byte{'x'}, tt.size)
			query := "?digest=" + digest.FromBytes(blob).String()
			for way, got := range map[string]reply{
				"PUT": d.call("PUT", start()+query, blob, push...), "POST": d.call("POST", "/v2/"+repository+"/blobs/uploads/"+query, blob, push...),
				"PATCH, then PUT": func() reply {
					at := start()
					if got := d.call("PATCH", at, blob[:900], push...); got.status != 202 {
						return got
					}
					return d.call("PUT", at+query, blob[900:], push...)
				}(),
			} {
				if got.status != tt.status || (tt.status == 413 && (got.code() != "SIZE_INVALID" || !strings.Contains(got.message(), "registry.max_blob"))) {
					t.Errorf("%s to %s, %s: HTTP %d %s, want %d", way, repository, tt.name, got.status, got.body, tt.status)
				}
			}
			if got := d.call("HEAD", "/v2/"+repository+"/blobs/"+digest.FromBytes(blob).String(), nil, push...); (got.status == 200) != (tt.status == 201) {
				t.Errorf("%s in %s: HEAD %d", tt.name, repository, got.status)
			}
		}
	}
}

// TestQuota: what does not fit is refused with words that a person can act on,
// and is on record.
func TestQuota(t *testing.T) {
	local, err := localregistry.Open(t.TempDir(), localregistry.Options{Quota: func(repo string) int64 {
		if repo == "small" {
			return 2000
		}
		return 0
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Close(); err != nil {
			t.Error(err)
		}
	})
	d := open(t, gatetest.Options{Upstreams: gate.Upstreams{{Name: "second", Prefix: "reg.example", Hostnames: []string{"reg.example"}, Registry: local}}})
	small, large := numbered(1), imagetest.Build(imagetest.Plain(imagetest.File("large", strings.Repeat("x", 5000))))
	if err := d.pusher("reg.example/small").Push(t.Context(), "reg.example/small", "1", small); err != nil {
		t.Fatal(err)
	}
	if err := d.pusher("reg.example/wide").Push(t.Context(), "reg.example/wide", "1", large); err != nil {
		t.Errorf("a repository without a quota: %v", err)
	}
	err = d.pusher("reg.example/small").PushBlobs(t.Context(), "reg.example/small", large)
	if err == nil || !strings.Contains(err.Error(), "HTTP 403") || !strings.Contains(err.Error(), "storage.quotas") {
		t.Errorf("what does not fit: %v", err)
	}
	if n := d.kinds("reg.example/small"); n[audit.PushRefused] != 1 {
		t.Errorf("audit %v", n)
	}
	if got := d.call("GET", "/v2/reg.example/small/manifests/1", nil); got.status != http.StatusOK {
		t.Errorf("what was there: HTTP %d", got.status)
	}
}
