package auth_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/pratique/pratique/internal/auth"
)

// FuzzScopes: whatever is asked for, a token holds no more than rules allow and
// was asked for.
func FuzzScopes(f *testing.F) {
	for _, s := range []string{"repository:app:pull", "repository:app:pull,push,delete,*", "repository:reg:5000/app:*", "a::b", ":::", "repository:app", "repository(plugin):a:pull repository:b:pull", "registry:catalog:*"} {
		f.Add(s)
	}
	b := closedTo(f)
	f.Fuzz(func(t *testing.T, scope string) {
		w := b.ask(ask{form: url.Values{"scope": {scope}}})
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusUnauthorized {
			t.Fatalf("HTTP %d %s", w.Code, w.Body)
		}
		if w.Code != http.StatusOK {
			return
		}
		c, err := b.caller("Bearer " + b.token(t, ask{form: url.Values{"scope": {scope}}}))
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range []string{auth.Push, auth.Delete, auth.Admin, auth.BreakGlass, "*", ""} {
			if c.Asked(action, "public/app") || c.Can(action, "public/app", "public/app") {
				t.Errorf("%q gives %q", scope, action)
			}
		}
		if c.Asked(auth.Pull, "app") {
			t.Errorf("%q gives what no rule allows", scope)
		}
	})
}

// FuzzAuthorization: no header but a token of ours makes a caller with a name,
// and none makes the token service grant a name.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"", "Bearer", "Bearer ", "Bearer a.b.c", "bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImF1ZCI6InByYXRpcXVlIn0.", "Basic", "Basic !", "Basic YWxpY2U6", "Basic YWxpY2U6aHVudGVyMg==", "Digest x"} {
		f.Add(s)
	}
	b := closedTo(f)
	f.Fuzz(func(t *testing.T, header string) {
		c, err := b.caller(header)
		if err != nil && err != auth.ErrToken {
			t.Fatal(err)
		}
		if c.Token || (err == nil && !c.Anonymous()) || c.Can(auth.Push, "a", "a") {
			t.Errorf("%q makes %+v", header, c)
		}
		if header == "" {
			return
		}
		if w := b.ask(ask{header: header, form: url.Values{"scope": {"repository:public/app:pull"}}}); w.Code != http.StatusUnauthorized && w.Code != http.StatusTooManyRequests {
			t.Errorf("%q: HTTP %d %s", header, w.Code, w.Body)
		}
	})
}

// closedTo is a service where anonymous may pull below public/, and the one user
// has a password that nobody knows.
func closedTo(f *testing.F) *bench {
	f.Helper()
	b := &bench{file: f.TempDir() + "/users.yaml", now: start}
	writeFile(f, b.file, "users: [{name: alice, password: %q}]\n", "$2a$04"+goodHash[6:])
	b.open(f, auth.Config{UsersFile: b.file, Rules: []auth.Rule{{Who: []string{auth.Anonymous}, Repositories: []string{"public/*"}, Actions: []string{auth.Pull}}}}, false)
	return b
}
