package auth_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/auth"
)

func TestRules(t *testing.T) {
	team := []auth.Rule{
		{Who: []string{"alice", "robot+*"}, Repositories: []string{"team/*"}, Actions: []string{"push"}},
		{Who: []string{"alice"}, Repositories: []string{"team/app"}, Actions: []string{"delete"}},
		{Who: []string{"*"}, Repositories: []string{"docker.io/library/*"}, Actions: []string{"pull"}},
		{Who: []string{"anonymous"}, Repositories: []string{"public/*-open"}, Actions: []string{"pull"}},
		{Who: []string{"root"}, Repositories: []string{"*"}, Actions: []string{"admin", "break-glass"}},
		{Who: []string{"root"}, Repositories: []string{"team/*"}, Actions: []string{"break-glass"}},
	}
	rules := func(level string) auth.Config { return auth.Config{Anonymous: level, UsersFile: "users", Rules: team} }
	for _, tt := range []struct {
		name     string
		config   auth.Config
		loopback bool
		yes, no  []string // who action repository
	}{
		{"rules add up", rules(""), false,
			[]string{"alice push team/app", "alice pull team/app", "alice push team/a/b", "alice delete team/app", "alice pull docker.io/library/nginx", "robot+ci push team/app", "bob pull docker.io/library/nginx"},
			[]string{"alice delete team/other", "alice push docker.io/library/nginx", "bob pull team/app", "robot+ci delete team/app", "alice pull team", "alice pull xteam/app", "alicex pull team/app"}},
		{"anonymous is nobody of the star", rules(""), false,
			[]string{"anonymous pull public/an-open"},
			[]string{"anonymous pull docker.io/library/nginx", "anonymous push public/an-open", "anonymous pull public/closed", "bob pull public/an-open", " pull docker.io/library/nginx"}},
		{"nothing includes delete, admin or break-glass", rules(""), false,
			[]string{"root admin ", "root admin team/app", "root break-glass team/app", "root break-glass "},
			[]string{"root delete team/app", "root pull team/app", "root push ", "alice admin team/app", "alice break-glass team/app"}},
		{"a right on everything needs the star", rules(""), false,
			[]string{"root admin "}, []string{"alice pull ", "alice delete ", "bob pull "}},
		{"anonymous pull is for everybody", rules("pull"), false,
			[]string{"anonymous pull any/thing", "bob pull any/thing", "robot+x pull any/thing", "anonymous pull "},
			[]string{"anonymous push any/thing", "bob push any/thing", "anonymous delete any/thing"}},
		{"anonymous push is no delete", rules("push"), false,
			[]string{"anonymous push a/b", "anonymous pull a/b", "bob push a/b"},
			[]string{"anonymous delete a/b", "bob delete a/b", "anonymous admin ", "anonymous break-glass a/b"}},
		{"without rules users pull and push", auth.Config{UsersFile: "users"}, false,
			[]string{"alice push a/b", "robot+ci pull a/b"},
			[]string{"alice delete a/b", "alice admin ", "alice break-glass a/b", "anonymous pull a/b"}},
		{"a users file closes loopback too", auth.Config{UsersFile: "users"}, true,
			[]string{"alice push a/b"}, []string{"anonymous pull a/b", "anonymous push a/b"}},
		{"open loopback", auth.Config{}, true,
			[]string{"anonymous pull a/b", "anonymous push a/b", "anonymous delete a/b", "anonymous admin ", "anonymous admin a/b"},
			[]string{"anonymous break-glass a/b", "anonymous break-glass "}},
		{"loopback with a level", auth.Config{Anonymous: "push"}, true,
			[]string{"anonymous push a/b"}, []string{"anonymous delete a/b", "anonymous admin "}},
	} {
		for _, ask := range append(tt.yes, tt.no...) {
			want := slices.Contains(tt.yes, ask)
			f := strings.Split(ask, " ")
			rule, got := tt.config.Explain(tt.loopback, f[0], f[1], f[2])
			if got != want || (rule != "") != want {
				t.Errorf("%s: may %s: %v (%q), want %v", tt.name, ask, got, rule, want)
			}
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"**", "", true}, {"*", "a/b", true}, {"a*", "", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"*b*", "abc", true}, {"a*b*c", "axbyc", true}, {"a*b*c", "acb", false},
		{"ab*ba", "aba", false}, {"*x", "xy", false}, {"*ab", "aab", true}, {"a*b*b", "ab", false}, {"docker.io/*", "dockerxio/a", false},
	} {
		c := auth.Config{UsersFile: "users", Rules: []auth.Rule{{Who: []string{"alice"}, Repositories: []string{tt.pattern}, Actions: []string{auth.Delete}}}}
		if _, got := c.Explain(false, "alice", auth.Delete, tt.name); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.name, got)
		}
	}
}

func TestValidate(t *testing.T) {
	rule := func(who, repository, action string) []auth.Rule {
		return []auth.Rule{{Who: []string{who}, Repositories: []string{repository}, Actions: []string{action}}}
	}
	for _, tt := range []struct {
		name     string
		config   auth.Config
		loopback bool
		wrong    string // words of the error; empty: it is good
	}{
		{"loopback is open", auth.Config{}, true, ""},
		{"elsewhere it must be said", auth.Config{}, false, "Set auth.users_file (`pratique auth user add NAME`"},
		{"and can be said", auth.Config{Anonymous: "push"}, false, ""},
		{"or there are users", auth.Config{UsersFile: "u"}, false, ""},
		{"none locks everybody out", auth.Config{Anonymous: "none"}, true, "nobody could use the registry"},
		{"none elsewhere", auth.Config{Anonymous: "none"}, false, "nobody could use the registry"},
		{"none but for a rule", auth.Config{Anonymous: "none", Rules: rule("anonymous", "public/*", "pull")}, false, ""},
		{"none with users", auth.Config{Anonymous: "none", UsersFile: "u"}, true, ""},
		{"rules that change nothing", auth.Config{Rules: rule("anonymous", "a", "pull")}, true, "no rule changes that"},
		{"rules for nobody", auth.Config{Anonymous: "pull", Rules: rule("alice", "a", "push")}, true, `auth.rules[0].who: nobody can be "alice"`},
		{"typing error", auth.Config{Anonymous: "pul"}, true, `auth.anonymous: "pul" is none of`},
		{"short tokens break long pushes", auth.Config{Token: auth.TokenConfig{TTL: 1e9}}, true, "auth.token.ttl: at least 1m"},
		{"realm", auth.Config{Token: auth.TokenConfig{Realm: "https://registry.example.org/auth/token"}}, true, ""},
		{"realm without host", auth.Config{Token: auth.TokenConfig{Realm: "/auth/token"}}, true, "auth.token.realm"},
		{"realm with a password", auth.Config{Token: auth.TokenConfig{Realm: "https://u:hunter2@x/"}}, true, "auth.token.realm"},
		{"realm with a quote", auth.Config{Token: auth.TokenConfig{Realm: `https://x/"a`}}, true, "auth.token.realm"},
		{"nobody in a rule", auth.Config{UsersFile: "u", Rules: []auth.Rule{{Repositories: []string{"*"}, Actions: []string{"pull"}}}}, true, "none of them may be empty"},
		{"unknown action", auth.Config{UsersFile: "u", Rules: rule("alice", "*", "write")}, true, `auth.rules[0].actions: "write" is none of pull, push, delete, admin, break-glass`},
		{"empty pattern", auth.Config{UsersFile: "u", Rules: rule("alice", "", "pull")}, true, "auth.rules[0].repositories"},
		{"no name", auth.Config{UsersFile: "u", Rules: rule("Alice", "*", "pull")}, true, "auth.rules[0].who"},
		{"break-glass without a name", auth.Config{UsersFile: "u", Rules: rule("anonymous", "*", "break-glass")}, true, "break-glass needs a name"},
	} {
		err := tt.config.Validate(tt.loopback)
		if (err == nil) != (tt.wrong == "") || (err != nil && !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.wrong)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a password: %v", tt.name, err)
		}
	}
}
