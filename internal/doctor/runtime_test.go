package doctor_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/doctor"
)

// fake puts a runtime on PATH that does what the script says, and keeps what it was
// asked in a file.
func fake(t *testing.T, name, script string) (asked func() string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a shell script stands for the runtime")
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"$*\" >> "+log+"\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		raw, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(raw)
	}
}

func TestRuntime(t *testing.T) {
	for _, c := range []struct {
		name, runtime, script string
		result                doctor.Result
		word                  string
		removed               bool
	}{
		{"refused with the reason", "crictl", `[ "$1" = pull ] && echo 'denied: pratique: refused by policy \"default\": CVE-1; report: x' >&2; exit 1`, doctor.OK, `refused by policy "default": CVE-1`, true},
		{"pulled", "crictl", `[ "$1" = inspecti ] && exit 1; exit 0`, doctor.Failed, "THE IMAGE CAN BE PULLED", true},
		{"pulled, and was there before", "docker", "exit 0", doctor.Failed, "THE IMAGE CAN BE PULLED", false},
		{"403 from nobody knows where", "ctr", "echo 'unexpected status: 403 Forbidden' >&2; exit 1", doctor.NotChecked, "for another reason", true},
		{"no daemon", "podman", "echo 'cannot connect' >&2; exit 1", doctor.NotChecked, "cannot connect", true},
		{"silent", "podman", "exit 3", doctor.NotChecked, "exit status 3", true},
		{"hangs", "crictl", `[ "$1" = pull ] && exec sleep 60; exit 1`, doctor.NotChecked, "not done after", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := fake(t, c.runtime, c.script)
			report := run(t, doctor.Options{Proxy: "http://127.0.0.1:1", BadImage: "registry.example/team/bad:1", Runtime: c.runtime, Timeout: 3 * time.Second, Now: time.Now, Files: doctor.Files{HostsDir: t.TempDir()}})
			expect(t, report, "runtime, "+c.runtime, c.result, c.word)
			log := asked()
			if !strings.Contains(log, "registry.example/team/bad:1") {
				t.Errorf("asked for something else:\n%s", log)
			}
			if removed := strings.Contains(log, "rmi ") || strings.Contains(log, " remove "); removed != c.removed {
				t.Errorf("removed: %t\n%s", removed, log)
			}
		})
	}
}

// TestRuntimeByFiles: where a runtime shows the status alone, the node's files decide
// whose refusal it is, if it goes by them and the proxy does refuse the image.
func TestRuntimeByFiles(t *testing.T) {
	for _, name := range []string{"ctr", "docker"} {
		fake(t, name, "echo 'unexpected status: 403 Forbidden' >&2; exit 1")
	}
	words := `{"errors":[{"code":"DENIED","message":"pratique: refused by policy \"default\": one reason"}]}`
	proxy := newDoor(t, false, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, words)
		}
	})
	mute := newDoor(t, false, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusForbidden) // anybody might
		}
	})
	for _, c := range []struct {
		name, proxy, server, runtime string
		image, pull                  doctor.Result
	}{
		{"to the proxy alone", proxy.URL, proxy.URL, "ctr", doctor.OK, doctor.OK},
		{"to somebody else", proxy.URL, "https://registry.example", "ctr", doctor.OK, doctor.NotChecked},
		{"a runtime that does not read them", proxy.URL, proxy.URL, "docker", doctor.OK, doctor.NotChecked},
		{"a proxy that has no words either", mute.URL, mute.URL, "ctr", doctor.NotChecked, doctor.NotChecked},
	} {
		server, want := c.server, c.pull
		hosts := t.TempDir()
		if err := os.Mkdir(filepath.Join(hosts, "_default"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(hosts, "_default", "hosts.toml"), []byte("server = \""+server+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		none := filepath.Join(hosts, "none")
		report := run(t, doctor.Options{
			Proxy: c.proxy, BadImage: "registry.example/team/bad:1", Runtime: c.runtime, Timeout: 3 * time.Second, Now: time.Now, Node: true,
			Files: doctor.Files{Root: "/", HostsDir: hosts, ContainerdConfig: none, RegistriesConf: none, DockerConfig: none},
		})
		expect(t, report, "runtime, "+c.runtime, want)
		expect(t, report, "bad image by tag", c.image)
	}
}

func TestNoRuntime(t *testing.T) {
	report := run(t, doctor.Options{Proxy: "http://127.0.0.1:1", BadImage: "team/bad:1", Runtime: "auto", Timeout: time.Second, Now: time.Now, Files: doctor.Files{Root: t.TempDir()}})
	expect(t, report, "runtime", doctor.NotChecked, "there is no crictl, podman, docker, ctr")

	asked := fake(t, "ctr", "exit 0")
	gone := filepath.Join(t.TempDir(), "gone")
	report = run(t, doctor.Options{Proxy: "http://127.0.0.1:1", BadImage: "team/bad:1", Runtime: "ctr", Timeout: time.Second, Now: time.Now, Files: doctor.Files{HostsDir: gone}})
	expect(t, report, "runtime, ctr", doctor.NotChecked, "there is no folder "+gone)
	if log := asked(); log != "" {
		t.Errorf("ctr was asked without hosts.toml files:\n%s", log)
	}
}
