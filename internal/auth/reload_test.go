package auth_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pratique/pratique/internal/auth"
)

// TestRevocationIsAtOnce: a token is refused as soon as its principal is gone or
// has another secret.
func TestRevocationIsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*auth.Users)
		alice  bool // alice's token is still good
		robot  bool
	}{
		{"nothing of theirs changed", func(u *auth.Users) { u.Users = u.Users[:1] }, true, true},
		{"user removed", func(u *auth.Users) { _ = u.RemoveUser("alice") }, false, true},
		{"robot removed", func(u *auth.Users) { _ = u.RemoveRobot("ci") }, true, false},
		{"password changed", func(u *auth.Users) { u.Users[0].Password = u.Users[1].Password }, false, true},
		{"secret changed", func(u *auth.Users) { u.Robots[0].Secret = goodSecret }, true, false},
		{"robot's time ended", func(u *auth.Users) { u.Robots[0].Expires = start }, true, false},
		{"all removed", func(u *auth.Users) { *u = auth.Users{} }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := withUsers(t, auth.Config{Anonymous: auth.Pull})
			alice, _ := b.tokenFor(t, "alice", alicePassword, "repository:app:push")
			robot, _ := b.tokenFor(t, "robot+ci", b.robot, "repository:app:push")
			anonymous, _ := b.tokenFor(t, "", "", "repository:app:pull")
			users, err := auth.ReadUsers(b.file)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&users)
			b.write(t, users)
			if err := b.Reload(); err != nil {
				t.Fatal(err)
			}
			for token, good := range map[string]bool{alice: tt.alice, robot: tt.robot, anonymous: true} {
				c, err := b.caller("Bearer " + token)
				if (err == nil) != good || (err != nil && err != auth.ErrToken) {
					t.Errorf("%+v %v, good: %v", c, err, good)
				}
			}
		})
	}
}

func TestReconfigure(t *testing.T) {
	b := withUsers(t, auth.Config{})
	token, c := b.tokenFor(t, "alice", alicePassword, "repository:app:pull,push")
	if !c.Can(auth.Push, "app", "app") || b.May(auth.Anonymous, auth.Pull, "app") {
		t.Fatal("not as configured at the start")
	}
	next := auth.Config{Anonymous: auth.Pull, UsersFile: b.file, Token: auth.TokenConfig{Realm: "https://x/auth/token"},
		Rules: []auth.Rule{{Who: []string{"bob"}, Repositories: []string{"*"}, Actions: []string{auth.Push}}}}
	if err := b.Reconfigure(next); err != nil {
		t.Fatal(err)
	}
	if c.Can(auth.Push, "app", "app") || !c.Can(auth.Pull, "app", "app") || !b.May(auth.Anonymous, auth.Pull, "app") || !b.May("bob", auth.Push, "app") {
		t.Error("the new rules are not in force for a token of before")
	}
	if again, err := b.caller("Bearer " + token); err != nil || again.Name != "alice" {
		t.Errorf("the key did not stay: %v", err)
	}
	for name, bad := range map[string]auth.Config{
		"nothing at all": {}, "bad rule": {UsersFile: b.file, Rules: []auth.Rule{{}}}, "no such file": {UsersFile: b.file + "x"},
	} {
		if err := b.Reconfigure(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
		if !b.May("bob", auth.Push, "app") || b.May("alice", auth.Push, "app") {
			t.Errorf("%s: changed what is in force", name)
		}
	}
	closed := next
	closed.Anonymous = auth.None
	if err := b.Reconfigure(closed); err != nil || b.May(auth.Anonymous, auth.Pull, "app") || c.Can(auth.Pull, "app", "app") {
		t.Errorf("anonymous is not shut out: %v", err)
	}
}

func TestNewNeedsItsFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/bad.yaml", "users: [{name: alice, password: hunter2}]")
	writeFile(t, dir+"/short.key", "hunter2")
	for name, tt := range map[string]struct {
		config auth.Config
		wrong  string
	}{
		"no users file":  {auth.Config{UsersFile: dir + "/none"}, "auth.users_file"},
		"bad users file": {auth.Config{UsersFile: dir + "/bad.yaml"}, "users[0].password of alice"},
		"no key":         {auth.Config{Token: auth.TokenConfig{KeyFile: dir + "/none"}}, "auth.token.key_file"},
		"short key":      {auth.Config{Token: auth.TokenConfig{KeyFile: dir + "/short.key"}}, "auth.token.key_file: 7 bytes"},
	} {
		_, err := auth.New(tt.config, true)
		if err == nil || !strings.Contains(err.Error(), tt.wrong) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOneKeyForSeveralProcesses: a token of one is good at another with the same
// key and the same file.
func TestOneKeyForSeveralProcesses(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/key", "%s", strings.Repeat("k", 32))
	a := withUsers(t, auth.Config{Token: auth.TokenConfig{KeyFile: dir + "/key"}})
	b := &bench{file: a.file, now: start}
	b.open(t, auth.Config{UsersFile: a.file, Token: auth.TokenConfig{KeyFile: dir + "/key"}}, false)
	token, _ := a.tokenFor(t, "alice", alicePassword, "repository:app:pull")
	if c, err := b.caller("Bearer " + token); err != nil || !c.Can(auth.Pull, "app", "app") {
		t.Errorf("%+v %v", c, err)
	}
}

// TestRunWatchesTheFile on a clock of its own.
func TestRunWatchesTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := withUsers(t, auth.Config{})
		done := make(chan error)
		ctx, stop := context.WithCancel(t.Context())
		go func() { done <- b.Run(ctx) }()
		known := func() bool {
			_, err := b.Login(t.Context(), "carol", "hunter2hunter2", "192.0.2.1")
			return err == nil
		}
		good := strings.ReplaceAll("users: [{name: carol, password: HASH}]\n", "HASH", hash(t, "hunter2hunter2"))
		other := strings.Replace(good, "carol", "dave", 1)
		for _, step := range []struct {
			name string
			do   func() error
			want bool
		}{
			{"unchanged", func() error { return nil }, false},
			{"written in place", func() error { return os.WriteFile(b.file, []byte(good), 0o600) }, true},
			{"broken: the last good one stays", func() error { return os.WriteFile(b.file, []byte("users: [{name: carol, hunter2"), 0o600) }, true},
			{"gone: the last good one stays", func() error { return os.Remove(b.file) }, true},
			{"without carol", func() error { return os.WriteFile(b.file, []byte(other), 0o600) }, false},
			{"another file", func() error { return os.WriteFile(b.file+".new", []byte(good), 0o600) }, false},
			{"replaced by it", func() error { return os.Rename(b.file+".new", b.file) }, true},
		} {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := known(); got != step.want {
				t.Errorf("%s: carol is known: %v, want %v", step.name, got, step.want)
			}
			b.advance(time.Hour) // no log-in is limited or remembered
		}
		if n := strings.Count(b.logged(), "users file not reloaded"); n != 2 {
			t.Errorf("%d errors logged, want one for each thing that is wrong:\n%s", n, b.logged())
		}
		noSecret(t, b, b.logged())
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
