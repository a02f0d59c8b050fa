package main_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/imagetest"
)

// clinic is a registry, a gate in front of it, and an image of each kind.
type clinic struct {
	gate, origin *server
	bad, good    string // images by the origin's name
}

// newOrigin starts a server that serves everything, as any registry does.
func newOrigin(t *testing.T) *server {
	t.Helper()
	origin, _ := serveLockouts(t, "--set", "gate.mode=passive")
	origin.push("team/bad", imagetest.Vulnerable())
	origin.push("team/good", imagetest.Clean())
	return origin
}

// newClinic starts a gate that has the origin as an upstream, of this prefix or else of
// the origin's own name.
func newClinic(t *testing.T, origin *server, prefix string, settings ...string) clinic {
	t.Helper()
	upstreams := fmt.Sprintf(`upstreams=[{name: local, embedded: true, default: true}, {name: origin, prefix: "%s", hostnames: ["%s"], url: "http://%s"}]`,
		cmp.Or(prefix, origin.registry), origin.registry, origin.registry)
	gate, _ := serveLockouts(t, append([]string{"--set", upstreams}, settings...)...)
	return clinic{gate: gate, origin: origin, bad: origin.registry + "/team/bad:1", good: origin.registry + "/team/good:1"}
}

// examination is what doctor prints as JSON.
type examination struct {
	Checks []struct {
		Check, Result, Detail, Next string
		Asked                       bool
	}
	OK, Failed int
	NotChecked int `json:"not_checked"`
}

// doctor runs the command and compares its exit code.
func (c clinic) doctor(t *testing.T, code int, args ...string) examination {
	t.Helper()
	args = append([]string{"doctor", "--proxy", "http://" + c.gate.registry, "--format", "json", "--anonymous"}, args...)
	stdout, stderr, got := pratique(t, args...)
	var e examination
	if err := json.Unmarshal([]byte(stdout), &e); err != nil || got != code {
		t.Fatalf("exit %d, want %d (%v)\n%s\n%s", got, code, err, stdout, stderr)
	}
	return e
}

// expect fails unless a check ended so and says so.
func (e examination) expect(t *testing.T, name, result string, words ...string) {
	t.Helper()
	for _, c := range e.Checks {
		if c.Check != name {
			continue
		}
		for _, word := range words {
			if !strings.Contains(c.Detail+" "+c.Next, word) {
				t.Errorf("%s does not say %q: %s", name, word, c.Detail)
			}
		}
		if c.Result != result {
			t.Errorf("%s: %s, want %s: %s", name, c.Result, result, c.Detail)
		}
		return
	}
	t.Errorf("there is no check %s: %+v", name, e.Checks)
}

// emptyNode are the flags of a node that has no files.
func emptyNode(t *testing.T) (dir string, flags []string) {
	t.Helper()
	dir = t.TempDir()
	return dir, []string{
		"--containerd-config", filepath.Join(dir, "config.toml"), "--registries-conf", filepath.Join(dir, "registries.conf"),
		"--docker-config", filepath.Join(dir, "daemon.json"),
	}
}

// TestDoctor: a whole installation is examined, and what it pushes is gone afterwards.
func TestDoctor(t *testing.T) {
	c := newClinic(t, newOrigin(t), "")
	images := []string{"--skip-node", "--bad-image", c.bad, "--good-image", c.good, "--push-test-image", "team/doctor"}
	e := c.doctor(t, 0, images...)
	for _, name := range []string{
		"proxy answers", "clock", "log in", "mirror of " + c.origin.registry, "bad image by tag", "bad image by digest", "bad image by HEAD",
		"bad image, mirror by tag", "bad image, mirror by digest", "bad image, mirror by HEAD", "good image",
		"test image by tag", "test image by digest", "test image by HEAD", "test image, layers", "test image removed",
	} {
		e.expect(t, name, "ok")
	}
	e.expect(t, "bad image by tag", "ok", `refused by policy "default"`, "CVE-2025-15467", c.gate.api+"/report/sha256:")
	tags, err := http.Get("http://" + c.gate.registry + "/v2/team/doctor/tags/list")
	if err != nil {
		t.Fatal(err)
	}
	defer tags.Body.Close()
	var left struct{ Tags []string }
	if err := json.NewDecoder(tags.Body).Decode(&left); err != nil || len(left.Tags) > 0 {
		t.Errorf("the test image is still there: %v %v", left.Tags, err)
	}

	c.doctor(t, 2, "--skip-node").expect(t, "bad image", "not checked", "--bad-image")
	c.doctor(t, 2, "--skip-node", "--bad-image", "team/none:1").expect(t, "bad image by tag", "not checked", "not found")
	c.doctor(t, 1, "--skip-node", "--bad-image", c.good).expect(t, "bad image by tag", "failed", "THE IMAGE CAN BE PULLED")
	c.doctor(t, 1, "--skip-node", "--good-image", c.bad, "--bad-image", c.bad).expect(t, "good image", "failed", "refused by policy")
	c.doctor(t, 1, "unknown.example", "--skip-node", "--bad-image", c.bad).expect(t, "mirror of unknown.example", "failed", "prefix: unknown.example")

	stdout, _, code := pratique(t, append([]string{"doctor", "--proxy", "http://" + c.gate.registry, "--anonymous"}, images...)...)
	for _, want := range []string{"CHECK ", "RESULT ", "bad image by tag (ok)", "CVE-2025-15467", " ok, 0 failed, 0 not checked, 3 not asked for\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the table does not show %q:\n%s", want, stdout)
		}
	}
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	for word, args := range map[string][]string{
		"want table or json":    {"--format", "text"},
		"go together":           {"--user", "bob"},
		"want http://HOST:PORT": {"--proxy", "pratique.example:5000"},
		"to be told what":       {"--runtime", "auto"},
		"--in-cluster":          {"--in-cluster"},
	} {
		if _, stderr, code := pratique(t, append([]string{"doctor"}, args...)...); code != 2 || !strings.Contains(stderr, word) {
			t.Errorf("%v: exit %d, want %q: %s", args, code, word, stderr)
		}
	}
}

// TestDoctorModes: what the gate is set to is seen.
func TestDoctorModes(t *testing.T) {
	origin := newOrigin(t)
	for name, test := range map[string]struct {
		settings []string
		code     int
		check    string
		result   string
		words    []string
	}{
		"passive":    {[]string{"gate.mode=passive"}, 1, "bad image by tag", "failed", []string{"THE IMAGE CAN BE PULLED"}},
		"analysis":   {[]string{"gate.mode=analysis"}, 1, "bad image by tag", "failed", []string{"gate.mode"}},
		"tombstones": {[]string{"gate.tombstones=allow"}, 0, "bad image, mirror by tag, tombstone", "ok", []string{"403"}},
		"enforce":    {[]string{"gate.push=enforce"}, 0, "test image, push", "ok", []string{"gate.push refuses it"}},
		"quarantine": {[]string{"gate.push=quarantine"}, 0, "test image by digest", "ok", nil},
		"closed":     {[]string{"auth.anonymous=none", `auth.rules=[{who: [anonymous], repositories: ["public/*"], actions: [pull]}]`}, 2, "bad image by tag", "not checked", []string{"--user"}},
	} {
		t.Run(name, func(t *testing.T) {
			var settings []string
			for _, setting := range test.settings {
				settings = append(settings, "--set", setting)
			}
			c := newClinic(t, origin, "", settings...)
			e := c.doctor(t, test.code, "--skip-node", "--bad-image", c.bad, "--push-test-image", "team/doctor")
			e.expect(t, test.check, test.result, test.words...)
		})
	}
}

// TestDoctorContainerd: the real containerd pulls what its files lead it to, and the
// doctor sees by the files, and by the pull, whether that is the gate.
func TestDoctorContainerd(t *testing.T) {
	c, ctr := newClinic(t, newOrigin(t), ""), clients.Containerd(t)
	path := t.TempDir()
	ctr.Script(path)
	t.Setenv("PATH", path+":"+os.Getenv("PATH"))
	dir, flags := emptyNode(t)
	flags = append(flags, "--bad-image", c.bad, "--runtime", "ctr")
	config := "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"" + ctr.Hosts + "\"\n"
	fatal(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o644))
	host := "[host.\"http://" + c.gate.registry + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
	write := func(text string) {
		t.Helper()
		fatal(t, os.MkdirAll(filepath.Join(ctr.Hosts, "_default"), 0o755))
		fatal(t, os.WriteFile(filepath.Join(ctr.Hosts, "_default", "hosts.toml"), []byte(text), 0o644))
	}
	write("server = \"http://" + c.gate.registry + "\"\n" + host)
	e := c.doctor(t, 0, flags...)
	e.expect(t, "containerd, "+c.origin.registry, "ok", "the proxy is the only host")
	e.expect(t, "containerd, config_path", "ok", ctr.Hosts)
	e.expect(t, "runtime, ctr", "ok")

	write(host) // a mirror: containerd goes on to the origin
	e = c.doctor(t, 1, flags...)
	e.expect(t, "containerd, "+c.origin.registry, "failed", `no line "server"`)
	e.expect(t, "runtime, ctr", "failed", "THE IMAGE CAN BE PULLED", "goes past the proxy")
	e.expect(t, "bad image by tag", "ok") // the gate is not to blame
	if out, err := ctr.Run("--namespace", "pratique-doctor", "images", "list", "--quiet"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("what was pulled is still there: %s %v", out, err)
	}
}

// TestDoctorPodman: the same for podman, whose location leads to the gate and whose
// mirror does not.
func TestDoctorPodman(t *testing.T) {
	c, podman := newClinic(t, newOrigin(t), "origin.example"), clients.Podman(t)
	path := t.TempDir()
	podman.Script(path)
	t.Setenv("PATH", path+":"+os.Getenv("PATH"))
	_, flags := emptyNode(t)
	conf := podman.RegistriesConf()
	fatal(t, os.WriteFile(filepath.Join(filepath.Dir(conf), "policy.json"), []byte(`{"default": [{"type": "insecureAcceptAnything"}]}`), 0o644))
	flags = append(flags, "--bad-image", c.bad, "--runtime", "podman", "--registries-conf", conf)
	entry := func(location, more string) {
		t.Helper()
		text := "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n[[registry]]\nprefix = \"" + c.origin.registry + "\"\ninsecure = true\nlocation = \"" + location + "\"\n" + more
		fatal(t, os.WriteFile(conf, []byte(text), 0o644))
	}
	atGate := c.gate.registry + "/origin.example"
	entry(atGate, "")
	e := c.doctor(t, 1, flags...) // policy.json lets other registries be
	e.expect(t, "containers, "+c.origin.registry, "ok", "its location is")
	e.expect(t, "containers, other registries", "failed", "policy.json")
	e.expect(t, "runtime, podman", "ok", "pratique: refused by policy", "CVE-2025-15467")

	entry(c.origin.registry, "[[registry.mirror]]\ninsecure = true\nlocation = \""+atGate+"\"\n")
	e = c.doctor(t, 1, flags...)
	e.expect(t, "containers, "+c.origin.registry, "failed", "the proxy is a mirror")
	e.expect(t, "runtime, podman", "failed", "THE IMAGE CAN BE PULLED")
	if out, err := podman.Run("images", "--quiet"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("what was pulled is still there: %s %v", out, err)
	}
}

// TestDoctorDocker: docker names images with the gate's address.
func TestDoctorDocker(t *testing.T) {
	c, docker := newClinic(t, newOrigin(t), ""), clients.Docker(t)
	path := t.TempDir()
	docker.Script(path)
	t.Setenv("PATH", path+":"+os.Getenv("PATH"))
	c.gate.push("team/bad", imagetest.Vulnerable())
	e := c.doctor(t, 0, "--skip-node", "--runtime", "docker", "--bad-image", "team/bad:1")
	e.expect(t, "runtime, docker", "ok", "pratique: refused by policy", "CVE-2025-15467")
	e = c.doctor(t, 1, "--skip-node", "--runtime", "docker", "--bad-image", c.bad) // docker knows no mirror of it
	e.expect(t, "runtime, docker", "failed", "THE IMAGE CAN BE PULLED")
	if out, err := docker.Run("images", "--quiet"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("what was pulled is still there: %s %v", out, err)
	}
}
