package deploy_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pratique/pratique/internal/config"
)

// configFile is where the Pods find their configuration.
const configFile = "pratique.yaml"

// load reads a configuration as the program would in its Pod.
func load(t testing.TB, text string) config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), configFile)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Source{File: file})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// configs loads both configurations of a rendering, that of admission without its
// own section, and gives that section.
func configs(t testing.TB, all []object) (serve config.Config, admission *config.Config, section map[string]any) {
	t.Helper()
	for _, m := range every[*corev1.ConfigMap](all) {
		text, ok := m.Data[configFile]
		if !ok {
			continue
		}
		var keys map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &keys); err != nil {
			t.Fatal(err)
		}
		own, ok := keys["admission"].(map[string]any)
		if !ok {
			serve = load(t, text)
			continue
		}
		delete(keys, "admission")
		rest, err := yaml.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		c := load(t, string(rest))
		admission, section = &c, own
	}
	return serve, admission, section
}

// TestConfigurationLoads: what the chart writes is what the program reads, in the
// profiles too, and says what the values say.
func TestConfigurationLoads(t *testing.T) {
	for _, name := range append(profiles(t), "") {
		t.Run("profile "+name, func(t *testing.T) {
			serve, admission, section := configs(t, decodeAll(t, release{values: profile(t, name)}.render(t)))
			if serve.Registry.Listen != "0.0.0.0:5000" || serve.API.Listen != "0.0.0.0:8228" || serve.DataDir != "/var/lib/pratique" {
				t.Errorf("registry %s, API %s, data %s", serve.Registry.Listen, serve.API.Listen, serve.DataDir)
			}
			if serve.Auth.Token.KeyFile == "" {
				t.Error("tokens do not outlive a restart")
			}
			if name == "minimal" {
				if admission != nil || serve.Redis.URL != "" {
					t.Error("minimal has admission or Redis")
				}
				return
			}
			if serve.Redis != admission.Redis {
				t.Errorf("serve and admission do not share a Redis: %v, %v", serve.Redis, admission.Redis)
			}
			if !reflect.DeepEqual(serve.Upstreams, admission.Upstreams) || !reflect.DeepEqual(serve.Gate, admission.Gate) {
				t.Error("serve and admission differ in upstreams or gate")
			}
			first, _ := section["selectors"].([]any)
			if enforced := name != "" && name != "observe"; enforced != (len(first) == 0) {
				t.Errorf("selectors are %v", first)
			}
		})
	}
}

// TestConfigurationLaidOver: config wins over what the chart sets, and the embedded
// registry is known by the name that nodes use.
func TestConfigurationLaidOver(t *testing.T) {
	all := decodeAll(t, release{values: values{
		"serve": values{"host": "registry.example", "externalURL": "https://pratique.example", "anonymous": "none"},
		"users": values{"existingSecret": "people"},
		"config": values{
			"log":  values{"format": "text"},
			"gate": values{"push": "quarantine"},
			"auth": values{"rules": []any{values{"who": []any{"alice"}, "repositories": []any{"*"}, "actions": []any{"admin"}}}},
		},
		"policies": values{"our.json": "{}"},
		"admission": values{"config": values{"platforms": []any{"linux/arm64"},
			"selectors": []any{values{"match": values{"type": "namespace", "key": "name", "value": "shop"}}}}},
	}}.render(t))
	serve, admission, section := configs(t, all)
	if serve.Log.Format != "text" || admission.Log.Format != "text" || serve.Gate.Push != "quarantine" || len(serve.Auth.Rules) != 1 {
		t.Errorf("config is not laid over: %+v %+v %+v", serve.Log, serve.Gate, serve.Auth)
	}
	if serve.Auth.UsersFile != "/run/secrets/users/users.yaml" || serve.API.ExternalURL != "https://pratique.example" {
		t.Errorf("users %s, pages %s", serve.Auth.UsersFile, serve.API.ExternalURL)
	}
	if names := serve.LocalHostnames("0.0.0.0:5000"); !slices.Contains(names, "registry.example") {
		t.Errorf("policies know the embedded registry as %v", names)
	}
	if serve.Policy.Dir != "/etc/pratique/policies" || admission.Policy.Dir != serve.Policy.Dir {
		t.Errorf("policies in %s and %s", serve.Policy.Dir, admission.Policy.Dir)
	}
	selectors := []any{values{"dry_run": true, "match": values{"type": "namespace", "key": "name", "value": "shop"}}}
	if !reflect.DeepEqual(section["selectors"], selectors) || section["no_selector"] != "warn" ||
		!reflect.DeepEqual(section["platforms"], []any{"linux/arm64"}) || section["listen"] != "0.0.0.0:8443" {
		t.Errorf("admission: %v", section)
	}
}

// TestConfigurationKeys: the schema lets all settings through but those that the
// chart owns, and no other key.
func TestConfigurationKeys(t *testing.T) {
	owned := []string{"data_dir", "redis", "admission"}
	var want []string
	for f := range reflect.TypeFor[config.Config]().Fields() {
		if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); !slices.Contains(owned, key) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	got := slices.Sorted(maps.Keys(schema(t).Properties["config"].Properties))
	if !slices.Equal(got, want) {
		t.Errorf("the schema lets through %v, settings are %v", got, want)
	}
}
