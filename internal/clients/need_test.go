package clients_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/clients"
)

// verdict is a test that remembers how it ended.
type verdict struct {
	testing.TB
	ending string
}

func (v *verdict) Helper() {}

func (v *verdict) Skip(...any) {
	v.ending = "skipped"
	runtime.Goexit()
}

func (v *verdict) Fatalf(string, ...any) {
	v.ending = "failed"
	runtime.Goexit()
}

func TestSkip(t *testing.T) {
	for _, tc := range []struct {
		name, require, ending, recorded string
	}{
		{"not required", "", "skipped", "SUITE NOT RUN: redis: no program\n"},
		{"another is required", "docker, skopeo", "skipped", "SUITE NOT RUN: redis: no program\n"},
		{"required", "docker, redis", "failed", ""},
		{"all are required", "all", "failed", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			t.Setenv(clients.RequireEnv, tc.require)
			t.Setenv("PRATIQUE_SUITE_LOG", log)
			v := &verdict{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				clients.Skip(v, clients.SuiteRedis, "no program")
			}()
			<-done
			if v.ending != tc.ending {
				t.Errorf("test %s, want %s", v.ending, tc.ending)
			}
			recorded, err := os.ReadFile(log)
			if err != nil && tc.recorded != "" {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.recorded, string(recorded)); diff != "" {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
		})
	}
}

// What no script can install is demanded by its name alone.
func TestKubernetesIsNotMeantByAll(t *testing.T) {
	for require, want := range map[string]bool{"": false, "all": false, "redis": false, "redis, kubernetes": true} {
		t.Setenv(clients.RequireEnv, require)
		if got := clients.Required(clients.SuiteKubernetes); got != want {
			t.Errorf("%q: required is %t", require, got)
		}
	}
}
