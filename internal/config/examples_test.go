package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/config"
)

// root is the module's, as seen from this folder.
const root = "../.."

func TestExampleLoads(t *testing.T) {
	path := filepath.Join(root, "deploy", "pratique.yaml")
	c, err := config.Load(config.Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Upstreams) != 3 || len(c.Gate.Rules) != 2 {
		t.Errorf("%d upstreams, %d rules", len(c.Upstreams), len(c.Gate.Rules))
	}
}

// TestExampleWithEverything loads the example once more with all that is
// commented out: what is offered there must be right too.
func TestExampleWithEverything(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "deploy", "pratique.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	offered := regexp.MustCompile(`(?m)^( *)# ([a-z_]+: \S.*)$`)
	_, settings, _ := strings.Cut(string(raw), "\n\n") // behind the words at the top
	text := offered.ReplaceAllString(settings, "$1$2")
	c, err := config.Load(config.Source{File: write(t, text)})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for name, value := range map[string]string{
		"registry.tls.key": c.Registry.TLS.Key, "api.external_url": c.API.ExternalURL, "policy.dir": c.Policy.Dir,
		"upstreams[2].ca_file": c.Upstreams[2].CAFile, "auth.anonymous": c.Auth.Anonymous, "auth.token.key_file": c.Auth.Token.KeyFile,
		"redis.hmac_key_file": c.Redis.HMACKeyFile, "log.format": c.Log.Format,
	} {
		if value == "" {
			t.Errorf("%s is not among what the example offers", name)
		}
	}
}

// TestDocumentedYAMLLoads loads every YAML block of docs/configuration.md.
func TestDocumentedYAMLLoads(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatchIndex(string(raw), -1)
	if len(blocks) < 5 {
		t.Fatalf("%d blocks found, there are more", len(blocks))
	}
	for _, b := range blocks {
		line := 1 + strings.Count(string(raw[:b[2]]), "\n")
		t.Run(fmt.Sprintf("line %d", line), func(t *testing.T) {
			if _, err := config.Load(config.Source{File: write(t, string(raw[b[2]:b[3]]))}); err != nil {
				t.Error(err)
			}
		})
	}
}
