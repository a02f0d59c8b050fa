package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/auth"
)

// pratiqueIn runs the program with a standard input.
func pratiqueIn(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func TestUserCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	for _, c := range []struct {
		name, stdin    string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"no file", "", []string{"user", "list"}, 2, "", "no such file"},
		{"no password", "", []string{"user", "add", "alice"}, 2, "", "--password-stdin"},
		{"empty password", "\n", []string{"user", "add", "alice", "--password-stdin"}, 2, "", "the password is empty"},
		{"long password", strings.Repeat("p", 73), []string{"user", "add", "alice", "--password-stdin"}, 2, "", "longer than 72 bytes"},
		{"bad name", "hunter2", []string{"user", "add", "Alice", "--password-stdin"}, 2, "", `user name "Alice": want a-z`},
		{"add", "hunter2\n", []string{"user", "add", "alice", "--password-stdin"}, 0, "user alice is in " + path, ""},
		{"add again", "hunter2", []string{"user", "add", "alice", "--password-stdin"}, 2, "", "user alice is there already"},
		{"replace", "hunter3\r\n", []string{"user", "add", "alice", "--password-stdin", "--replace"}, 0, "user alice is in", ""},
		{"replace nobody", "hunter3", []string{"user", "add", "bob", "--password-stdin", "--replace"}, 2, "", "replace the password of bob: there is no"},
		{"list", "", []string{"user", "list"}, 0, "NAME\nalice\n", ""},
		{"list as JSON", "", []string{"user", "list", "--format", "json"}, 0, `"name": "alice"`, ""},
		{"unknown format", "", []string{"user", "list", "--format", "xml"}, 2, "", "want table or json"},
		{"remove", "", []string{"user", "remove", "alice"}, 0, "user alice removed", ""},
		{"remove again", "", []string{"user", "remove", "alice"}, 2, "", `remove user "alice": there is no`},
		{"list of nobody", "", []string{"user", "list", "--format", "json"}, 0, "[]\n", ""},
	} {
		stdout, stderr, code := pratiqueIn(t, c.stdin, append(append([]string{"auth"}, c.args...), "--users-file", path)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (c.code != 0 && stdout != "") {
			t.Errorf("%s: exit %d\n%s\n%s", c.name, code, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "hunter") || strings.Contains(stdout+stderr, "$2a$") {
			t.Errorf("%s: a secret can be seen:\n%s\n%s", c.name, stdout, stderr)
		}
		if c.name == "replace" {
			loginWith(t, path, "alice", "hunter3")
		}
	}
}

// loginWith fails the test unless a service with this file takes the password.
func loginWith(t *testing.T, path, user, password string) {
	t.Helper()
	s, err := auth.New(auth.Config{UsersFile: path}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(t.Context(), user, password, "192.0.2.1"); err != nil {
		t.Errorf("%s: %v", user, err)
	}
}

func TestRobotCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	run := func(args ...string) (string, string, int) {
		return pratique(t, append(append([]string{"auth", "robot"}, args...), "--users-file", path)...)
	}
	secret, stderr, code := run("add", "ci", "--expires", "1h", "--description", "build server")
	if code != 0 || !strings.HasPrefix(secret, "prtq_") || strings.Count(secret, "\n") != 1 || !strings.Contains(stderr, "docker login --username robot+ci --password-stdin") {
		t.Fatalf("exit %d\n%s\n%s", code, secret, stderr)
	}
	loginWith(t, path, "robot+ci", strings.TrimSpace(secret))
	stdout, stderr, code := run("add", "robot+deploy", "--format", "json")
	var made struct {
		Name, Secret string
		Expires      time.Time
	}
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || code != 0 || stderr != "" || made.Name != "robot+deploy" {
		t.Fatalf("exit %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	loginWith(t, path, made.Name, made.Secret)
	if left := time.Until(made.Expires); left < 719*time.Hour || left > 720*time.Hour {
		t.Errorf("expires in %v", left)
	}
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"there already", []string{"add", "ci"}, 2, "", "robot robot+ci is there already"},
		{"in the past", []string{"add", "x", "--expires", "-1h"}, 2, "", "must be longer than nothing"},
		{"bad name", []string{"add", "X"}, 2, "", "name: want robot+NAME"},
		{"list", []string{"list"}, 0, "NAME          STATE   EXPIRES               DESCRIPTION\nrobot+ci      active  ", ""},
		{"list as JSON", []string{"list", "--format", "json"}, 0, `"expired": false`, ""},
		{"remove", []string{"remove", "ci"}, 0, "robot robot+ci removed", ""},
		{"remove again", []string{"remove", "robot+ci"}, 2, "", "there is no user or robot of this name"},
	} {
		stdout, stderr, code := run(c.args...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || strings.Contains(stdout+stderr, "sha256:") || strings.Contains(stdout+stderr, "prtq_") {
			t.Errorf("%s: exit %d\n%s\n%s", c.name, code, stdout, stderr)
		}
	}
}

func TestCanCommand(t *testing.T) {
	dir := t.TempDir()
	users, conf := filepath.Join(dir, "users.yaml"), filepath.Join(dir, "pratique.yaml")
	if err := auth.EditUsers(t.Context(), users, func(u *auth.Users) error {
		_, old := u.AddRobot("old", "", time.Now().Add(-time.Hour))
		_, ci := u.AddRobot("ci", "", time.Now().Add(time.Hour))
		return errors.Join(old, ci)
	}); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`auth:
  anonymous: none
  users_file: %s
  rules:
    - {who: ["robot+*"], repositories: ["team/*"], actions: [push]}
    - {who: [anonymous], repositories: ["public/*"], actions: [pull]}
    - {who: [robot+ci], repositories: ["*"], actions: [admin]}
`, users)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"a rule", []string{"robot+ci", "push", "team/app"}, 0, "yes: robot+ci, push on team/app: auth.rules[0]\n", ""},
		{"on everything", []string{"robot+ci", "admin"}, 0, "yes: robot+ci, admin on everything: auth.rules[2]\n", ""},
		{"no rule", []string{"robot+ci", "delete", "team/app"}, 1, "no: robot+ci, delete on team/app: no rule allows it\n", ""},
		{"anonymous", []string{"anonymous", "pull", "public/app"}, 0, "auth.rules[1]", ""},
		{"expired", []string{"robot+old", "push", "team/app"}, 1, "the secret expired at", ""},
		{"nobody", []string{"mallory", "push", "team/app"}, 1, "there is no user or robot of this name", ""},
		{"as JSON", []string{"robot+ci", "push", "team/app", "--format", "json"}, 0, `"allowed": true`, ""},
		{"no action", []string{"robot+ci", "write", "team/app"}, 2, "", `"write" is no action`},
	} {
		stdout, stderr, code := pratique(t, append([]string{"auth", "can", "--config", conf}, c.args...)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s: exit %d\n%s\n%s", c.name, code, stdout, stderr)
		}
	}
	for _, c := range []struct {
		who  string
		code int
		text string
	}{{"anonymous", 0, "everything is open on loopback"}, {"alice", 1, "nobody has a name without auth.users_file"}} {
		if stdout, _, code := pratique(t, "auth", "can", c.who, "delete", "team/app"); code != c.code || !strings.Contains(stdout, c.text) {
			t.Errorf("open loopback, %s: exit %d\n%s", c.who, code, stdout)
		}
	}
}
