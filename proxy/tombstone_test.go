package proxy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// buried opens a door with tombstones, in front of a registry that has a good
// and a bad image.
func buried(t *testing.T, change func(*gate.Config)) *door {
	t.Helper()
	ups := second(t, nil)
	d := open(t, gatetest.Options{Upstreams: ups, Config: configure(change)})
	putBehind(t, ups[0].Registry, "app", "bad", imagetest.Vulnerable())
	putBehind(t, ups[0].Registry, "app", "good", imagetest.Clean())
	return d
}

func withTombstones(c *gate.Config) { c.Tombstones = gate.Allow }

// TestTombstone: a mirror's request for a refused tag is answered with a manifest
// that stands for the refusal, and that manifest is refused with the reason.
func TestTombstone(t *testing.T) {
	d := buried(t, withTombstones)
	pull := "Bearer " + d.token("repository:app:pull")
	head := d.call("HEAD", "/v2/app/manifests/bad?ns=reg.example", nil, "Authorization", pull)
	stone := head.header.Get("Docker-Content-Digest")
	if head.status != 200 || stone == "" || stone == imagetest.Vulnerable().Digest().String() {
		t.Fatalf("HEAD: HTTP %d %v", head.status, head.header)
	}
	if head.header.Get("OCI-Namespace") != "reg.example" {
		t.Errorf("headers %v", head.header)
	}
	got := d.call("GET", "/v2/app/manifests/bad?ns=reg.example", nil)
	if got.status != 200 || digest.FromBytes(got.body).String() != stone {
		t.Errorf("GET: HTTP %d %s, want what HEAD told of", got.status, got.body)
	}
	var doc struct {
		ArtifactType string            `json:"artifactType"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(got.body, &doc); err != nil || doc.ArtifactType != "application/vnd.pratique.refusal.v1+json" ||
		!strings.Contains(doc.Annotations["pratique.reason"], "CVE-2025-15467") || doc.Annotations["pratique.refused"] != "reg.example/app:bad" {
		t.Errorf("%v in %s", err, got.body)
	}
	for _, path := range []string{stone + "?ns=reg.example", stone} {
		for _, method := range []string{"GET", "HEAD"} {
			got := d.call(method, "/v2/reg.example/app/manifests/"+path, nil)
			if strings.Contains(path, "ns=") {
				got = d.call(method, "/v2/app/manifests/"+path, nil)
			}
			if got.status != 403 || (method == "GET" && (got.code() != "DENIED" || !strings.Contains(got.message(), "CVE-2025-15467"))) {
				t.Errorf("%s %s: HTTP %d %s", method, path, got.status, got.body)
			}
		}
	}
	entries, err := d.Catalog.Audit(t.Context(), catalog.AuditFilter{Kind: audit.PullRefused, Limit: 10})
	if err != nil || len(entries) == 0 || entries[0].Digest != imagetest.Vulnerable().Digest().String() {
		t.Errorf("audit %v, %v", entries, err)
	}
}

// TestNoTombstone: nobody else meets one.
func TestNoTombstone(t *testing.T) {
	bad, good := imagetest.Vulnerable().Digest().String(), imagetest.Clean().Digest().String()
	for _, tt := range []struct {
		name   string
		change func(*gate.Config)
		path   string
		status int
		digest string
	}{
		{"off by default", func(*gate.Config) {}, "/v2/app/manifests/bad?ns=reg.example", 403, bad},
		{"without ns", withTombstones, "/v2/reg.example/app/manifests/bad", 403, bad},
		{"by digest", withTombstones, "/v2/app/manifests/" + bad + "?ns=reg.example", 403, bad},
		{"an allowed image", withTombstones, "/v2/app/manifests/good?ns=reg.example", 200, good},
		{"a tag that is not there", withTombstones, "/v2/app/manifests/none?ns=reg.example", 404, ""},
		{"a namespace of nobody", withTombstones, "/v2/app/manifests/bad?ns=docker.io", 404, ""},
		{"by a rule for another repository", func(c *gate.Config) {
			c.Rules = []gate.Rule{{Match: gate.Match{Repository: "docker.io/*"}, Settings: gate.Settings{Tombstones: gate.Allow}}}
		}, "/v2/app/manifests/bad?ns=reg.example", 403, bad},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := buried(t, tt.change)
			pull := "Bearer " + d.token("repository:app:pull", "repository:reg.example/app:pull")
			for _, method := range []string{"GET", "HEAD"} {
				got := d.call(method, tt.path, nil, "Authorization", pull)
				if got.status != tt.status || got.header.Get("Docker-Content-Digest") != tt.digest {
					t.Errorf("%s: HTTP %d %s, want %d", method, got.status, got.header.Get("Docker-Content-Digest"), tt.status)
				}
			}
		})
	}
}

// TestTombstoneForPushers: what a mirror is told does not depend on what else the
// client could do, or it would go on with the real digest to the registry behind.
func TestTombstoneForPushers(t *testing.T) {
	d := buried(t, withTombstones)
	bad := imagetest.Vulnerable().Digest().String()
	for name, authorization := range map[string]string{
		"no token": "", "pull": "Bearer " + d.token("repository:app:pull"), "push": "Bearer " + d.token("repository:app:pull,push"),
	} {
		got := d.call("HEAD", "/v2/app/manifests/bad?ns=reg.example", nil, "Authorization", authorization)
		if got.status != 200 || got.header.Get("Docker-Content-Digest") == bad {
			t.Errorf("%s: HTTP %d %s", name, got.status, got.header.Get("Docker-Content-Digest"))
		}
	}
}
