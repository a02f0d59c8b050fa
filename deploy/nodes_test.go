package deploy_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/pratique/pratique/internal/clients"
)

const (
	gateURL  = "https://pratique.example:5000"
	gateHost = "pratique.example:5000"
)

func nodeFile(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("nodes", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func decodeTOML(t testing.TB, name string, into any) {
	t.Helper()
	if err := toml.NewDecoder(strings.NewReader(nodeFile(t, name))).DisallowUnknownFields().Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestHostsFiles: a hosts.toml names one server, and that is the only host.
func TestHostsFiles(t *testing.T) {
	files, err := filepath.Glob("nodes/containerd/*/hosts.toml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		var hosts struct {
			Server string `toml:"server"`
			Host   map[string]struct {
				Capabilities []string `toml:"capabilities"`
			} `toml:"host"`
		}
		name := strings.TrimPrefix(file, "nodes/")
		decodeTOML(t, name, &hosts)
		want := gateURL
		if folder := filepath.Base(filepath.Dir(file)); folder != "_default" {
			want = "https://" + folder
		}
		if _, ok := hosts.Host[want]; !ok || hosts.Server != want || len(hosts.Host) != 1 {
			t.Errorf("%s: server %s, hosts %v", name, hosts.Server, hosts.Host)
		}
	}
}

// TestCRIOFiles: every registry that the chart has is at Pratique, has no mirrors,
// and is among those that the policy allows; all others are not.
func TestCRIOFiles(t *testing.T) {
	var conf struct {
		Search   []string `toml:"unqualified-search-registries"`
		Registry []struct {
			Prefix   string `toml:"prefix"`
			Location string `toml:"location"`
		} `toml:"registry"`
	}
	decodeTOML(t, "crio/50-pratique.conf", &conf)
	type requirement struct {
		Type string `json:"type"`
	}
	var policy struct {
		Default    []requirement                       `json:"default"`
		Transports map[string]map[string][]requirement `json:"transports"`
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(nodeFile(t, "crio/policy.json"))))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&policy); err != nil {
		t.Fatal(err)
	}
	if len(conf.Search) > 0 || policy.Default[0].Type != "reject" {
		t.Errorf("short names are searched in %v, by default images are %v", conf.Search, policy.Default)
	}
	at := map[string]string{}
	for _, r := range conf.Registry {
		at[r.Prefix] = r.Location
	}
	serve, _ := configs(t, decodeAll(t, release{}.render(t)))
	for _, u := range serve.Upstreams {
		if u.Embedded {
			continue
		}
		if at[u.Prefix] != gateHost+"/"+u.Prefix || len(policy.Transports["docker"][u.Prefix]) != 1 {
			t.Errorf("%s is at %q, policy %v", u.Prefix, at[u.Prefix], policy.Transports["docker"][u.Prefix])
		}
		delete(at, u.Prefix)
	}
	if len(at) > 0 {
		t.Errorf("no upstreams: %v", at)
	}
}

// door is a registry that has nothing, or refuses everything, and counts.
type door struct {
	host, url string
	asked     atomic.Int32
}

func newDoor(t testing.TB, status int) *door {
	t.Helper()
	d := new(door)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.asked.Add(1)
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	d.url, d.host = server.URL, strings.TrimPrefix(server.URL, "http://")
	return d
}

// TestContainerdStaysAtTheGate: with the file for nodes the real containerd does not
// go on to the registry when it is refused; with a mirror alone it does.
func TestContainerdStaysAtTheGate(t *testing.T) {
	ctr := clients.Containerd(t)
	mirror := "[host.\"" + gateURL + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
	for name, test := range map[string]struct {
		text    string
		through bool
	}{"hosts.toml": {nodeFile(t, "containerd/_default/hosts.toml"), false}, "mirror": {mirror, true}} {
		gate, origin := newDoor(t, http.StatusForbidden), newDoor(t, http.StatusNotFound)
		if err := os.MkdirAll(filepath.Join(ctr.Hosts, "_default"), 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(test.text, gateURL, gate.url)
		if err := os.WriteFile(filepath.Join(ctr.Hosts, "_default", "hosts.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := ctr.Run("images", "pull", "--hosts-dir", ctr.Hosts, origin.host+"/team/app:1"); err == nil {
			t.Errorf("%s: pulled: %s", name, out)
		}
		if gate.asked.Load() == 0 || (origin.asked.Load() > 0) != test.through {
			t.Errorf("%s: the gate was asked %d times, the registry %d times", name, gate.asked.Load(), origin.asked.Load())
		}
	}
}

// TestCRIOStaysAtTheGate: the same for the library of CRI-O and podman, by skopeo.
func TestCRIOStaysAtTheGate(t *testing.T) {
	skopeo := clients.Skopeo(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	mirror := "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n" +
		"[[registry.mirror]]\nlocation = \"pratique.example:5000/docker.io\"\n"
	for name, test := range map[string]struct {
		text    string
		through bool
	}{"50-pratique.conf": {nodeFile(t, "crio/50-pratique.conf"), false}, "mirror": {mirror, true}} {
		gate, origin := newDoor(t, http.StatusForbidden), newDoor(t, http.StatusNotFound)
		text := strings.NewReplacer(gateHost+"/docker.io", gate.host+"/hub", "docker.io", origin.host).Replace(test.text)
		policy := strings.ReplaceAll(nodeFile(t, "crio/policy.json"), "docker.io", origin.host)
		args := []string{"--registries-conf", write("registries.conf", text), "--policy", write("policy.json", policy), "copy", "--src-tls-verify=false"}
		if out, err := skopeo.Run(append(args, "docker://"+origin.host+"/team/app:1", "dir:"+filepath.Join(dir, "out"))...); err == nil {
			t.Errorf("%s: pulled: %s", name, out)
		}
		if gate.asked.Load() == 0 || (origin.asked.Load() > 0) != test.through {
			t.Errorf("%s: the gate was asked %d times, the registry %d times", name, gate.asked.Load(), origin.asked.Load())
		}
	}
}
