package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/serve"
)

// certFiles writes a pair as cert-manager would: one that another cluster made.
func certFiles(t *testing.T, dir string, clock *clock) serve.TLSFiles {
	t.Helper()
	s := newStandin(t, "certificates")
	newHooks(s)
	pass(t, replica(t, s, clock))
	files := serve.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	for file, field := range map[string]string{files.Cert: "tls.crt", files.Key: "tls.key"} {
		if err := os.WriteFile(file, s.field(field), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestFileCertificates(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	f, err := cluster.NewFileCertificates(certFiles(t, dir, clock), silent(), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	start(t, f.Run)
	first, err := f.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Ready(); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(f, "pratique_admission_certificate_expiry_timestamp_seconds"); n != 1 {
		t.Errorf("%d expiry figures", n)
	}
	clock.Add(31 * day)
	if err := f.Ready(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("ready with an expired certificate: %v", err)
	}
	certFiles(t, dir, clock)
	eventually(t, "the new pair is in force", func() bool {
		second, err := f.GetCertificate(nil)
		return err == nil && !second.Leaf.Equal(first.Leaf) && f.Ready() == nil
	})
}

func TestFileCertificatesThatAreNotThere(t *testing.T) {
	if _, err := cluster.NewFileCertificates(serve.TLSFiles{Cert: "/nowhere/tls.crt", Key: "/nowhere/tls.key"}, silent(), time.Now); err == nil {
		t.Error("made of nothing")
	}
}
