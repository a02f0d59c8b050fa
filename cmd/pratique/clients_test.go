package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/sharedtest"
)

// client is what the real clients have in common.
type client interface {
	Load(layoutDir, ref string)
	Push(ref string) (out string, err error)
	Pull(ref string) (out string, err error)
	Remove(ref string)
	Digest(ref string) string
}

// TestRealClients pushes and pulls the corpus with real clients through a real
// server: a clean image comes back with the same digest, a failing one is
// refused with its reason.
func TestRealClients(t *testing.T) {
	corpus := sharedtest.Dir(t, "corpus")
	for name, open := range map[string]struct {
		start   func(t *testing.T) client
		reasons bool // the client shows the registry's message
	}{
		"docker":  {func(t *testing.T) client { return clients.Docker(t) }, true},
		"skopeo":  {func(t *testing.T) client { return clients.Skopeo(t) }, true},
		"podman":  {func(t *testing.T) client { return clients.Podman(t) }, true},
		"buildah": {func(t *testing.T) client { return clients.Buildah(t) }, true},
		"ctr":     {func(t *testing.T) client { return clients.Containerd(t) }, false}, // Debian's 1.6 prints the status alone
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open.start(t)
			s := serve(t, synced(t), feedSettings(t)...)
			roundTrip(t, s, c, filepath.Join(corpus, "alpine-3.8"))
			for image, wants := range map[string][]string{
				"alpine-3.20":         {`policy "default"`, "CVE-2025-15467 libcrypto3, libssl3 3.3.2-r0", "fixed in 3.3.6-r0", s.api + "/report/sha256:"},
				"node-app":            {`policy "default"`, "CVE-2021-44906 minimist 1.2.0", "fixed in", s.api + "/report/sha256:"},
				"python-site":         {`policy "default"`, "fixed in", s.api + "/report/sha256:"},
				"debian12-distroless": {`policy "default"`, "CVE-", "fixed in", s.api + "/report/sha256:"},
				"almalinux-9.0-micro": {`policy "default"`, "ALSA-2023:5453 glibc", "fixed in 2.34-60.el9_2.7"},
				"java-app":            {`policy "default"`, "CVE-2020-25649 com.fasterxml.jackson.core:jackson-databind", "fixed in"},
				"rpm-sqlite-mariner":  {"not understood", "no vulnerability data for 129 system packages of mariner 2.0"},
			} {
				refused(t, s, c, filepath.Join(corpus, image), wants, open.reasons)
			}
		})
	}
}

func roundTrip(t *testing.T, s *server, c client, layout string) {
	t.Helper()
	ref := s.registry + "/team/clean:1.0"
	c.Load(layout, ref)
	if out, err := c.Push(ref); err != nil {
		t.Fatalf("push of a clean image: %v\n%s", err, out)
	}
	pushed := s.digest("team/clean", "1.0")
	c.Remove(ref)
	if out, err := c.Pull(ref); err != nil {
		t.Fatalf("pull of a clean image: %v\n%s", err, out)
	}
	if got := c.Digest(ref); got != pushed {
		t.Errorf("pulled %s, pushed %s", got, pushed)
	}
}

func refused(t *testing.T, s *server, c client, layout string, wants []string, reasons bool) {
	t.Helper()
	name := "team/" + filepath.Base(layout)
	ref := s.registry + "/" + name + ":1.0"
	c.Load(layout, ref)
	if out, err := c.Push(ref); err != nil {
		t.Fatalf("push of %s: %v\n%s", name, err, out)
	}
	c.Remove(ref)
	out, err := c.Pull(ref)
	if err == nil {
		t.Fatalf("%s was pulled\n%s", name, out)
	}
	t.Logf("%s: %s", name, strings.TrimSpace(out))
	if !reasons {
		wants = []string{"403"}
	}
	flat := strings.ReplaceAll(out, `\"`, `"`)
	for _, want := range wants {
		if !strings.Contains(flat, want) {
			t.Errorf("%s: the client does not show %q:\n%s", name, want, out)
		}
	}
}

// digest asks the running system what a tag stands for.
func (s *server) digest(name, tag string) string {
	s.t.Helper()
	var doc struct{ Digest string }
	if err := s.get("/v1/pratique/check?reference="+s.registry+"/"+name+":"+tag, &doc); err != nil {
		s.t.Fatal(err)
	}
	return doc.Digest
}

// TestCheckTellsWhatThePullWillSay compares `check` with the gate.
func TestCheckTellsWhatThePullWillSay(t *testing.T) {
	corpus := sharedtest.Dir(t, "corpus")
	c := clients.Skopeo(t)
	s := serve(t, synced(t), feedSettings(t)...)
	for image, want := range map[string]int{"alpine-3.8": 0, "alpine-3.20": 1} {
		ref := s.registry + "/team/" + image + ":1"
		c.Load(filepath.Join(corpus, image), ref)
		if out, err := c.Push(ref); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, errOut, code := pratique(t, "check", ref, "--url", s.api)
		if code != want {
			t.Errorf("check %s: exit %d, want %d\n%s%s", image, code, want, out, errOut)
		}
		out, _, _ = pratique(t, "check", ref, "--url", s.api, "--format", "json")
		var doc struct {
			Allowed bool
			Digest  string
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Allowed != (want == 0) || doc.Digest == "" {
			t.Errorf("check %s --format json: %+v, %v\n%s", image, doc, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dataDir, "catalog.db")); err != nil {
		t.Error(err)
	}
}
