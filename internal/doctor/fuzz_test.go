package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/pratique/pratique/internal/doctor"
)

// seed adds the files of a kind that the tests and deploy/nodes have.
func seed(f *testing.F, kind, shipped string) {
	f.Helper()
	files, err := filepath.Glob("testdata/node/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range archive.Files {
			if strings.HasSuffix(part.Name, kind) {
				f.Add(part.Data)
			}
		}
	}
	raw, err := os.ReadFile(filepath.Join("../../deploy/nodes", shipped))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
}

// FuzzHosts: no hosts.toml that does not name the proxy leads to it.
func FuzzHosts(f *testing.F) {
	seed(f, "hosts.toml", "containerd/_default/hosts.toml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		leads, err := doctor.HostsLead(proxy, raw)
		if leads && err == nil && !strings.Contains(strings.ToLower(string(raw)), "pratique.example") && !strings.Contains(string(raw), `\`) {
			t.Errorf("leads to the proxy: %q", raw)
		}
	})
}

// FuzzContainerdConfig: what reads hosts.toml files has been told a folder.
func FuzzContainerdConfig(f *testing.F) {
	seed(f, "config.toml", "containerd/config-v3.toml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		configured, passed, err := doctor.ReadContainerdConfig(raw)
		if err == nil && passed && configured == "" {
			t.Errorf("no folder is configured, and that is fine: %q", raw)
		}
	})
}

// FuzzRegistriesConf: no registry leads to a proxy that is not named, unless it is
// blocked.
func FuzzRegistriesConf(f *testing.F) {
	seed(f, ".conf", "crio/50-pratique.conf")
	f.Fuzz(func(t *testing.T, raw []byte) {
		leads, err := doctor.RegistryLeads(proxy, "docker.io", raw)
		text := strings.ToLower(string(raw))
		if leads && err == nil && !strings.Contains(text, "pratique.example") && !strings.Contains(text, "blocked") && !strings.Contains(text, `\`) {
			t.Errorf("leads to the proxy: %q", raw)
		}
	})
}

// FuzzPolicy: what rejects a registry says so.
func FuzzPolicy(f *testing.F) {
	seed(f, "policy.json", "crio/policy.json")
	f.Fuzz(func(t *testing.T, raw []byte) {
		rejects, err := doctor.Rejects(raw, "registry.example:5000")
		if rejects && err == nil && !strings.Contains(string(raw), "reject") && !strings.Contains(string(raw), `\`) {
			t.Errorf("rejects: %q", raw)
		}
	})
}
