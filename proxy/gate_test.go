package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

func configure(change func(*gate.Config)) *gate.Config {
	c := gate.Defaults()
	change(&c)
	return &c
}

// TestUpperLayers: an upper layer that deletes or upgrades what is vulnerable
// makes the image pass; layers on top of it do not.
func TestUpperLayers(t *testing.T) {
	d := open(t, gatetest.Options{})
	base := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL}, imagetest.Npm("app/node_modules/lodash", "lodash", "4.17.15"))...)
	upgrade := imagetest.Zstd(imagetest.ApkDatabase(imagetest.GoodSSL))
	removal := imagetest.Plain(imagetest.Whiteout("app/node_modules/lodash"))
	opaque := imagetest.Gzip(imagetest.Opaque("app/node_modules"))
	more := imagetest.Gzip(imagetest.File("app/readme", "nothing to see"))
	for _, tt := range []struct {
		name   string
		layers []imagetest.Layer
		status int
	}{
		{"upgraded and deleted", []imagetest.Layer{base, upgrade, removal}, 200},
		{"upgraded and hidden", []imagetest.Layer{base, upgrade, opaque}, 200},
		{"upgraded alone", []imagetest.Layer{base, upgrade}, 403},
		{"deleted alone", []imagetest.Layer{base, removal}, 403},
		{"layers on top", []imagetest.Layer{base, more, more}, 403},
		{"the upgrade below", []imagetest.Layer{upgrade, base, removal}, 403},
		{"deleted and brought back", []imagetest.Layer{base, upgrade, removal, imagetest.Gzip(imagetest.Npm("app/node_modules/lodash", "lodash", "4.17.15"))}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d.push("team/app", "1", imagetest.Build(tt.layers...))
			if got := d.call("GET", "/v2/team/app/manifests/1", nil); got.status != tt.status {
				t.Errorf("HTTP %d %s, want %d", got.status, got.body, tt.status)
			}
		})
	}
}

func TestIndexChildrenHaveTheirOwnVerdicts(t *testing.T) {
	d := open(t, gatetest.Options{})
	good := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...))
	bad := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "arm64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...))
	if err := d.pusher("app").PushIndex(context.Background(), "app", "multi", imagetest.BuildIndex(good, bad)); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]int{"multi": 200, good.Digest().String(): 200, bad.Digest().String(): 403} {
		if got := d.call("GET", "/v2/app/manifests/"+ref, nil); got.status != want {
			t.Errorf("%s: HTTP %d %s, want %d", ref, got.status, got.body, want)
		}
	}
}

func TestSettings(t *testing.T) {
	bad, clean := imagetest.Vulnerable(), imagetest.Clean()
	rpm := imagetest.Build(imagetest.Gzip(imagetest.File("etc/os-release", "ID=almalinux\nVERSION_ID=9.0\n"), imagetest.File("var/lib/rpm/rpmdb.sqlite", "SQLite format 3\x00")))
	for _, tt := range []struct {
		name    string
		config  *gate.Config
		image   imagetest.Image
		status  int
		warning string
	}{
		{"policy", nil, bad, 403, ""},
		{"analysis serves and warns", configure(func(c *gate.Config) { c.Mode = gate.ModeAnalysis }), bad, 200, "gate.mode is analysis"},
		{"analysis refuses what is not understood", configure(func(c *gate.Config) { c.Mode = gate.ModeAnalysis }), rpm, 403, ""},
		{"passive serves", configure(func(c *gate.Config) { c.Mode = gate.ModePassive }), bad, 200, ""},
		{"a rule for the repository", configure(func(c *gate.Config) {
			c.Rules = []gate.Rule{{Match: gate.Match{Repository: "team/*"}, Settings: gate.Settings{Mode: gate.ModePassive}}}
		}), bad, 200, ""},
		{"a rule for another repository", configure(func(c *gate.Config) {
			c.Rules = []gate.Rule{{Match: gate.Match{Repository: "other/*"}, Settings: gate.Settings{Mode: gate.ModePassive}}}
		}), bad, 403, ""},
		{"a gap refuses", nil, rpm, 403, ""},
		{"a gap may be allowed", configure(func(c *gate.Config) { c.OnGap = gate.Allow }), rpm, 200, ""},
		{"clean", nil, clean, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: tt.config})
			d.push("team/app", "1", tt.image)
			got := d.call("GET", "/v2/team/app/manifests/1", nil)
			if got.status != tt.status || !strings.Contains(got.header.Get("Warning"), tt.warning) {
				t.Errorf("HTTP %d %q %s", got.status, got.header.Get("Warning"), got.body)
			}
		})
	}
}

func TestEnforceRefusesThePush(t *testing.T) {
	d := open(t, gatetest.Options{Config: configure(func(c *gate.Config) { c.Push = gate.PushEnforce })})
	d.push("app", "1", imagetest.Clean())
	bad := imagetest.Vulnerable()
	err := d.pusher("app").Push(context.Background(), "app", "1", bad)
	if err == nil || !strings.Contains(err.Error(), "CVE-2025-15467") {
		t.Fatalf("push = %v, want a refusal with the reason", err)
	}
	if got := d.call("GET", "/v2/app/manifests/1", nil); got.header.Get("Docker-Content-Digest") != imagetest.Clean().Digest().String() {
		t.Errorf("the tag moved: HTTP %d %v", got.status, got.header)
	}
	index := imagetest.BuildIndex(bad)
	if err := d.pusher("app").PushIndex(context.Background(), "app", "multi", index); err == nil {
		t.Error("an index with a failing child was taken")
	}
}

func TestNoDataRefusesAndSaysSo(t *testing.T) {
	d := open(t, gatetest.Options{NoData: true})
	im := imagetest.Clean()
	d.push("app", "1", im)
	got := d.call("GET", "/v2/app/manifests/1", nil)
	if got.status != 403 || !strings.Contains(got.message(), "no vulnerability data") || !strings.Contains(got.message(), "pratique feeds list") {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	gatetest.WriteData(t, d.Dir, 1, gatetest.Advisories())
	if err := d.Gate.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := d.call("GET", "/v2/app/manifests/1", nil); got.status != 200 {
		t.Errorf("with data: HTTP %d %s", got.status, got.body)
	}
}

// TestNewDataFlipAVerdict: the old verdict is in force until the new one is
// there; what was granted stays open for gate.grant.
func TestNewDataFlipAVerdict(t *testing.T) {
	d := open(t, gatetest.Options{})
	im := imagetest.Clean()
	d.push("app", "1", im)
	if got := d.call("GET", "/v2/app/manifests/1", nil); got.status != 200 {
		t.Fatalf("HTTP %d %s", got.status, got.body)
	}
	gatetest.WriteData(t, d.Dir, 2, worse())
	if err := d.Gate.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := d.call("GET", "/v2/app/manifests/1", nil); got.status != 403 || !strings.Contains(got.message(), "fixed in 99.0-r0") {
		t.Errorf("after the flip: HTTP %d %s", got.status, got.body)
	}
	if got := d.call("GET", "/v2/app/blobs/"+im.Layers[0].Descriptor().Digest.String(), nil); got.status != 200 {
		t.Errorf("a layer of the pull under way: HTTP %d %s", got.status, got.body)
	}
	events, err := d.Catalog.Events(context.Background(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == gate.EventFlipped && strings.Contains(string(e.Doc), im.Digest().String()) {
			return
		}
	}
	t.Errorf("no event tells of the flip: %v", events)
}

func TestDataThatAreTooOldCountAsUnavailable(t *testing.T) {
	d := open(t, gatetest.Options{})
	d.push("app", "1", imagetest.Clean())
	d.Clock.Move(8 * 24 * time.Hour)
	if got := d.call("GET", "/v2/app/manifests/1", nil); got.status != 403 || !strings.Contains(got.message(), "max_data_age") {
		t.Errorf("HTTP %d %s", got.status, got.body)
	}
}

const dryRunBundle = `{"id":"dry","name":"dry","version":"1_0","whitelists":[],"whitelisted_images":[],"blacklisted_images":[],
"policies":[{"id":"p","name":"p","version":"1_0","rules":[{"id":"r","gate":"always","trigger":"always","action":"STOP","params":[]}]}],
"mappings":[
{"id":"a","name":"a","registry":"*","repository":"dry/*","image":{"type":"tag","value":"*"},"policy_ids":["p"],"whitelist_ids":[],"dry_run":true},
{"id":"b","name":"b","registry":"localhost:5000","repository":"wet/*","image":{"type":"tag","value":"*"},"policy_ids":["p"],"whitelist_ids":[]}]}`

func TestBundlesTakeEffectAtOnce(t *testing.T) {
	d := open(t, gatetest.Options{})
	ctx := context.Background()
	im := imagetest.Clean()
	for _, repo := range []string{"dry/app", "wet/app", "other/app"} {
		d.push(repo, "1", im)
		if got := d.call("GET", "/v2/"+repo+"/manifests/1", nil); got.status != 200 {
			t.Fatalf("%s: HTTP %d %s", repo, got.status, got.body)
		}
	}
	if _, err := d.Gate.AddPolicy(ctx, []byte(dryRunBundle)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Gate.Activate(ctx, "dry"); err != nil {
		t.Fatal(err)
	}
	for repo, want := range map[string]struct {
		status int
		text   string
	}{
		"dry/app": {200, "dry run"}, "wet/app": {403, "Unconditional trigger match"}, "other/app": {403, "no mapping"},
	} {
		got := d.call("GET", "/v2/"+repo+"/manifests/1", nil)
		if got.status != want.status || !strings.Contains(got.message()+got.header.Get("Warning"), want.text) {
			t.Errorf("%s: HTTP %d %q %s", repo, got.status, got.header.Get("Warning"), got.body)
		}
	}
}

func TestForeignRequestsAreTurnedAway(t *testing.T) {
	d := open(t, gatetest.Options{})
	d.push("app", "1", imagetest.Clean())
	for _, header := range [][]string{{"Host", "evil.example"}, {"Origin", "https://evil.example"}, {"X-Forwarded-For", "10.0.0.1"}, {"Forwarded", "for=10.0.0.1"}} {
		if got := d.call("GET", "/v2/app/manifests/1", nil, header...); got.status != http.StatusForbidden {
			t.Errorf("%v: HTTP %d", header, got.status)
		}
	}
}
