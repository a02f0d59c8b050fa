package sharedtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/sharedtest"
)

// TestDir makes a module of its own, with and without data beside it.
func TestDir(t *testing.T) {
	parent := t.TempDir()
	inside := filepath.Join(parent, "module", "internal", "deep")
	for _, dir := range []string{inside, filepath.Join(parent, "shared", "data")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, "module", "go.mod"), []byte("module m\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv(clients.RequireEnv, "")
	t.Setenv("PRATIQUE_SUITE_LOG", log)
	t.Chdir(inside)
	if dir := sharedtest.Dir(t, "data"); !sameFile(t, dir, filepath.Join(parent, "shared", "data")) {
		t.Errorf("Dir = %s", dir)
	}
	t.Run("absent", func(t *testing.T) {
		t.Cleanup(func() {
			told, err := os.ReadFile(log)
			if err != nil || !t.Skipped() || !strings.Contains(string(told), "no ../shared/corpus beside") {
				t.Errorf("skipped: %v, recorded %q, %v", t.Skipped(), told, err)
			}
		})
		t.Errorf("Dir = %s", sharedtest.Dir(t, "corpus"))
	})
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	ia, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	ib, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(ia, ib)
}
