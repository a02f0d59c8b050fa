package feeds_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pratique/pratique/internal/feeds"
)

func FuzzNVDFile(f *testing.F) {
	f.Add([]byte(`{"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": "CVE-2024-1234"}}, {}], "x": [1]}`))
	f.Add([]byte(`{"vulnerabilities": [`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "nvd.json.gz")
		if err := os.WriteFile(path, gzipped(t, content), 0o600); err != nil {
			t.Fatal(err)
		}
		records := 0
		err := feeds.EachCVE(path, func([]byte) error { records++; return nil })
		if records > len(content) {
			t.Errorf("%d records from %d bytes, %v", records, len(content), err)
		}
	})
}
