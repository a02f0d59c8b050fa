package auth_test

import (
	"encoding/json"
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
	for _, tt := range []struct {
		name, level, scope string
		can, cannot        []string
	}{
		{"a pull asks for pull", auth.Push, "repository:app:pull", []string{"pull app"}, []string{"push app", "delete app", "pull other"}},
		{"a push asks for both", auth.Push, "repository:app:pull,push", []string{"pull app", "push app"}, []string{"delete app"}},
		{"a mount asks for two repositories", auth.Push, "repository:app:pull,push repository:base:pull", []string{"push app", "pull base"}, []string{"push base"}},
		{"a star", auth.Push, "repository:app:*", []string{"pull app", "push app", "delete app"}, nil},
		{"a name with a port", auth.Push, "repository:reg:5000/app:pull", []string{"pull reg:5000/app"}, []string{"pull reg"}},
		{"pull is all there is", auth.Pull, "repository:app:pull,push,delete", []string{"pull app"}, []string{"push app", "delete app"}},
		{"no scope", auth.Push, "", nil, []string{"pull app"}},
		{"not a repository", auth.Push, "registry:catalog:*", nil, []string{"pull catalog"}},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				s := service(t, auth.Config{Anonymous: tt.level})
				c := caller(t, s, "Bearer "+token(t, s, method, tt.scope))
				for _, want := range tt.can {
					if a, r, _ := strings.Cut(want, " "); !c.Can(a, r) {
						t.Errorf("cannot %s", want)
					}
				}
				for _, forbidden := range tt.cannot {
					if a, r, _ := strings.Cut(forbidden, " "); c.Can(a, r) {
						t.Errorf("can %s", forbidden)
					}
				}
			})
		}
	}
}

func TestWithoutATokenAllIsPull(t *testing.T) {
	s := service(t, auth.Config{})
	for _, header := range []string{"", "Basic YWRtaW46Zm9vYmFy"} {
		c := caller(t, s, header)
		if !c.Can(auth.Pull, "any") || c.Can(auth.Push, "any") || c.Can(auth.Delete, "any") || c.Name != auth.Anonymous {
			t.Errorf("header %q: %+v", header, c)
		}
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	s, other := service(t, auth.Config{}), service(t, auth.Config{})
	good := token(t, s, http.MethodGet, "repository:app:pull")
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"aud": "pratique", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"another key": token(t, other, http.MethodGet, "repository:app:pull"), "cut": good[:len(good)-4], "no signature": unsigned, "no token": "x", "empty": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.Header.Set("Authorization", "Bearer "+text)
		if c, err := s.Caller(r); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name     string
		config   auth.Config
		loopback bool
		ok       bool
	}{
		{"loopback is open", auth.Config{}, true, true},
		{"elsewhere it must be said", auth.Config{}, false, false},
		{"and can be said", auth.Config{Anonymous: "push"}, false, true},
		{"none locks everybody out", auth.Config{Anonymous: "none"}, true, false},
		{"typing error", auth.Config{Anonymous: "pul"}, true, false},
		{"short tokens break long pushes", auth.Config{Token: auth.TokenConfig{TTL: time.Second}}, true, false},
	} {
		if err := tt.config.Validate(tt.loopback); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func service(t *testing.T, c auth.Config) *auth.Service {
	t.Helper()
	s, err := auth.New(c, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func token(t *testing.T, s *auth.Service, method, scope string) string {
	t.Helper()
	form := url.Values{"service": {"pratique"}, "scope": {scope}}.Encode()
	r := httptest.NewRequest(method, "/auth/token?"+form, nil)
	if method == http.MethodPost {
		r = httptest.NewRequest(method, "/auth/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("HTTP %d %s: %v", w.Code, w.Body, err)
	}
	if answer.Token == "" || answer.Token != answer.AccessToken || answer.ExpiresIn != 300 {
		t.Fatalf("answer %+v", answer)
	}
	return answer.Token
}

func caller(t *testing.T, s *auth.Service, header string) auth.Caller {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	c, err := s.Caller(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
