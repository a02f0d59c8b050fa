package main_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/sharedtest"
)

// TestScanSources: an image is the same wherever it is read from: the running
// Docker engine, what docker save wrote (as it is, or compressed), containerd.
func TestScanSources(t *testing.T) {
	layout := filepath.Join(sharedtest.Dir(t, "corpus"), "node-app")
	data := synced(t)
	const name = "127.0.0.1:5000/team/node:1"
	same := func(t *testing.T, reference string) {
		t.Helper()
		documents, code := scanJSON(t, data, reference)
		if code != 1 || len(documents) != 1 {
			t.Fatalf("exit %d, %d documents", code, len(documents))
		}
		var want truth
		readJSON(t, layout+".truth.json", &want)
		compareFindings(t, want, "amd64", documents[0])
	}
	t.Run("docker", func(t *testing.T) {
		engine := clients.Docker(t)
		engine.Load(layout, name)
		setenv(t, engine.Environ())
		t.Run("daemon", func(t *testing.T) { same(t, "docker-daemon:"+name) })
		archive := filepath.Join(t.TempDir(), "image.tar")
		if out, err := engine.Run("save", "--output", archive, name); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Run("archive", func(t *testing.T) { same(t, "docker-archive:"+archive) })
		t.Run("archive by tag", func(t *testing.T) { same(t, "docker-archive:"+archive+":"+name) })
		t.Run("compressed archive", func(t *testing.T) { same(t, "docker-archive:"+compressed(t, archive)) })
		if _, errOut, code := pratique(t, "scan", "docker-archive:"+archive+":no/such:tag", "--set", "data_dir="+data); code != 2 || !strings.Contains(errOut, name) {
			t.Errorf("no such tag: exit %d %s", code, errOut)
		}
		if _, errOut, code := pratique(t, "scan", "docker-daemon:no/such:tag", "--set", "data_dir="+data); code != 2 || !strings.Contains(errOut, "no/such:tag") {
			t.Errorf("no such image: exit %d %s", code, errOut)
		}
	})
	t.Run("containerd", func(t *testing.T) {
		runtime := clients.Containerd(t)
		runtime.Load(layout, name)
		setenv(t, runtime.Environ())
		same(t, "containerd:"+name)
		if _, errOut, code := pratique(t, "scan", "containerd:no/such:tag", "--set", "data_dir="+data); code != 2 || !strings.Contains(errOut, "no/such:tag") {
			t.Errorf("no such image: exit %d %s", code, errOut)
		}
	})
}

func setenv(t *testing.T, all []string) {
	t.Helper()
	for _, variable := range all {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

func compressed(t *testing.T, file string) string {
	t.Helper()
	in, err := os.Open(file)
	fatal(t, err)
	out, err := os.Create(file + ".gz")
	fatal(t, err)
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	fatal(t, err)
	_, err = io.Copy(z, in)
	fatal(t, err)
	fatal(t, z.Close())
	fatal(t, out.Close())
	fatal(t, in.Close())
	return out.Name()
}

// TestScanBills: a bill that scan writes agrees with the image; one that lies is
// shown to.
func TestScanBills(t *testing.T) {
	layout := filepath.Join(sharedtest.Dir(t, "corpus"), "node-app")
	data := synced(t)
	for _, format := range []string{"cyclonedx", "spdx"} {
		out, errOut, code := pratique(t, "scan", "oci:"+layout, "--format", format, "--set", "data_dir="+data)
		if code != 1 {
			t.Fatalf("%s: exit %d %s", format, code, errOut)
		}
		file := filepath.Join(t.TempDir(), "sbom.json")
		fatal(t, os.WriteFile(file, []byte(out), 0o600))
		out, _, _ = pratique(t, "scan", "oci:"+layout, "--sbom", file, "--set", "data_dir="+data)
		if !strings.Contains(out, "agrees") {
			t.Errorf("%s does not agree with its own image: %s", format, out)
		}
		lie := strings.ReplaceAll(readText(t, file), "lodash@4.17.15", "lodash@4.17.21")
		fatal(t, os.WriteFile(file, []byte(lie), 0o600))
		out, _, _ = pratique(t, "scan", "oci:"+layout, "--sbom", file, "--set", "data_dir="+data)
		if !strings.Contains(out, "other version") {
			t.Errorf("%s: the lie is not told: %.2000s", format, out)
		}
	}
	multi := filepath.Join(sharedtest.Dir(t, "corpus"), "alpine-3.20-multiarch")
	if _, errOut, code := pratique(t, "scan", "oci:"+multi, "--format", "spdx", "--set", "data_dir="+data); code != 2 || !strings.Contains(errOut, "--platform") {
		t.Errorf("two platforms: exit %d %s", code, errOut)
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	fatal(t, err)
	return string(raw)
}
