package auth_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pratique/pratique/internal/auth"
)

func TestTokensCarryWhatWasAskedAndMayBeHad(t *testing.T) {
	rules := []auth.Rule{
		{Who: []string{"alice"}, Repositories: []string{"team/*"}, Actions: []string{"push"}},
		{Who: []string{"alice"}, Repositories: []string{"team/app"}, Actions: []string{"delete", "admin"}},
		{Who: []string{"*"}, Repositories: []string{"base", "reg:5000/app"}, Actions: []string{"pull"}},
	}
	for _, tt := range []struct {
		name        string
		scopes      []string
		can, cannot []string
	}{
		{"a pull asks for pull", []string{"repository:team/app:pull"}, []string{"pull team/app"}, []string{"push team/app", "delete team/app", "pull team/b"}},
		{"a push asks for both", []string{"repository:team/app:pull,push"}, []string{"pull team/app", "push team/app"}, []string{"delete team/app"}},
		{"a mount, spaced", []string{"repository:team/app:pull,push repository:base:pull"}, []string{"push team/app", "pull base"}, []string{"push base"}},
		{"a mount, repeated", []string{"repository:team/app:pull,push", "repository:base:pull"}, []string{"push team/app", "pull base"}, []string{"push base"}},
		{"a star is the distribution's actions", []string{"repository:team/app:*"}, []string{"pull team/app", "push team/app", "delete team/app"}, []string{"admin team/app"}},
		{"a star gives what may be had", []string{"repository:team/b:*"}, []string{"push team/b"}, []string{"delete team/b"}},
		{"a name with a port", []string{"repository:reg:5000/app:pull"}, []string{"pull reg:5000/app"}, []string{"pull reg"}},
		{"one may be had, one not", []string{"repository:base:pull,push", "repository:secret:pull"}, []string{"pull base"}, []string{"push base", "pull secret"}},
		{"nothing may be had", []string{"repository:secret:pull"}, nil, []string{"pull secret"}},
		{"no scope", nil, nil, []string{"pull team/app"}},
		{"not a repository", []string{"registry:catalog:*"}, nil, []string{"pull catalog"}},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				b := withUsers(t, auth.Config{Rules: rules})
				a := ask{form: url.Values{"service": {"pratique"}, "scope": tt.scopes, "client_id": {"docker"}, "account": {"mallory"}, "offline_token": {"true"}}, user: "alice", pass: alicePassword}
				if method == http.MethodPost {
					a = ask{method: method, form: url.Values{"service": {"pratique"}, "scope": tt.scopes, "grant_type": {"password"}, "username": {"alice"}, "password": {alicePassword}}}
				}
				c, err := b.caller("bearer  " + b.token(t, a))
				if err != nil || c.Name != "alice" || !c.Token || c.Anonymous() {
					t.Fatalf("%+v %v", c, err)
				}
				for want, list := range map[bool][]string{true: tt.can, false: tt.cannot} {
					for _, what := range list {
						if a, r, _ := strings.Cut(what, " "); c.Can(a, r, r) != want || c.Asked(a, r) != want {
							t.Errorf("can %s: %v, asked %v, want %v", what, c.Can(a, r, r), c.Asked(a, r), want)
						}
					}
				}
			})
		}
	}
}

func TestAMirrorsNameMayStandForSeveral(t *testing.T) {
	b := withUsers(t, auth.Config{Rules: []auth.Rule{{Who: []string{"alice"}, Repositories: []string{"docker.io/library/*"}, Actions: []string{"pull"}}}})
	b.Resolve = func(typed string) []string { return []string{"quay.io/" + typed, "docker.io/" + typed} }
	_, c := b.tokenFor(t, "alice", alicePassword, "repository:library/nginx:pull,push")
	if !c.Can(auth.Pull, "library/nginx", "docker.io/library/nginx") {
		t.Error("what one of the names allows is not granted")
	}
	if c.Can(auth.Pull, "library/nginx", "quay.io/library/nginx") || c.Can(auth.Push, "library/nginx", "docker.io/library/nginx") {
		t.Error("granted by another name")
	}
	b.Resolve = func(string) []string { return nil }
	if _, c := b.tokenFor(t, "alice", alicePassword, "repository:docker.io/library/nginx:pull"); !c.Asked(auth.Pull, "docker.io/library/nginx") {
		t.Error("a name that leads nowhere is refused by the token service, which cannot say why")
	}
}

func TestTokenServiceAnswers(t *testing.T) {
	scope := func(more url.Values) url.Values {
		v := url.Values{"service": {"pratique"}, "scope": {"repository:app:pull"}}
		for k, text := range more {
			v[k] = text
		}
		return v
	}
	grant := func(kind, user, pass string) url.Values {
		return scope(url.Values{"grant_type": {kind}, "username": {user}, "password": {pass}})
	}
	for _, tt := range []struct {
		name   string
		ask    ask
		status int
		text   string
	}{
		{"wrong password", ask{form: scope(nil), user: "alice", pass: "hunter2"}, 401, "UNAUTHORIZED pratique: user name or password is wrong"},
		{"another's password", ask{form: scope(nil), user: "alice", pass: bobPassword}, 401, "UNAUTHORIZED"},
		{"no such user", ask{form: scope(nil), user: "hunter2", pass: alicePassword}, 401, "UNAUTHORIZED"},
		{"anonymous is no user", ask{form: scope(nil), user: "anonymous", pass: "x"}, 401, "UNAUTHORIZED"},
		{"no such robot", ask{form: scope(nil), user: "robot+x", pass: "x"}, 401, "UNAUTHORIZED"},
		{"login without scope", ask{form: url.Values{"service": {"pratique"}}, user: "alice", pass: "hunter2"}, 401, "UNAUTHORIZED"},
		{"no credentials, nothing to be had", ask{form: scope(nil)}, 401, "UNAUTHORIZED pratique: authentication required"},
		{"no credentials, nothing asked", ask{}, 200, "token"},
		{"a token is no password", ask{form: scope(nil), header: "Bearer x"}, 401, "takes Basic credentials"},
		{"Basic that is none", ask{form: scope(nil), header: "Basic !"}, 401, "takes Basic credentials"},
		{"password in a form", ask{method: "POST", form: grant("password", "alice", alicePassword)}, 200, "token"},
		{"wrong password in a form: containerd then tries GET", ask{method: "POST", form: grant("password", "alice", "hunter2")}, 401, "UNAUTHORIZED"},
		{"empty password in a form", ask{method: "POST", form: grant("password", "alice", "")}, 401, "UNAUTHORIZED"},
		{"refresh token: containerd then tries GET", ask{method: "POST", form: scope(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"hunter2"}})}, 400, `"error":"unsupported_grant_type"`},
		{"neither grant nor credentials", ask{method: "POST", form: scope(nil)}, 400, `"error":"invalid_request"`},
		{"Basic with a form", ask{method: "POST", form: scope(nil), user: "alice", pass: alicePassword}, 200, "token"},
		{"bad scope", ask{form: url.Values{"scope": {"hunter2"}}, user: "alice", pass: alicePassword}, 400, "scope 1 is not type:name:actions"},
		{"too many scopes", ask{form: url.Values{"scope": {strings.Repeat("repository:a:pull ", 33)}}}, 400, "more than 32 scopes"},
		{"too long a scope", ask{form: url.Values{"scope": {"repository:" + strings.Repeat("a", 600) + ":pull"}}}, 400, "scope 1 is longer"},
		{"too long a form", ask{method: "POST", form: url.Values{"password": {strings.Repeat("a", 70<<10)}}}, 400, "larger than 64 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := withUsers(t, auth.Config{})
			w := b.ask(tt.ask)
			if text := w.Body.String(); w.Code != tt.status || !strings.Contains(text+message(w), tt.text) {
				t.Errorf("HTTP %d %s, want %d %s", w.Code, text, tt.status, tt.text)
			} else if w.Code != 200 {
				noSecret(t, b, text)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (w.Code == 401) != strings.HasPrefix(challenge, "Basic realm=") {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
	b := withUsers(t, auth.Config{})
	r := httptest.NewRequest(http.MethodPost, "/auth/token?grant_type=password&username=alice&password="+alicePassword, nil)
	w := httptest.NewRecorder()
	if b.ServeHTTP(w, r); w.Code != http.StatusBadRequest {
		t.Errorf("a password in the address was taken: HTTP %d", w.Code)
	}
	w = httptest.NewRecorder()
	if b.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/auth/token", nil)); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, POST" {
		t.Errorf("PUT: HTTP %d", w.Code)
	}
}

func TestWithoutATokenAllIsPull(t *testing.T) {
	b := open(t, auth.Config{})
	for _, header := range []string{"", "Basic YWRtaW46Zm9vYmFy", "Digest x"} {
		c, err := b.caller(header)
		if err != nil || !c.Open || !c.Anonymous() || c.Token {
			t.Errorf("header %q: %+v %v", header, c, err)
		}
		if !c.Can(auth.Pull, "any", "any") || c.Can(auth.Push, "any", "any") || c.Can(auth.Delete, "any", "any") || c.Can(auth.Admin, "any", "") {
			t.Errorf("header %q: can more or less than pull", header)
		}
	}
	closed := withUsers(t, auth.Config{})
	if c, err := closed.caller(""); err != nil || c.Open || c.Can(auth.Pull, "any", "any") || !c.Asked(auth.Pull, "any") {
		t.Errorf("%+v %v", c, err)
	}
	if (auth.Caller{}).Can(auth.Pull, "any", "any") {
		t.Error("the zero caller can pull")
	}
}

func TestOpenLoopbackTakesAnyPassword(t *testing.T) {
	b := open(t, auth.Config{})
	_, c := b.tokenFor(t, "admin", "foobar", "repository:app:*")
	if c.Name != auth.Anonymous || !c.Can(auth.Delete, "app", "app") || !c.Can(auth.Push, "app", "app") {
		t.Errorf("%+v", c)
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	b, other := withUsers(t, auth.Config{}), withUsers(t, auth.Config{})
	good, _ := b.tokenFor(t, "alice", alicePassword, "repository:app:pull")
	foreign, _ := other.tokenFor(t, "alice", alicePassword, "repository:app:pull")
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "anonymous", "aud": "pratique", "exp": start.Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	payload := strings.Split(good, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload[1])
	if err != nil {
		t.Fatal(err)
	}
	noSecret(t, b, string(claims))
	payload[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), "alice", "bob", 1)))
	for name, text := range map[string]string{
		"another key": foreign, "cut": good[:len(good)-4], "no signature": unsigned, "no token": "x", "empty": "",
		"another name": strings.Join(payload, "."), "huge": strings.Repeat("a.", 64<<10),
	} {
		if c, err := b.caller("Bearer " + text); err != auth.ErrToken {
			t.Errorf("%s: accepted as %+v, %v", name, c, err)
		}
	}
	b.advance(5*time.Minute + 6*time.Second)
	if _, err := b.caller("Bearer " + good); err != auth.ErrToken {
		t.Errorf("accepted after its time: %v", err)
	}
}

func TestChallenge(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:5000/v2/", nil)
	scopes := []auth.Scope{{Type: "repository", Name: "app", Actions: []string{"pull", "push"}}, {Type: "repository", Name: `b"`, Actions: []string{"pull"}}}
	for _, tt := range []struct {
		name   string
		config auth.Config
		want   string
	}{
		{"the host of the request", auth.Config{}, `Bearer realm="http://127.0.0.1:5000/auth/token",service="pratique",scope="repository:app:pull,push",scope="repository:b:pull"`},
		{"the configured realm", auth.Config{Token: auth.TokenConfig{Realm: "https://registry.example.org/auth/token"}}, `Bearer realm="https://registry.example.org/auth/token",service="pratique",scope="repository:app:pull,push",scope="repository:b:pull"`},
	} {
		if got := open(t, tt.config).Challenge(r, scopes...); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
