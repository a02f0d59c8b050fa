package deploy_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"

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

// configs loads the configurations of a rendering; there may be no admission.
func configs(t testing.TB, all []object) (serve config.Config, admission *config.Config) {
	t.Helper()
	for _, m := range every[*corev1.ConfigMap](all) {
		switch text, ok := m.Data[configFile]; {
		case !ok:
		case m.Labels["app.kubernetes.io/component"] == "admission":
			c := load(t, text)
			admission = &c
		default:
			serve = load(t, text)
		}
	}
	return serve, admission
}

// TestConfigurationLoads: what the chart writes is what the program reads, in the
// profiles too, and says what the values say.
func TestConfigurationLoads(t *testing.T) {
	for _, name := range append(profiles(t), "") {
		t.Run("profile "+name, func(t *testing.T) {
			serve, admission := configs(t, decodeAll(t, release{values: profile(t, name)}.render(t)))
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
			enforced := name != "" && name != "observe"
			if selectors := admission.Admission.Selectors; enforced != (len(selectors) == 0) || !enforced && !selectors[0].DryRun {
				t.Errorf("selectors are %v", selectors)
			}
			if admission.Admission.Mutation.Pin != enforced {
				t.Errorf("pin: %v", admission.Admission.Mutation.Pin)
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
		"admission": values{"account": values{"name": "robot+admission", "existingSecret": "robot"}, "config": values{"platforms": []any{"linux/arm64"},
			"selectors": []any{values{"match": values{"type": "namespace", "key": "name", "value": "shop"}}}}},
	}}.render(t))
	serve, admission := configs(t, all)
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
	a := admission.Admission
	if len(a.Selectors) != 1 || !a.Selectors[0].DryRun || a.Selectors[0].Match.Value != "shop" || a.NoSelector != "warn" ||
		!slices.Equal(a.Platforms, []string{"linux/arm64"}) || a.Listen != "0.0.0.0:8443" {
		t.Errorf("admission: %+v", a)
	}
	if a.Engine.User != "robot+admission" || a.Engine.URL != "http://pratique.pratique.svc:8228" ||
		a.Resolver.Proxies["registry.example"].Address != "http://pratique.pratique.svc:5000" {
		t.Errorf("admission does not find serve: %+v, %+v", a.Engine, a.Resolver)
	}
}

// TestCertificateNames: what admission is told of its certificate are the objects
// that the chart makes.
func TestCertificateNames(t *testing.T) {
	for _, r := range []release{{values: profile(t, "enforce")}, {name: "gate", namespace: "platform"}} {
		all := decodeAll(t, r.render(t))
		_, admission := configs(t, all)
		c := admission.Admission.Kubernetes.Certificates
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		find[*corev1.Service](t, all, c.Service)
		find[*corev1.Secret](t, all, c.Secret)
		for _, name := range c.Validating {
			hook := find[*registrationv1.ValidatingWebhookConfiguration](t, all, name).Webhooks[0].ClientConfig.Service
			if hook.Name != c.Service || hook.Namespace != c.Namespace {
				t.Errorf("%s asks %s in %s", name, hook.Name, hook.Namespace)
			}
		}
		for _, name := range c.Mutating {
			find[*registrationv1.MutatingWebhookConfiguration](t, all, name)
		}
		if len(c.Validating) != 1 || len(c.Mutating) != len(every[*registrationv1.MutatingWebhookConfiguration](all)) {
			t.Errorf("the caBundle is written into %v and %v", c.Validating, c.Mutating)
		}
		if l := admission.Admission.Kubernetes.Leader; l.Namespace != c.Namespace || l.Lease == "" {
			t.Errorf("leader: %+v", l)
		}
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
