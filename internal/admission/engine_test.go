package admission_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/gate"
)

// An engine that hangs costs one review its time, not all of them.
func TestEngineThatHangs(t *testing.T) {
	var asked atomic.Int64
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(gone) })
	e := engine(t, admission.EngineConfig{URL: server.URL})
	i := gate.Inquiry{Reference: "app", Digest: digest.FromString("x")}
	for range 20 {
		began := time.Now()
		if s := e.Standing(t.Context(), i); s.State != gate.StateError || strings.Contains(s.Message, server.URL) {
			t.Errorf("%+v", s)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("an answer took %v", took)
		}
	}
	if n := asked.Load(); n > 2 {
		t.Errorf("a hanging engine was asked %d times", n)
	}
}

// What Redis cannot say the engine is asked, with its own credentials.
func TestChain(t *testing.T) {
	want := gate.Standing{State: gate.StateFail, Digest: digest.FromString("x"), Message: "refused"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "robot" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(want)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := engine(t, admission.EngineConfig{URL: server.URL, User: "robot", PasswordFile: file})
	i := gate.Inquiry{Reference: "app", Digest: want.Digest}
	for _, tt := range []struct {
		first gate.State
		want  gate.State
	}{{gate.StateError, gate.StateFail}, {gate.StatePass, gate.StatePass}, {gate.StateUnknown, gate.StateUnknown}} {
		c := admission.Chain{First: always(tt.first), Second: e}
		if got := c.Standing(t.Context(), i); got.State != tt.want {
			t.Errorf("redis says %s, the chain %+v", tt.first, got)
		}
	}
	if err := (admission.Chain{First: always(gate.StateError), Second: e}).Want(t.Context(), i); err != nil {
		t.Error(err)
	}
}

func engine(t *testing.T, c admission.EngineConfig) *admission.Engine {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	e, err := admission.NewEngine(c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// always says the same of every image; where it cannot say, it cannot ask either.
type always gate.State

func (a always) Standing(_ context.Context, i gate.Inquiry) gate.Standing {
	return gate.Standing{State: gate.State(a), Digest: i.Digest}
}

func (a always) Want(context.Context, gate.Inquiry) error {
	if gate.State(a) == gate.StateError {
		return context.DeadlineExceeded
	}
	return nil
}
