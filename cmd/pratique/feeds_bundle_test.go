package main_test

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeKeys makes a key pair as openssl does.
func writeKeys(t *testing.T) (private, public string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, public = filepath.Join(dir, "vulndb.key"), filepath.Join(dir, "vulndb.pub")
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err == nil {
		err = os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err == nil {
		der, err = x509.MarshalPKIXPublicKey(pub)
	}
	if err == nil {
		err = os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// TestFeedsBundle carries the data of one record from one data folder to
// another.
func TestFeedsBundle(t *testing.T) {
	source := filepath.Join(t.TempDir(), "osv")
	writeDump(t, filepath.Join(source, "npm", "all.zip"), `{"id": "MAL-1", "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "npm", "name": "evil"}, "versions": ["1"]}]}`)
	from, to := "data_dir="+t.TempDir(), "data_dir="+t.TempDir()
	private, public := writeKeys(t)
	_, other := writeKeys(t)
	file := filepath.Join(t.TempDir(), "vulndb.tar.zst")
	steps := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing to export", []string{"export", file, "--key", private, "--set", from}, 2, "no vulnerability data yet"},
		{"sync", []string{"sync", "--set", from, "--set", `feeds.sources=[{name: osv, url: "file://` + source + `", ecosystems: [npm]}]`}, 0, "new data: revision 1"},
		{"export", []string{"export", file, "--key", private, "--set", from}, 0, "signed    yes"},
		{"export to a layout", []string{"export", "oci:" + file + ".layout", "--set", from}, 0, "import will refuse it"},
		{"import without key", []string{"import", file, "--set", to}, 2, "insecure-unsigned"},
		{"import with another key", []string{"import", file, "--key", other, "--set", to}, 2, "not of this key"},
		{"import with the private key", []string{"import", file, "--key", private, "--set", to}, 2, "PUBLIC KEY"},
		{"import", []string{"import", file, "--key", public, "--set", to}, 0, "new data: revision 1 of the exporter"},
		{"import again", []string{"import", file, "--key", public, "--set", to}, 0, "the same data"},
		{"import unsigned", []string{"import", "oci:" + file + ".layout", "--key", public, "--set", to}, 2, "not signed"},
		{"import unsigned all the same", []string{"import", "oci:" + file + ".layout", "--insecure-unsigned", "--format", "json", "--set", to}, 0, `"changed": false`},
		{"list", []string{"list", "--set", to}, 0, "npm"},
	}
	for _, step := range steps {
		out, errOut, code := pratique(t, append([]string{"feeds"}, step.args...)...)
		if code != step.code || !strings.Contains(out+errOut, step.says) {
			t.Fatalf("%s: exit %d, want %d and %q\n%s%s", step.name, code, step.code, step.says, out, errOut)
		}
	}
}

// writeDump makes a dump of one record.
func writeDump(t *testing.T, path, record string) {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create("record.json")
	if err == nil {
		_, err = w.Write([]byte(record))
	}
	if err = errors.Join(err, z.Close(), os.MkdirAll(filepath.Dir(path), 0o700)); err == nil {
		err = os.WriteFile(path, out.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
