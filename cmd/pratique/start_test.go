package main_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeTellsWhyItDoesNotStart: a start that fails is a sentence on stderr
// and exit code 2.
func TestServeTellsWhyItDoesNotStart(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, c := range []struct{ name, setting, want string }{
		{"port in use", "registry.listen=" + busy.Addr().String(), "is another pratique running?"},
		{"no such policy", "policy.active=nope", `"nope"`},
		{"no such file", "auth.token.key_file=" + filepath.Join(t.TempDir(), "none"), "auth.token.key_file"},
		{"data folder below a file", "data_dir=/dev/null/data", "make data folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, stderr, code := pratique(t, "serve", "--set", "registry.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0",
				"--set", "data_dir="+filepath.Join(t.TempDir(), "data"), "--set", "feeds.sources=[]", "--set", c.setting)
			if code != 2 || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "goroutine") {
				t.Errorf("exit %d, want 2 and %q:\n%s", code, c.want, stderr)
			}
		})
	}
}
