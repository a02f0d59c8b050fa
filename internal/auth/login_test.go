package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/pratique/pratique/internal/auth"
)

func TestLogin(t *testing.T) {
	long := strings.Repeat("p", 72)
	for _, tt := range []struct {
		name, user, pass string
		ok               bool
	}{
		{"user", "alice", alicePassword, true},
		{"htpasswd's hash", "carol", "from-htpasswd", true},
		{"as long as may be", "dave", long, true},
		{"longer: bcrypt would not look at the rest", "dave", long + "x", false},
		{"wrong", "alice", "hunter2", false},
		{"empty", "alice", "", false},
		{"no such user", "mallory", alicePassword, false},
		{"no name", "", alicePassword, false},
		{"case counts", "Alice", alicePassword, false},
		{"the hash is no password", "alice", "HASH", false},
		{"robot with a password", "robot+ci", alicePassword, false},
		{"robot without prefix", "ci", "ROBOT", false},
		{"robot", "robot+ci", "ROBOT", true},
		{"a stored secret is no secret", "robot+ci", "STORED", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := withUsers(t, auth.Config{})
			users, err := auth.ReadUsers(b.file)
			if err != nil {
				t.Fatal(err)
			}
			users.Users = append(users.Users, auth.User{Name: "carol", Password: strings.Replace(hash(t, "from-htpasswd"), "$2a$", "$2y$", 1)},
				auth.User{Name: "dave", Password: hash(t, long)})
			b.write(t, users)
			if err := b.Reload(); err != nil {
				t.Fatal(err)
			}
			pass := tt.pass
			switch pass {
			case "ROBOT":
				pass = b.robot
			case "HASH":
				pass = users.Users[0].Password
			case "STORED":
				pass = users.Robots[0].Secret
			}
			for range 2 { // the second time it may be remembered
				name, err := b.Login(t.Context(), tt.user, pass, "192.0.2.1")
				if tt.ok && (err != nil || name != tt.user) || !tt.ok && (err != auth.ErrCredentials || name != "") {
					t.Errorf("%q %v", name, err)
				}
			}
		})
	}
}

func TestRobotsExpire(t *testing.T) {
	b := withUsers(t, auth.Config{})
	b.advance(58 * time.Minute)
	token, c := b.tokenFor(t, "robot+ci", b.robot, "repository:app:pull,push")
	if !c.Can(auth.Push, "app", "app") {
		t.Fatal("a robot cannot push")
	}
	b.advance(2 * time.Minute)
	if _, err := b.caller("Bearer " + token); err != auth.ErrToken {
		t.Errorf("the token outlives the robot: %v", err)
	}
	if _, err := b.Login(t.Context(), "robot+ci", b.robot, "192.0.2.1"); err != auth.ErrCredentials {
		t.Errorf("an expired robot logs in: %v", err)
	}
}

func TestFailuresAreLimited(t *testing.T) {
	b := withUsers(t, auth.Config{})
	try := func(user, pass, client string) error {
		_, err := b.Login(t.Context(), user, pass, client)
		return err
	}
	fail := func(user, client string, times int) (limited *auth.LimitedError) {
		for range times {
			if err := try(user, "hunter2", client); !errors.Is(err, auth.ErrCredentials) && !errors.As(err, &limited) {
				t.Fatal(err)
			}
		}
		return limited
	}
	if limited := fail("alice", "192.0.2.1", 10); limited != nil {
		t.Fatalf("limited too early: %v", limited)
	}
	limited := fail("alice", "192.0.2.1", 1)
	if limited == nil || limited.RetryAfter <= 0 || limited.RetryAfter > 16*time.Second {
		t.Fatalf("not limited: %v", limited)
	}
	if err := try("alice", alicePassword, "192.0.2.1"); !errors.As(err, &limited) {
		t.Errorf("the right password from there: %v", err)
	}
	for name, err := range map[string]error{
		"alice from elsewhere": try("alice", alicePassword, "192.0.2.2"), "bob from there": try("bob", bobPassword, "192.0.2.1"),
		"a robot's secret is not guessed": try("robot+ci", b.robot, "192.0.2.1"), "remembered": try("bob", bobPassword, "192.0.2.1"),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.advance(limited.RetryAfter)
	if err := try("alice", alicePassword, "192.0.2.1"); err != nil {
		t.Errorf("after the time that was named: %v", err)
	}
	if limited := fail("alice", "192.0.2.1", 10); limited != nil {
		t.Errorf("the right password does not begin anew: %v", limited)
	}
}

func TestFailuresOfAClientAreLimited(t *testing.T) {
	b := withUsers(t, auth.Config{})
	failed := 0
	for i := range 100 {
		// One customer's addresses, many names.
		_, err := b.Login(t.Context(), fmt.Sprintf("user%d", i), "hunter2", fmt.Sprintf("2001:db8::%x", i))
		if errors.Is(err, auth.ErrCredentials) {
			failed++
		}
	}
	if failed != 30 {
		t.Errorf("%d log-ins could be tried, want 30", failed)
	}
	w := b.ask(ask{form: url.Values{}, user: "alice", pass: alicePassword})
	if w.Code != http.StatusOK {
		t.Errorf("another client: HTTP %d %s", w.Code, w.Body)
	}
	for range 40 {
		b.Login(t.Context(), "robot+x", "hunter2", "192.0.2.7")
	}
	w = b.ask(ask{form: url.Values{}, user: "robot+x", pass: "hunter2"})
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.HasPrefix(message(w), "TOOMANYREQUESTS pratique: too many log-ins") {
		t.Errorf("HTTP %d %s", w.Code, w.Body)
	}
}

// TestRememberedPasswords: what was right stays so for five minutes without
// another bcrypt, and not beyond a change of the password.
func TestRememberedPasswords(t *testing.T) {
	b := withUsers(t, auth.Config{})
	users, err := auth.ReadUsers(b.file)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := bcrypt.GenerateFromPassword([]byte(alicePassword), 8)
	if err != nil {
		t.Fatal(err)
	}
	users.Users[0].Password = string(slow)
	b.write(t, users)
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	login := func() time.Duration {
		begin := time.Now()
		if _, err := b.Login(t.Context(), "alice", alicePassword, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	first := login()
	begin := time.Now()
	for range 100 {
		login()
	}
	if again := time.Since(begin) / 100; again > first/4 {
		t.Errorf("a remembered password takes %v, the first time took %v", again, first)
	}
	users.Users[0].Password = hash(t, "another")
	b.write(t, users)
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Login(t.Context(), "alice", alicePassword, "192.0.2.1"); err != auth.ErrCredentials {
		t.Errorf("the old password is still right: %v", err)
	}
}

// TestUnknownUsersCostTheSame: the time does not tell who is there.
func TestUnknownUsersCostTheSame(t *testing.T) {
	b := withUsers(t, auth.Config{})
	slow, err := bcrypt.GenerateFromPassword([]byte(alicePassword), 8)
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, auth.Users{Users: []auth.User{{Name: "alice", Password: string(slow)}}})
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	fastest := func(user string) time.Duration {
		best := time.Hour
		for i := range 3 {
			begin := time.Now()
			if _, err := b.Login(t.Context(), user, "hunter2", fmt.Sprint(user, i)); err != auth.ErrCredentials {
				t.Fatal(err)
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	if known, unknown := fastest("alice"), fastest("mallory"); unknown < known/10 || known < unknown/10 {
		t.Errorf("a known user takes %v, an unknown one %v", known, unknown)
	}
}

// TestManyAtOnce: of many who try at the same time, few are checked at once, and
// those who wait fail with the others.
func TestManyAtOnce(t *testing.T) {
	b := withUsers(t, auth.Config{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range 200 {
		wg.Go(func() {
			if _, err := b.Login(t.Context(), "alice", "hunter2", "192.0.2.1"); errors.Is(err, auth.ErrCredentials) {
				mu.Lock()
				defer mu.Unlock()
				failed++
			}
		})
	}
	wg.Wait()
	if failed < 10 || failed > 12 {
		t.Errorf("%d passwords were checked, want 10, and at most one more for each place", failed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Login(ctx, "bob", bobPassword, "192.0.2.9"); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone away is still served: %v", err)
	}
}

// TestLogTellsNoName that is not in the file: it may be a password.
func TestLogTellsNoName(t *testing.T) {
	b := withUsers(t, auth.Config{})
	for _, user := range []string{"hunter2", "robot+hunter2", "alice", "robot+ci"} {
		if _, err := b.Login(t.Context(), user, "hunter2", "192.0.2.1"); err != auth.ErrCredentials {
			t.Error(err)
		}
	}
	text := b.logged()
	for _, want := range []string{"user=alice", "user=robot+ci", "user=(unknown)", "client=192.0.2.1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %s:\n%s", want, text)
		}
	}
	noSecret(t, b, text)
}
