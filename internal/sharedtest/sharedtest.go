// Package sharedtest finds the data that tests use and the project does not
// carry itself: real images, vulnerability exports and version lists, in the
// folder "shared" beside the module.
//
// It is for tests alone and knows nothing of what is in that folder. Start with
// Dir.
package sharedtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pratique/pratique/internal/clients"
)

// Suite is the name under which the absence of the data is told, and under
// which they can be required; see clients.Skip.
const Suite = "corpus"

// Dir returns a folder or file of the shared data. Where it is absent, the test
// ends as a recorded skip.
func Dir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{moduleRoot(t), "..", "shared"}, elem...)...)
	if _, err := os.Stat(dir); err != nil {
		clients.Skip(t, Suite, "no ../"+filepath.ToSlash(filepath.Join(append([]string{"shared"}, elem...)...))+" beside the project")
	}
	return dir
}

// moduleRoot walks up from the folder of the test's package.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}
