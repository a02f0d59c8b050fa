package auth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/pratique/pratique/internal/auth"
)

// Secrets of the tests. None of them may be seen in a log or an error.
const (
	alicePassword = "correct-horse"
	bobPassword   = "battery-staple"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// bench is a service, its file, its clock and its log.
type bench struct {
	*auth.Service
	file  string
	robot string // the secret of robot+ci, which expires an hour after start

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *bench) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// withUsers opens a service with alice, bob and robot+ci on an address that is
// not loopback. At the end no secret may stand in its log.
func withUsers(t *testing.T, c auth.Config) *bench {
	t.Helper()
	b := &bench{file: filepath.Join(t.TempDir(), "users.yaml"), now: start}
	users := auth.Users{Users: []auth.User{{Name: "alice", Password: hash(t, alicePassword)}, {Name: "bob", Password: hash(t, bobPassword)}}}
	var err error
	if b.robot, err = users.AddRobot("ci", "build server", start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.write(t, users)
	c.UsersFile = b.file
	b.open(t, c, false)
	t.Cleanup(func() { noSecret(t, b, b.logged()) })
	return b
}

// open is a service without users.
func open(t *testing.T, c auth.Config) *bench {
	t.Helper()
	b := &bench{now: start}
	b.open(t, c, true)
	return b
}

func (b *bench) open(t testing.TB, c auth.Config, loopback bool) {
	t.Helper()
	if err := c.Validate(loopback); err != nil {
		t.Fatal(err)
	}
	s, err := auth.New(c, loopback)
	if err != nil {
		t.Fatal(err)
	}
	s.Now, s.Log = b.clock, slog.New(slog.NewTextHandler(b, nil))
	b.Service = s
}

// write replaces the users file as `pratique auth` does.
func (b *bench) write(t *testing.T, users auth.Users) {
	t.Helper()
	if err := auth.EditUsers(t.Context(), b.file, func(u *auth.Users) error { *u = users; return nil }); err != nil {
		t.Fatal(err)
	}
}

// hash is a bcrypt hash as quick as there is.
func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func noSecret(t *testing.T, b *bench, text string) {
	t.Helper()
	for _, secret := range []string{alicePassword, bobPassword, b.robot, "prtq_", "$2a$", "sha256:", "hunter2"} {
		if strings.Contains(text, secret) {
			t.Errorf("a secret (%s...) can be seen in:\n%s", secret[:4], text)
		}
	}
}

// ask is a request to the token service.
type ask struct {
	method     string // default GET
	form       url.Values
	user, pass string // Basic
	header     string // Authorization, instead of user and pass
}

func (b *bench) ask(a ask) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/auth/token?"+a.form.Encode(), nil)
	if a.method == http.MethodPost {
		r = httptest.NewRequest(http.MethodPost, "/auth/token", strings.NewReader(a.form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.RemoteAddr = "192.0.2.7:4711"
	if a.user != "" {
		r.SetBasicAuth(a.user, a.pass)
	}
	if a.header != "" {
		r.Header.Set("Authorization", a.header)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

// token asks for a token that has to be granted.
func (b *bench) token(t *testing.T, a ask) string {
	t.Helper()
	w := b.ask(a)
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		IssuedAt    string `json:"issued_at"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("HTTP %d %s: %v", w.Code, w.Body, err)
	}
	if answer.Token == "" || answer.Token != answer.AccessToken || answer.ExpiresIn != 300 || answer.IssuedAt != b.clock().Format(time.RFC3339) {
		t.Fatalf("answer %+v", answer)
	}
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", h)
	}
	return answer.Token
}

func (b *bench) caller(header string) (auth.Caller, error) {
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return b.Caller(r)
}

// tokenFor is the caller that a user's token makes.
func (b *bench) tokenFor(t *testing.T, user, pass string, scopes ...string) (string, auth.Caller) {
	t.Helper()
	token := b.token(t, ask{form: url.Values{"service": {"pratique"}, "scope": scopes}, user: user, pass: pass})
	c, err := b.caller("Bearer " + token)
	if err != nil {
		t.Fatal(err)
	}
	return token, c
}

// writeFile writes a users file by hand.
func writeFile(t testing.TB, path, format string, args ...any) {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// message is the text of a registry's error, or all of the body.
func message(w *httptest.ResponseRecorder) string {
	var body struct {
		Errors []struct{ Code, Message string }
	}
	raw, _ := io.ReadAll(w.Result().Body)
	if json.Unmarshal(raw, &body) != nil || len(body.Errors) != 1 {
		return string(raw)
	}
	return body.Errors[0].Code + " " + body.Errors[0].Message
}
