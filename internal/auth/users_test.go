package auth_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/pratique/pratique/internal/auth"
)

const (
	goodHash   = "$2a$12$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	goodSecret = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

func TestParseUsers(t *testing.T) {
	user := func(name, password string) string {
		return fmt.Sprintf("users:\n  - {name: %s, password: %q}\n", name, password)
	}
	robot := func(name, secret, expires string) string {
		return fmt.Sprintf("robots:\n  - {name: %q, secret: %q, expires: %s, description: CI}\n", name, secret, expires)
	}
	for _, tt := range []struct {
		name, text, wrong string
	}{
		{"nothing", "", ""},
		{"only words", "# nobody\n", ""},
		{"one of each", user("alice", goodHash) + robot("robot+ci", goodSecret, "2027-01-01T00:00:00Z"), ""},
		{"htpasswd's hash", user("alice", "$2y$05"+goodHash[6:]), ""},
		{"all a name may hold", user("a.b_c-9", goodHash), ""},
		{"unknown key", user("alice", goodHash) + "groups: [hunter2]\n", "line 3"},
		{"unknown key of a user", "users: [{name: alice, password: x, hunter2: y}]", "line 1"},
		{"password in the place of the list", "users: hunter2", "line 1"},
		{"broken", "users: [{name: alice, password: hunter2", "line 1"},
		{"two documents", "users: []\n---\nusers: []\n", "more than one"},
		{"key twice", "users: []\nusers: []\n", "line 2"},
		{"anonymous", user("anonymous", goodHash), "users[0].name: anonymous is the name of those who have none"},
		{"name with capitals", user("hunteR2", goodHash), "users[0].name: want"},
		{"name with a colon", user(`"a:b"`, goodHash), "users[0].name: want"},
		{"name too long", user(strings.Repeat("a", 64), goodHash), "users[0].name: want"},
		{"user like a robot", user("robot+x", goodHash), "users[0].name: want"},
		{"twice", "users: [{name: a, password: " + goodHash + "}, {name: a, password: " + goodHash + "}]", "users[1].name: a is there twice"},
		{"plain password", user("alice", "hunter2"), "users[0].password of alice: no bcrypt hash"},
		{"no password", "users: [{name: alice}]", "no bcrypt hash"},
		{"another hash", user("alice", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"), "no bcrypt hash"},
		{"hash with foreign bytes", user("alice", goodHash[:59]+"!"), "no bcrypt hash"},
		{"hash too dear", user("alice", "$2a$31"+goodHash[6:]), "at most 16"},
		{"hash too cheap to be one", user("alice", "$2a$00"+goodHash[6:]), "no bcrypt hash"},
		{"robot without prefix", robot("ci", goodSecret, "2027-01-01T00:00:00Z"), "robots[0].name: want robot+NAME"},
		{"robot with a plain secret", robot("robot+ci", "prtq_hunter2", "2027-01-01T00:00:00Z"), "robots[0].secret of robot+ci: want sha256:"},
		{"robot for ever", "robots: [{name: robot+ci, secret: \"" + goodSecret + "\"}]", "robots[0].expires of robot+ci: missing"},
		{"no date", robot("robot+ci", goodSecret, "hunter2"), "not a users file"},
		{"long description", "robots: [{name: robot+ci, secret: \"" + goodSecret + "\", expires: 2027-01-01T00:00:00Z, description: " + strings.Repeat("x", 257) + "}]", "description of robot+ci"},
		{"too many", "users:\n" + strings.Repeat("  - {name: a}\n", 5001), "5001 users and robots, at most 5000"},
		{"too large", strings.Repeat("#", 1<<20+1), "larger than 1048576 bytes"},
	} {
		_, err := auth.ParseUsers([]byte(tt.text))
		if (err == nil) != (tt.wrong == "") || (err != nil && !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.wrong)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), goodHash[7:])) {
			t.Errorf("%s: the error repeats a value: %v", tt.name, err)
		}
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add([]byte("users:\n  - {name: alice, password: \"" + goodHash + "\"}\nrobots:\n  - {name: robot+ci, secret: \"" + goodSecret + "\", expires: 2027-01-01T00:00:00Z}\n"))
	f.Add([]byte("a: &a [*a, *a]"))
	f.Add([]byte("users: [{name: alice, password: \"$2a$4\"}]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		users, err := auth.ParseUsers(raw)
		if err != nil {
			return
		}
		// What is good is good again after it was written.
		path := filepath.Join(t.TempDir(), "users.yaml")
		if err := auth.EditUsers(t.Context(), path, func(u *auth.Users) error { *u = users; return nil }); err != nil {
			t.Fatal(err)
		}
		again, err := auth.ReadUsers(path)
		if err != nil || len(again.Users) != len(users.Users) || len(again.Robots) != len(users.Robots) {
			t.Fatalf("%+v became %+v, %v", users, again, err)
		}
	})
}

func TestEditUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	edit := func(change func(*auth.Users) error) error { return auth.EditUsers(t.Context(), path, change) }
	var secret string
	if err := edit(func(u *auth.Users) (err error) {
		secret, err = u.AddRobot("ci", "CI", start.Add(time.Hour))
		return errors.Join(err, u.AddUser("alice", alicePassword))
	}); err != nil {
		t.Fatal(err)
	}
	users, err := auth.ReadUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost([]byte(users.Users[0].Password)); err != nil || cost != 12 {
		t.Errorf("bcrypt cost %d, %v", cost, err)
	}
	want := auth.Users{Users: []auth.User{{Name: "alice"}}, Robots: []auth.Robot{{Name: "robot+ci", Expires: start.Add(time.Hour), Description: "CI"}}}
	ignoreSecrets := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Password" || p.Last().String() == ".Secret" }, cmp.Ignore())
	if diff := cmp.Diff(want, users, ignoreSecrets); diff != "" {
		t.Error(diff)
	}
	raw, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(raw), secret) || strings.Contains(string(raw), alicePassword) || len(secret) < 48 || !strings.HasPrefix(secret, "prtq_") {
		t.Errorf("the file, or the secret, is not as it should be: %v\n%s", err, raw)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before := string(raw)
	for name, change := range map[string]func(*auth.Users) error{
		"there already":         func(u *auth.Users) error { return u.AddUser("alice", "x") },
		"no name":               func(u *auth.Users) error { return u.AddUser("", "x") },
		"anonymous":             func(u *auth.Users) error { return u.AddUser("anonymous", "x") },
		"empty password":        func(u *auth.Users) error { return u.AddUser("bob", "") },
		"long password":         func(u *auth.Users) error { return u.AddUser("bob", strings.Repeat("x", 73)) },
		"robot there already":   func(u *auth.Users) error { _, err := u.AddRobot("robot+ci", "", start); return err },
		"bad robot":             func(u *auth.Users) error { _, err := u.AddRobot("robot+robot+x", "", start); return err },
		"nobody of this name":   func(u *auth.Users) error { return u.RemoveUser("bob") },
		"no robot of this name": func(u *auth.Users) error { return u.RemoveRobot("bob") },
		"given up":              func(*auth.Users) error { return context.Canceled },
	} {
		if err := edit(change); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != before {
		t.Errorf("an edit that failed changed the file: %v\n%s", err, raw)
	}
	if err := edit(func(u *auth.Users) error { return errors.Join(u.RemoveUser("alice"), u.RemoveRobot("ci")) }); err != nil {
		t.Fatal(err)
	}
	if users, err := auth.ReadUsers(path); err != nil || len(users.Users)+len(users.Robots) != 0 {
		t.Errorf("%+v %v", users, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".users-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEditKeepsWhatIsNotItsBusiness(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "users.yaml")
	writeFile(t, path, "users: [{name: alice, password: %q}]\n", goodHash)
	if err := errors.Join(os.Chmod(path, 0o644), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	if err := auth.EditUsers(t.Context(), link, func(u *auth.Users) error { _, err := u.AddRobot("ci", "", start); return err }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v %v", info, err)
	}
	if info, err := os.Stat(link); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, want the group's right to read kept and all others gone: %v", info.Mode(), err)
	}
	writeFile(t, path, "users: {}")
	if err := auth.EditUsers(t.Context(), path, func(*auth.Users) error { return nil }); err == nil {
		t.Error("a file that cannot be read was overwritten")
	}
}

// writers and each are the processes that write at once, and what each adds.
const (
	writers = 3
	each    = 8
)

// TestProcessesWriteAtOnce: none loses what another wrote.
func TestProcessesWriteAtOnce(t *testing.T) {
	if path := os.Getenv("PRATIQUE_TEST_USERS"); path != "" {
		for i := range each {
			name := fmt.Sprintf("%s-%d", os.Getenv("PRATIQUE_TEST_WRITER"), i)
			if err := auth.EditUsers(t.Context(), path, func(u *auth.Users) error { _, err := u.AddRobot(name, "", start); return err }); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	path := filepath.Join(t.TempDir(), "users.yaml")
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessesWriteAtOnce$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), "PRATIQUE_TEST_USERS="+path, fmt.Sprintf("PRATIQUE_TEST_WRITER=w%d", i))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("writer %d: %v\n%s", i, err, out)
			}
		})
	}
	wg.Wait()
	users, err := auth.ReadUsers(path)
	if err != nil || len(users.Robots) != writers*each {
		t.Errorf("%d robots, want %d: %v", len(users.Robots), writers*each, err)
	}
}

func TestAWriterThatWaitsCanBeStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	err := auth.EditUsers(t.Context(), path, func(*auth.Users) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		return auth.EditUsers(ctx, path, func(*auth.Users) error { return nil })
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
