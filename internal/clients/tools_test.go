package clients_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/clients"
)

// TestToolsOfTheScript: scripts/suites builds the Go programs that the suites
// look for, in the same versions.
func TestToolsOfTheScript(t *testing.T) {
	raw, err := os.ReadFile("../../scripts/suites")
	must(t, err)
	var built []string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); strings.Contains(line, "/cmd/") && strings.Contains(line, "@v") {
			built = append(built, line)
		}
	}
	if diff := cmp.Diff(clients.Modules(), built); diff != "" {
		t.Errorf("scripts/suites (-wanted +built):\n%s", diff)
	}
}

// TestHelm pushes a chart and pulls it again.
func TestHelm(t *testing.T) {
	t.Parallel()
	h, host := clients.NewHelm(t), serve(t)
	if out, err := h.Push(h.Package("chart", "1.0.0", "first"), host+"/team"); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	if out, err := h.Pull(host + "/team/chart:1.0.0"); err != nil {
		t.Errorf("pull: %v\n%s", err, out)
	}
	out, err := h.Pull(host + "/refused/chart:1.0.0")
	if err == nil {
		t.Error("a refused pull succeeded")
	}
	t.Logf("refused pull: %v\n%s", err, out)
}

// TestCosign signs an image and verifies it; an image without a signature fails.
func TestCosign(t *testing.T) {
	t.Parallel()
	c, o, host := clients.NewCosign(t), clients.NewOras(t), serve(t)
	dir, _ := layouts(t)
	o.Load(dir, "")
	for _, tag := range []string{"signed:1", "bare:1"} {
		if out, err := o.Push(host + "/" + tag); err != nil {
			t.Fatalf("push: %v\n%s", err, out)
		}
	}
	if out, err := c.Sign(host + "/signed@" + rootDigest(t, dir)); err != nil {
		t.Fatalf("sign: %v\n%s", err, out)
	}
	if out, err := c.Verify(host + "/signed:1"); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if out, err := c.Verify(host + "/bare:1"); err == nil {
		t.Errorf("an image without a signature was verified\n%s", out)
	}
}

// TestOrasAttach: what is attached to an image is found from it, and can be
// fetched and deleted.
func TestOrasAttach(t *testing.T) {
	t.Parallel()
	o, host := clients.NewOras(t), serve(t)
	dir, _ := layouts(t)
	ref := host + "/attach:1"
	o.Load(dir, ref)
	if out, err := o.Push(ref); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	if got, err := o.Resolve(ref); err != nil || got != rootDigest(t, dir) {
		t.Errorf("resolve: %s, %v", got, err)
	}
	digest, err := o.Attach(ref, "application/vnd.example.note", []byte("note"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := o.Discover(ref)
	if diff := cmp.Diff([]string{digest}, found); diff != "" || err != nil {
		t.Errorf("discover: %v (-want +got):\n%s", err, diff)
	}
	if raw, err := o.Fetch(host + "/attach@" + digest); err != nil || !strings.Contains(raw, "vnd.example.note") {
		t.Errorf("fetch: %s, %v", raw, err)
	}
}
