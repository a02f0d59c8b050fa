package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/api"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// openAPI starts the API in front of a whole gate, and makes the commands talk
// to it.
func openAPI(t *testing.T, images map[string]imagetest.Image) string {
	t.Helper()
	s := gatetest.New(t, gatetest.Options{})
	access, err := auth.New(auth.Config{}, true)
	if err != nil {
		t.Fatal(err)
	}
	a := &api.API{
		Gate: s.Gate, Catalog: s.Catalog, Metrics: s.Metrics, Version: "1.2.3", RegistryHost: "127.0.0.1:5000",
		OpenLoopback: true, Auth: access, Audit: s.Audit, Collect: s.Collect, Log: s.Log, Now: s.Clock.Now,
	}
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	for name, im := range images {
		repository, tag, _ := strings.Cut(name, ":")
		for d, blob := range im.Blobs() {
			state, err := s.Local.StartUpload(t.Context(), repository)
			if err == nil {
				err = s.Local.CommitUpload(t.Context(), repository, state, 0, d, bytes.NewReader(blob), int64(len(blob)))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Local.PutManifest(context.Background(), repository, tag, image.MediaTypeManifest, im.Manifest); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PRATIQUE_URL", server.URL)
	return server.URL
}

func TestCheckCommand(t *testing.T) {
	url := openAPI(t, map[string]imagetest.Image{"team/bad:1": imagetest.Vulnerable(), "team/good:1": imagetest.Clean()})
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stdout []string
		stderr []string
	}{
		{"refused", []string{"127.0.0.1:5000/team/bad:1"}, 1, []string{"REFUSED", "CVE-2025-15467", "libcrypto3", "3.3.2-r0", "3.3.6-r0", "/report/sha256:", "policy \"default\""}, nil},
		{"passed", []string{"team/good:1"}, 0, []string{"ALLOWED", "linux/amd64"}, nil},
		{"no such image", []string{"team/none:1"}, 2, nil, []string{"there is no repository of this name"}},
		{"no such tag", []string{"team/good:2"}, 2, nil, []string{"no such tag in the registry"}},
		{"no reference", []string{"team/<b>:1"}, 2, nil, []string{"there is no repository of this name"}},
		{"unknown format", []string{"team/good:1", "--format", "xml"}, 2, nil, []string{"want table or json"}},
		{"too few words", nil, 2, nil, []string{"accepts 1 arg"}},
		{"Anchore's address", []string{"team/good:1", "--url", url + "/v1/"}, 0, []string{"ALLOWED"}, nil},
		{"nobody there", []string{"team/good:1", "--url", "http://127.0.0.1:1"}, 2, nil, []string{"no pratique answers at http://127.0.0.1:1", "pratique serve", "--url"}},
		{"no address", []string{"team/good:1", "--url", "ftp://x"}, 2, nil, []string{"want http://HOST:PORT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code := pratique(t, append([]string{"check"}, c.args...)...)
			if code != c.code || (len(c.stdout) == 0 && stdout != "") {
				t.Errorf("exit %d, want %d\n%s\n%s", code, c.code, stdout, stderr)
			}
			for _, want := range c.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout does not say %q:\n%s", want, stdout)
				}
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr does not say %q:\n%s", want, stderr)
				}
			}
			if strings.Contains(stdout, "\x1b") {
				t.Errorf("colours where there is no terminal: %q", stdout)
			}
		})
	}
}

// TestOnlyJSON: with --format json, standard output is one document and nothing
// else.
func TestOnlyJSON(t *testing.T) {
	openAPI(t, map[string]imagetest.Image{"team/bad:1": imagetest.Vulnerable()})
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"check", []string{"check", "team/bad:1"}, 1},
		{"policy list", []string{"policy", "list"}, 0},
		{"policy get", []string{"policy", "get", "default"}, 0},
		{"policy activate", []string{"policy", "activate", "default"}, 0},
		{"system status", []string{"system", "status"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code := pratique(t, append(c.args, "--format", "json")...)
			if code != c.code || stderr != "" || !json.Valid([]byte(stdout)) {
				t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
			}
		})
	}
}

func TestPolicyCommands(t *testing.T) {
	openAPI(t, map[string]imagetest.Image{"team/bad:1": imagetest.Vulnerable()})
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bundle, _, code := pratique(t, "policy", "get", "default")
	if code != 0 || !strings.HasPrefix(bundle, "{") {
		t.Fatalf("get: exit %d\n%s", code, bundle)
	}
	own := write("own.json", strings.NewReplacer(`"id": "default"`, `"id": "own"`, "STOP", "WARN", `"policy_id": "default"`, `"policy_id": "own"`,
		`"default"
      ]`, `"own"
      ]`).Replace(bundle))
	bad := write("bad.json", strings.Replace(bundle, `"vulnerabilities"`, `"nothing"`, 1))
	for _, c := range []struct {
		name, stdout, stderr string
		args                 []string
		code                 int
	}{
		{"validate", "can be used", "", []string{"policy", "validate", own}, 0},
		{"validate a bad one", "GateNotFoundError", "", []string{"policy", "validate", bad}, 2},
		{"validate what is not there", "", "no such file", []string{"policy", "validate", filepath.Join(dir, "none.json")}, 2},
		{"add a bad one", "", "GateNotFoundError", []string{"policy", "add", bad}, 2},
		{"add", "own", "pratique policy activate own", []string{"policy", "add", own}, 0},
		{"still refused", "REFUSED", "", []string{"check", "team/bad:1"}, 1},
		{"activate", "active", "", []string{"policy", "activate", "own"}, 0},
		{"list", "own", "", []string{"policy", "list"}, 0},
		{"in force", "ALLOWED", "", []string{"check", "team/bad:1"}, 0},
		{"activate what is not there", "", "pratique policy list", []string{"policy", "activate", "none"}, 2},
		{"get what is not there", "", "pratique policy list", []string{"policy", "get", "no/such id"}, 2},
		{"status", "Ready", "", []string{"system", "status"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code := pratique(t, c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("exit %d, want %d\n%s\n%s", code, c.code, stdout, stderr)
			}
		})
	}
}
