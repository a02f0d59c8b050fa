package api_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// verdict is what tests look at of a check.
type verdict struct {
	Reference string
	Digest    string
	Allowed   bool
	Outcome   string
	Action    string
	Message   string
	Warning   string
	Mode      string
	Policy    *struct{ ID, Mapping string }
	Reasons   []struct{ Action, CVE, Package, Fixed string }
	Gaps      []struct{ Kind, Code string }
	Platforms []struct{ Platform, Outcome string }
	Report    string
	Data      *struct{ Sequence uint64 }
}

// rpm is an image with a package database that is not understood.
func rpm() imagetest.Image {
	return imagetest.Build(imagetest.Gzip(imagetest.File("etc/os-release", "ID=almalinux\nVERSION_ID=9.0\n"), imagetest.File("var/lib/rpm/rpmdb.sqlite", "SQLite format 3\x00")))
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name    string
		config  *gate.Config
		image   imagetest.Image
		allowed bool
		action  string
		says    string // in the message, or in the warning
	}{
		{"clean", nil, imagetest.Clean(), true, "go", ""},
		{"vulnerable", nil, imagetest.Vulnerable(), false, "stop", "CVE-2025-15467 libcrypto3 3.3.2-r0 (fixed in 3.3.6-r0)"},
		{"analysis", configure(func(c *gate.Config) { c.Mode = gate.ModeAnalysis }), imagetest.Vulnerable(), true, "stop", "gate.mode is analysis"},
		{"passive tells what policy says", configure(func(c *gate.Config) { c.Mode = gate.ModePassive }), imagetest.Vulnerable(), true, "stop", ""},
		{"not understood", nil, rpm(), false, "", "not understood"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, gatetest.Options{Config: c.config})
			d.store("team/app", "1.0", c.image)
			var got verdict
			d.get("/v1/pratique/check?reference=127.0.0.1:5000/team/app:1.0", &got)
			if got.Allowed != c.allowed || got.Reference != "team/app:1.0" || got.Digest != c.image.Digest().String() {
				t.Errorf("got %+v", got)
			}
			if c.action != "" && got.Action != c.action {
				t.Errorf("action %q, want %q", got.Action, c.action)
			}
			if !strings.Contains(got.Message+got.Warning, c.says) || (c.says == "" && got.Message != "") {
				t.Errorf("message %q, warning %q, want %q in one", got.Message, got.Warning, c.says)
			}
			if !strings.HasSuffix(got.Report, "/report/"+got.Digest) || got.Policy == nil || got.Policy.ID != "default" || got.Data == nil || got.Data.Sequence != 1 {
				t.Errorf("got %+v", got)
			}
			if len(got.Platforms) != 1 || got.Platforms[0].Platform == "" {
				t.Errorf("platforms %+v", got.Platforms)
			}
			if c.action == "stop" && (len(got.Reasons) == 0 || got.Reasons[0].CVE != "CVE-2025-15467" || got.Reasons[0].Fixed != "3.3.6-r0") {
				t.Errorf("reasons %+v", got.Reasons)
			}
		})
	}
}

func TestCheckOfIndex(t *testing.T) {
	d := open(t, gatetest.Options{})
	good := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...))
	bad := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "arm64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...))
	x := imagetest.BuildIndex(good, bad)
	d.pushIndex("team/multi", "1", x)
	var got verdict
	d.get("/v1/pratique/check?reference=team/multi:1", &got)
	want := []struct{ Platform, Outcome string }{{"linux/amd64", "allowed"}, {"linux/arm64", "refused"}}
	if diff := cmp.Diff(want, got.Platforms); diff != "" || got.Allowed || !strings.Contains(got.Message, "CVE-2025-15467") {
		t.Errorf("got %+v\n%s", got, diff)
	}
	// Anchore's check of the index is that of its worst image, under its own digest.
	var answer []map[string]map[string][]record
	d.get("/v1/images/"+x.Digest().String()+"/check?tag=team/multi:1", &answer)
	if got := answer[0][x.Digest().String()]["team/multi:1"][0]; got.Status != "fail" || got.Detail.Result.ImageID != bad.ID().Encoded() {
		t.Errorf("index: %+v", got)
	}
}

// record is Anchore's evaluation record.
type record struct {
	PolicyID string `json:"policyId"`
	Status   string `json:"status"`
	Detail   struct {
		Policy json.RawMessage `json:"policy"`
		Result struct {
			ImageID  string          `json:"image_id"`
			Tag      string          `json:"tag"`
			Mapping  json.RawMessage `json:"matched_mapping_rule"`
			Action   string          `json:"final_action"`
			Reason   string          `json:"final_action_reason"`
			Problems []struct {
				Type string `json:"problem_type"`
			} `json:"evaluation_problems"`
			Result map[string]struct {
				Result struct {
					Header []string `json:"header"`
					Rows   [][]any  `json:"rows"`
					Count  int      `json:"row_count"`
					Action string   `json:"final_action"`
				} `json:"result"`
			} `json:"result"`
		} `json:"result"`
	} `json:"detail"`
}

func TestAnchoreCheck(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad, clean, unread := imagetest.Vulnerable(), imagetest.Clean(), rpm()
	d.push("team/app", "bad", bad)
	d.push("team/app", "clean", clean)
	d.push("team/app", "also-clean", clean)
	d.push("team/app", "rpm", unread)
	for _, c := range []struct {
		name, path, tag string
		image           imagetest.Image
		status, action  string
		problem         string
	}{
		{"fails", "?tag=127.0.0.1:5000/team/app:bad&detail=True", "127.0.0.1:5000/team/app:bad", bad, "fail", "stop", ""},
		{"passes, asked by the other host name", "?tag=localhost:5000/team/app:clean&detail=true", "localhost:5000/team/app:clean", clean, "pass", "go", ""},
		{"by every tag", "", "127.0.0.1:5000/team/app:also-clean", clean, "pass", "go", ""},
		{"what the gate refuses fails", "?tag=team/app:rpm", "team/app:rpm", unread, "fail", "stop", "GateRefusal"},
		{"by another bundle", "?policyId=2c53a13c-1765-11e8-82ef-23527761d060&tag=team/app:bad", "team/app:bad", bad, "fail", "stop", ""},
		{"not understood under another bundle", "?policyId=2c53a13c-1765-11e8-82ef-23527761d060&tag=team/app:rpm", "team/app:rpm", unread, "fail", "stop", "GateRefusal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var answer []map[string]map[string][]record
			d.get("/v1/images/"+url.PathEscape(c.image.Digest().String())+"/check"+c.path, &answer)
			if len(answer) != 1 || len(answer[0][c.image.Digest().String()][c.tag]) != 1 {
				t.Fatalf("nesting: %+v", answer)
			}
			rec := answer[0][c.image.Digest().String()][c.tag][0]
			r := rec.Detail.Result
			if rec.Status != c.status || r.Action != c.action || r.Tag != c.tag || r.Reason != "policy_evaluation" || r.ImageID != c.image.ID().Encoded() {
				t.Errorf("record: %+v", rec)
			}
			if c.problem != "" && !slices.ContainsFunc(r.Problems, func(p struct {
				Type string `json:"problem_type"`
			}) bool {
				return p.Type == c.problem
			}) {
				t.Errorf("problems: %+v", r.Problems)
			}
			table := r.Result[r.ImageID].Result
			if len(table.Header) != 9 || table.Count != len(table.Rows) || !strings.HasPrefix(string(r.Mapping), "{") {
				t.Errorf("table: %+v, mapping %s", table, r.Mapping)
			}
		})
	}
	t.Run("percent-encoded digest, bare host, no detail", func(t *testing.T) {
		var answer []map[string]map[string][]record
		d.get("/images/"+strings.Replace(bad.Digest().String(), ":", "%3A", 1)+"/check?tag=team/app:bad&detail=false", &answer)
		if rec := answer[0][bad.Digest().String()]["team/app:bad"][0]; rec.Status != "fail" || rec.Detail.Policy != nil {
			t.Errorf("record: %+v", rec)
		}
	})
}

func TestAnchoreCheckNotFound(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("team/app", "bad", bad)
	for _, c := range []struct {
		name, path string
		status     int
	}{
		{"unknown image", imagetest.Clean().Digest().String() + "/check", 404},
		{"another repository's tag", bad.Digest().String() + "/check?tag=docker.io/library/nginx:1", 404},
		{"unknown policy", bad.Digest().String() + "/check?policyId=none", 404},
		{"no tag", bad.Digest().String() + "/check?tag=%20", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := d.call("GET", "/v1/images/"+c.path, "")
			var e struct {
				Message  string
				Httpcode int
				Detail   map[string]any
			}
			if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != c.status || e.Httpcode != c.status || e.Message == "" || e.Detail == nil {
				t.Errorf("HTTP %d %s", got.status, got.body)
			}
		})
	}
}
