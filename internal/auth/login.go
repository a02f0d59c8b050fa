package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/pratique/pratique/internal/lru"
)

// How passwords are checked: bcrypt is slow on purpose, so that its use is
// bounded.
const (
	checksAtOnce   = 2
	checkWait      = 5 * time.Second // for a free place
	rememberFor    = 5 * time.Minute // a password that was right
	rememberAtMost = 4096            // passwords
)

// ErrCredentials: no such user or robot, the wrong password, or run out. Which
// of them it is, is not told.
var ErrCredentials = errors.New("user name or password is wrong, or the robot's secret has expired")

// LimitedError: too many log-ins failed, or too many are being checked.
type LimitedError struct {
	RetryAfter time.Duration
}

// Error says when to come back.
func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many log-ins failed or are being checked: try again in %s", e.RetryAfter.Round(time.Second))
}

// logins is what is known of log-ins that were tried.
type logins struct {
	key      []byte        // of this process; remembered passwords are kept under it
	places   chan struct{} // one for each bcrypt under way
	right    *lru.Cache[[sha256.Size]byte, time.Time]
	throttle *throttle
}

func newLogins() *logins {
	l := &logins{
		key: make([]byte, 32), places: make(chan struct{}, checksAtOnce),
		right: lru.New[[sha256.Size]byte](rememberAtMost, lru.Each[time.Time]), throttle: newThrottle(),
	}
	rand.Read(l.key)
	return l
}

// Login checks the password of a user or the secret of a robot and returns the
// principal. client is the address of the one who tries, without port. The error
// is ErrCredentials, a *LimitedError, or that of the context. While everything
// is open on loopback, any password makes an anonymous.
func (s *Service) Login(ctx context.Context, user, password, client string) (string, error) {
	return s.login(ctx, s.state.Load(), attempt{user, password, client})
}

// attempt is one log-in that is tried.
type attempt struct{ user, password, client string }

func (s *Service) login(ctx context.Context, now *state, a attempt) (string, error) {
	if now.config.open(s.loopback) {
		return Anonymous, nil
	}
	check := s.loginUser
	if strings.HasPrefix(a.user, RobotPrefix) {
		check = s.loginRobot
	}
	err := check(ctx, now.people, a)
	if err == nil {
		return a.user, nil
	}
	if errors.Is(err, ErrCredentials) {
		// A name that is not in the file is not logged: it may be a password
		// that was typed into the wrong field.
		name := "(unknown)"
		if now.people.has(a.user) {
			name = a.user
		}
		s.Log.Warn("login refused", "user", name, "client", a.client)
	}
	return "", err
}

// loginRobot lets the right secret in at once, whatever others did: nobody
// guesses 256 bits.
func (s *Service) loginRobot(_ context.Context, people *directory, a attempt) error {
	if people.robot(a.user, a.password, s.Now()) {
		return nil
	}
	if err := s.logins.throttle.check(a.user, a.client, s.Now()); err != nil {
		return err
	}
	s.logins.throttle.failed(a.user, a.client, s.Now())
	return ErrCredentials
}

func (s *Service) loginUser(ctx context.Context, people *directory, a attempt) error {
	hash, known := people.users[a.user]
	// The hash is part of what is remembered: another password ends it.
	mark := s.logins.mark(a.user, hash, a.password)
	t := s.logins.throttle
	if until, ok := s.logins.right.Get(mark); ok && known && s.Now().Before(until) {
		t.passed(a.user, a.client)
		return nil
	}
	if err := t.check(a.user, a.client, s.Now()); err != nil {
		return err
	}
	if err := s.logins.enter(ctx); err != nil {
		return err
	}
	defer func() { <-s.logins.places }()
	// Again: those who came before may have failed.
	if err := t.check(a.user, a.client, s.Now()); err != nil {
		return err
	}
	if !known {
		hash = people.dummy(s.logins.pick(a.user))
	}
	match := bcrypt.CompareHashAndPassword([]byte(hash), []byte(a.password)) == nil
	if !match || !known || len(a.password) > maxPassword {
		t.failed(a.user, a.client, s.Now())
		return ErrCredentials
	}
	t.passed(a.user, a.client)
	s.logins.right.Put(mark, s.Now().Add(rememberFor))
	return nil
}

// enter waits for a place to run bcrypt; the caller gives it back.
func (l *logins) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("wait for a log-in: %w", ctx.Err())
	}
	timer := time.NewTimer(checkWait)
	defer timer.Stop()
	select {
	case l.places <- struct{}{}:
		return nil
	case <-timer.C:
		return &LimitedError{RetryAfter: checkWait}
	case <-ctx.Done():
		return fmt.Errorf("wait for a log-in: %w", ctx.Err())
	}
}

func (l *logins) mark(user, hash, password string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, l.key)
	// The lengths keep apart what would run together.
	fmt.Fprintf(mac, "%d %d %s%s%s", len(user), len(hash), user, hash, password)
	return [sha256.Size]byte(mac.Sum(nil))
}

// pick is a number that belongs to a name, and that nobody outside can know.
func (l *logins) pick(user string) uint64 {
	m := l.mark(user, "", "")
	return binary.BigEndian.Uint64(m[:])
}
