package cataloger_test

import (
	"strings"
	"testing"
)

// TestDeepJSON: documents that are nested deeper than encoding/json follows are
// a gap, wherever the depth begins.
func TestDeepJSON(t *testing.T) {
	deep := strings.Repeat(`[{"dependencies":`, 100_000)
	for _, path := range []string{"package.json", "vendor/composer/installed.json", "app.deps.json", "package-lock.json", "Pipfile.lock",
		"composer.lock", "packages.lock.json", "Package.resolved", "conan.lock", "renv.lock"} {
		for _, body := range []string{deep, `{"packages":` + deep, `{"name":"a","version":"1","dependencies":` + deep, `{"libraries":{"a/1":` + deep} {
			out := read(t, path, body)
			if strings.HasPrefix(body, "[") && path == "package.json" {
				continue // an array says nothing, to npm too
			}
			if len(out.Gaps) == 0 {
				t.Errorf("%s: no gap for %.40s...", path, body)
			}
		}
	}
}
