package bundle_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/policy/bundle"
)

// mappings writes a bundle with two policies and the given mappings, each
// "name registry repository type value policy".
func mappings(extra string, list ...string) string {
	var out []string
	for _, m := range list {
		f := strings.Fields(m)
		out = append(out, fmt.Sprintf(`{"id": "id-%[1]s", "name": %[1]q, "registry": %[2]q, "repository": %[3]q, "image": {"type": %[4]q, "value": %[5]q}, "policy_id": %[6]q, "whitelist_ids": []}`,
			f[0], f[1], f[2], f[3], f[4], f[5]))
	}
	return fmt.Sprintf(`{"id": "b", "version": "1_0", "name": "test", "policies": [
		{"id": "p1", "version": "1_0", "rules": [%s]}, {"id": "p2", "version": "1_0", "rules": []}],
		"mappings": [%s]%s}`, rule("STOP", "always", "always"), strings.Join(out, ","), extra)
}

func TestSelect(t *testing.T) {
	nginx := bundle.Request{Registries: []string{"docker.io", "registry-1.docker.io"}, Repositories: []string{"nginx", "library/nginx"},
		Tag: "1.27", Digests: []string{"sha256:aaaa", "sha512:bbbb"}, ImageID: "sha256:cccc"}
	tagless := nginx
	tagless.Tag = ""
	tests := []struct {
		name     string
		mappings []string
		req      bundle.Request
		want     string // mapping, and the spelling that matched
	}{
		{"first match wins", []string{"a docker.io * tag * p1", "b * * tag * p2"}, nginx, "a docker.io/nginx"},
		{"second", []string{"a quay.io * tag * p1", "b * * tag * p2"}, nginx, "b docker.io/nginx"},
		{"none", []string{"a quay.io * tag * p1"}, nginx, ""},
		{"with library", []string{"a docker.io library/* tag * p1"}, nginx, "a docker.io/library/nginx"},
		{"without library", []string{"a docker.io nginx tag * p1"}, nginx, "a docker.io/nginx"},
		{"second host", []string{"a registry-1.* nginx tag * p1"}, nginx, "a registry-1.docker.io/nginx"},
		{"dockerhub in the mapping", []string{"a dockerhub nginx tag * p1"}, nginx, "a docker.io/nginx"},
		{"dockerhub in the request", []string{"a docker.io nginx tag * p1"}, bundle.Request{Registries: []string{"dockerhub"}, Repositories: []string{"nginx"}, Tag: "1"}, "a docker.io/nginx"},
		{"tag pattern", []string{"a * * tag 1.* p1"}, nginx, "a docker.io/nginx"},
		{"another tag", []string{"a * * tag 2.* p1"}, nginx, ""},
		{"no tag, any tag", []string{"a * * tag 1.* p1", "b * * tag * p2"}, tagless, "b docker.io/nginx"},
		{"no tag is no empty tag", []string{"a * * tag regexp:.* p1"}, tagless, ""},
		{"digest", []string{"a * * digest sha512:bbbb p1"}, nginx, "a docker.io/nginx"},
		{"digest without tag", []string{"a * * digest sha256:aaaa p1"}, tagless, "a docker.io/nginx"},
		{"digests are no patterns", []string{"a * * digest sha256:* p1"}, nginx, ""},
		{"id", []string{"a * * id cccc p1"}, nginx, "a docker.io/nginx"},
		{"id with its algorithm", []string{"a * * id sha256:cccc p1"}, nginx, "a docker.io/nginx"},
		{"id of another repository", []string{"a * redis id cccc p1"}, nginx, ""},
		{"no id known", []string{"a * * id sha256:cccc p1"}, bundle.Request{Registries: []string{"docker.io"}, Repositories: []string{"nginx"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustParse(t, mappings("", tt.mappings...)).Select(tt.req, nil)
			got := strings.TrimSpace(s.Mapping.Name + " " + s.Mapping.Matched)
			if got != tt.want || s.Mapped != (tt.want != "") {
				t.Errorf("mapped %v by %q, want %q", s.Mapped, got, tt.want)
			}
		})
	}
}

func TestImageLists(t *testing.T) {
	entry := func(typ, value string) string {
		return fmt.Sprintf(`[{"id": "e", "name": "entry", "registry": "docker.io", "repository": "acme/*", "image": {"type": %q, "value": %q}}]`, typ, value)
	}
	tests := []struct {
		name  string
		extra string
		want  string
	}{
		{"neither", "", ""},
		{"whitelisted", `, "whitelisted_images": ` + entry("tag", "1.*"), bundle.Whitelisted},
		{"whitelisted, later name", `, "allowlisted_images": ` + entry("tag", "1.*"), bundle.Whitelisted},
		{"blacklisted by id", `, "blacklisted_images": ` + entry("id", "cccc"), bundle.Blacklisted},
		{"both", `, "whitelisted_images": ` + entry("tag", "*") + `, "denylisted_images": ` + entry("digest", "sha256:aaaa"), bundle.Blacklisted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustParse(t, mappings(tt.extra, "all * * tag * p1")).Select(web, nil)
			if s.Listed != tt.want {
				t.Errorf("listed %q, want %q", s.Listed, tt.want)
			}
		})
	}
}

// The hash changes with what a verdict depends on, and with nothing else.
func TestSelectionHash(t *testing.T) {
	base := document([]string{rule("STOP", "always", "always")}, []string{`{"id": "1", "gate": "always", "trigger_id": "x"}`}, "")
	hash := func(doc string) string { return mustParse(t, doc).Select(web, nil).Hash }
	list := `, "blacklisted_images": [{"name": "x", "registry": "*", "repository": "%s", "image": {"type": "tag", "value": "*"}}]`
	tests := []struct {
		name string
		doc  string
		same bool
	}{
		{"blanks and order", strings.ReplaceAll(base, `"gate": "always", "trigger_id": "x"`, `"trigger_id":"x",   "gate":"always"`), true},
		{"name of the bundle", strings.ReplaceAll(base, `"name": "test"`, `"name": "other"`), true},
		{"a mapping behind the one that matched", strings.ReplaceAll(base, `"whitelist_ids": ["w"]}]`,
			`"whitelist_ids": ["w"]}, {"registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}, "policy_id": "p", "whitelist_ids": []}]`), true},
		{"an image list that does not match", strings.TrimSuffix(base, "}") + fmt.Sprintf(list, "other") + "}", true},
		{"an image list that matches", strings.TrimSuffix(base, "}") + fmt.Sprintf(list, "*") + "}", false},
		{"a rule", strings.ReplaceAll(base, "STOP", "WARN"), false},
		{"an exception", strings.ReplaceAll(base, `"trigger_id": "x"`, `"trigger_id": "y"`), false},
		{"the whitelist left out", strings.ReplaceAll(base, `"whitelist_ids": ["w"]`, `"whitelist_ids": []`), false},
		{"no mapping", strings.ReplaceAll(base, `"repository": "*"`, `"repository": "other"`), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if same := hash(tt.doc) == hash(base); same != tt.same {
				t.Errorf("same hash: %v, want %v", same, tt.same)
			}
		})
	}
}

func TestBundleHash(t *testing.T) {
	a := mustParse(t, document(nil, nil, ""))
	b := mustParse(t, strings.ReplaceAll(document(nil, nil, ""), `"id": "b", "version": "1_0"`, `"version":"1_0","id":"b"`))
	if a.Hash != b.Hash {
		t.Error("the order of keys changes the bundle's hash")
	}
	if string(a.Raw) != document(nil, nil, "") {
		t.Error("the document is not kept as it was sent")
	}
}

func TestSelectAny(t *testing.T) {
	b := mustParse(t, mappings("", "strict * * tag prod-* p1", "lax * * tag test-* p2", "rest * * tag * p1"))
	tests := []struct {
		name string
		tags []string
		want []string // mappings
	}{
		{"no tags", nil, []string{"rest"}},
		{"one", []string{"test-1"}, []string{"lax"}},
		{"those that say the same only once", []string{"prod-1", "other", "test-1", "prod-2"}, []string{"strict", "lax"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := web
			req.Tag = "test-0"
			var got []string
			for _, s := range b.SelectAny(req, tt.tags, nil) {
				got = append(got, s.Mapping.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("mappings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeveralPolicies(t *testing.T) {
	doc := strings.ReplaceAll(mappings("", "all * * tag * X"), `"policy_id": "X"`, `"policy_ids": ["p2", "p1"], "dry_run": true`)
	s := mustParse(t, doc).Select(web, nil)
	v := s.Evaluate(facts())
	if v.Action.String() != "stop" || !v.DryRun || !s.DryRun {
		t.Errorf("6.7: action %v, dry run %v", v.Action, v.DryRun)
	}
}
