package main_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/imagetest"
)

// The people of a house, by what they may do in every repository.
const (
	readerBot = "robot+reader" // pull
	pushBot   = "robot+ci"     // push, which includes pull
	keeper    = "keeper"       // push and delete
	chief     = "chief"        // everything
)

// house is a server that knows people by name and nobody else.
type house struct {
	*server
	secrets map[string]string // by name
}

// newHouse starts a server with users and robots. What is pushed to a repository
// named "held" is quarantined, to one named "closed" refused if it fails.
func newHouse(t *testing.T, settings ...string) *house {
	t.Helper()
	h := &house{secrets: map[string]string{}}
	users := filepath.Join(t.TempDir(), "users.yaml")
	for _, name := range []string{readerBot, pushBot} {
		secret, errOut, code := pratique(t, "auth", "robot", "add", strings.TrimPrefix(name, "robot+"), "--users-file", users)
		if code != 0 {
			t.Fatalf("robot %s: exit %d\n%s", name, code, errOut)
		}
		h.secrets[name] = strings.TrimSpace(secret)
	}
	for _, name := range []string{keeper, chief} {
		h.secrets[name] = "the password of " + name
		if _, errOut, code := pratiqueIn(t, h.secrets[name], "auth", "user", "add", name, "--password-stdin", "--users-file", users); code != 0 {
			t.Fatalf("user %s: exit %d\n%s", name, code, errOut)
		}
	}
	h.server, _ = serveLockouts(t, append([]string{
		"--set", "auth.users_file=" + users,
		"--set", `auth.rules=[{who: [` + readerBot + `], repositories: ["*"], actions: [pull]}, {who: [` + pushBot + `], repositories: ["*"], actions: [push]},` +
			` {who: [` + keeper + `], repositories: ["*"], actions: [push, delete]}, {who: [` + chief + `], repositories: ["*"], actions: [push, delete, admin, break-glass]}]`,
		"--set", `gate.rules=[{match: {repository: "*/held"}, push: quarantine}, {match: {repository: "*/closed"}, push: enforce}]`,
	}, settings...)...)
	// What the tests ask the API themselves, they ask as somebody who may.
	h.api = strings.Replace(h.api, "http://", "http://"+url.UserPassword(chief, h.secrets[chief]).String()+"@", 1)
	return h
}

// pushes is how images are put there without a client.
func (h *house) pushes(t testing.TB, repository string) imagetest.Registry {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.registry+"/auth/token?scope=repository:"+repository+":pull,push", nil)
	fatal(t, err)
	req.SetBasicAuth(pushBot, h.secrets[pushBot])
	res, err := http.DefaultClient.Do(req)
	fatal(t, err)
	defer res.Body.Close()
	var answer struct{ Token string }
	fatal(t, json.NewDecoder(res.Body).Decode(&answer))
	return imagetest.Registry{URL: "http://" + h.registry, Header: http.Header{"Authorization": {"Bearer " + answer.Token}}}
}

// breakGlass lets somebody pull what is refused in a repository, and returns how
// to end it.
func (h *house) breakGlass(t testing.TB, who, repository string) (end func()) {
	t.Helper()
	ask := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, h.api+"/v1/pratique/break-glass"+path, strings.NewReader(body))
		fatal(t, err)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		fatal(t, err)
		defer res.Body.Close()
		var answer struct{ ID string }
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode >= http.StatusBadRequest {
			t.Fatalf("%s break-glass: HTTP %d, %v", method, res.StatusCode, err)
		}
		return answer.ID
	}
	id := ask(http.MethodPost, "", `{"repository": "`+repository+`", "principal": "`+who+`", "for": "10m", "reason": "roll back to the release before"}`)
	return func() { ask(http.MethodDelete, "/"+id, "") }
}
