package config_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/config"
)

// composeFile is docker-compose.yaml, as far as it is checked here.
type composeFile struct {
	Services map[string]composeService `yaml:"services"`
	Secrets  map[string]struct {
		File string `yaml:"file"`
	} `yaml:"secrets"`
	Volumes map[string]any `yaml:"volumes"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	PullPolicy  string            `yaml:"pull_policy"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Secrets     []string          `yaml:"secrets"`
	Volumes     []string          `yaml:"volumes"`
	DependsOn   []string          `yaml:"depends_on"`
}

// tree returns a file of the top of the tree.
func tree(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	var f composeFile
	if err := yaml.NewDecoder(bytes.NewReader([]byte(tree(t, "docker-compose.yaml")))).Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestComposeSettings loads what docker-compose.yaml sets, together with the
// image's own settings: each names a setting, and together they start.
func TestComposeSettings(t *testing.T) {
	f := readCompose(t)
	service := f.Services["pratique"]
	var env []string
	for _, m := range regexp.MustCompile(`(?m)^ENV (PRATIQUE_\S+)$`).FindAllStringSubmatch(tree(t, "deploy/Dockerfile"), -1) {
		env = append(env, m[1])
	}
	for name, value := range service.Environment {
		env = append(env, name+"="+value)
	}
	c, err := config.Load(config.Source{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(service.Volumes, "data:"+c.DataDir) {
		t.Errorf("data_dir %s is not on a volume: %v", c.DataDir, service.Volumes)
	}
	if c.Auth.Level(c.Loopback()) != auth.Push {
		t.Errorf("auth.anonymous = %q: a newcomer cannot push", c.Auth.Anonymous)
	}
	// Without being told so it must not start on every address.
	c.Auth.Anonymous = ""
	if err := c.Validate(); err == nil {
		t.Error("starts on every address without auth.anonymous")
	}
	if name, _ := strings.CutPrefix(c.Redis.HMACKeyFile, "/run/secrets/"); !slices.Contains(service.Secrets, name) {
		t.Errorf("redis.hmac_key_file %s is none of the secrets %v", c.Redis.HMACKeyFile, service.Secrets)
	}
	if _, ok := f.Services[strings.TrimSuffix(strings.TrimPrefix(c.Redis.URL, "redis://"), ":6379/0")]; !ok {
		t.Errorf("redis.url %s names no service", c.Redis.URL)
	}
	names := c.LocalHostnames("[::]:5000")
	for _, want := range []string{"127.0.0.1:5000", "localhost:5000"} {
		if !slices.Contains(names, want) {
			t.Errorf("policies know the embedded registry as %v, not as %s", names, want)
		}
	}
}

// TestComposePorts: published on this machine alone, and where the refusals and
// the policies say.
func TestComposePorts(t *testing.T) {
	f := readCompose(t)
	for name, service := range f.Services {
		for _, p := range service.Ports {
			i := strings.LastIndexByte(p, ':')
			if i < 0 || !auth.Loopback(p[:i]) {
				t.Errorf("%s: port %s is not published on loopback alone", name, p)
			}
		}
	}
	service := f.Services["pratique"]
	for _, key := range []string{"PRATIQUE_REGISTRY_LISTEN", "PRATIQUE_API_LISTEN"} {
		_, port, err := net.SplitHostPort(service.Environment[key])
		if err != nil || !slices.Contains(service.Ports, "127.0.0.1:"+port+":"+port) {
			t.Errorf("%s: port %q is not published under its own number", key, port)
		}
	}
	if len(f.Services["redis"].Ports) > 0 {
		t.Error("Redis is published")
	}
	if service.PullPolicy != "never" {
		t.Errorf("pull_policy = %q: the image could come from a stranger", service.PullPolicy)
	}
}

// TestComposeSecrets: `make image` makes every file that Compose mounts, and git
// leaves it alone.
func TestComposeSecrets(t *testing.T) {
	f := readCompose(t)
	if len(f.Secrets) == 0 {
		t.Error("no secrets")
	}
	ignored := strings.Split(tree(t, ".gitignore"), "\n")
	for name, s := range f.Secrets {
		file := filepath.Clean(s.File)
		if !strings.Contains(tree(t, "Makefile"), "\n"+file+":\n\t@scripts/secret $@") || !strings.Contains(tree(t, "Makefile"), "\nimage: "+file) {
			t.Errorf("secret %s: `make image` does not make %s", name, file)
		}
		if !slices.Contains(ignored, "/"+filepath.Dir(file)+"/") {
			t.Errorf("secret %s: git does not ignore %s", name, file)
		}
	}
}
