package cluster_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/pratique/pratique/internal/admission/cluster"
)

// auths is a Docker configuration with a user for each registry: the user is
// named for the registry.
func auths(registries ...string) string {
	var entries []string
	for _, r := range registries {
		entries = append(entries, fmt.Sprintf("%q: {%q: %q}", r, "auth", base64.StdEncoding.EncodeToString([]byte(r+":p:w"))))
	}
	return fmt.Sprintf(`{"auths": {%s}}`, strings.Join(entries, ","))
}

func dockerSecret(config string) corev1.Secret {
	return corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config)}}
}

func users(all []cluster.Credential) (names []string) {
	for _, c := range all {
		names = append(names, c.Username)
	}
	return names
}

// What the kubelet's documentation and tests say of matching. Names of users are
// cut at the first colon, so registries with ports stand as "user=port".
func TestMatching(t *testing.T) {
	for _, c := range []struct {
		name, reference string
		registries      []string
		want            []string
	}{
		{"host", "registry.example.com/a:1", []string{"registry.example.com", "other.example.com"}, []string{"registry.example.com"}},
		{"another host", "evil.example.com/a:1", []string{"registry.example.com"}, nil},
		{"host as a suffix", "registry.example.com.evil.io/a", []string{"registry.example.com"}, nil},
		{"host as a prefix", "evil-registry.example.com/a", []string{"registry.example.com"}, nil},
		{"path", "quay.io/team/app", []string{"quay.io/team", "quay.io/other"}, []string{"quay.io/team"}},
		{"the longest first", "quay.io/team/app", []string{"quay.io", "quay.io/team", "quay.io/team/app"}, []string{"quay.io/team/app", "quay.io/team", "quay.io"}},
		{"paths are prefixes of letters, as for the kubelet", "quay.io/teams/app", []string{"quay.io/team"}, []string{"quay.io/team"}},
		{"pattern", "eu.registry.example.com/a", []string{"*.registry.example.com"}, []string{"*.registry.example.com"}},
		{"pattern within a label", "prefix-eu.example.com/a", []string{"prefix-*.example.com"}, []string{"prefix-*.example.com"}},
		{"pattern does not span dots", "a.b.example.com/a", []string{"*.example.com"}, nil},
		{"pattern needs a label", "example.com/a", []string{"*.example.com"}, nil},
		{"pattern with path", "eu.example.com/team/app", []string{"*.example.com/team", "*.example.com/none"}, []string{"*.example.com/team"}},
		{"another port", "registry.example.com:5000/a", []string{"registry.example.com"}, nil},
		{"scheme and v1", "registry.example.com/a", []string{"https://registry.example.com/v1/", "http://other.example.com"}, []string{"https"}},
		{"v2 and path", "registry.example.com/team/a", []string{"registry.example.com/v2/team"}, []string{"registry.example.com/v2/team"}},
		{"Docker Hub", "nginx", []string{"https://index.docker.io/v1/"}, []string{"https"}},
		{"Docker Hub by its name", "docker.io/library/nginx", []string{"docker.io"}, []string{"docker.io"}},
		{"Docker Hub with a team", "team/app", []string{"docker.io/team", "docker.io/other"}, []string{"docker.io/team"}},
		{"nobody else's are sent to Docker Hub", "nginx", []string{"registry.example.com"}, nil},
		{"bad pattern", "registry.example.com/a", []string{"[.example.com"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := cluster.Matching([]byte(auths(c.registries...)), c.reference)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, users(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPort(t *testing.T) {
	config := `{"auths": {"registry.example.com:5000": {"username": "u", "password": "p"}}}`
	for reference, want := range map[string]int{"registry.example.com:5000/a": 1, "registry.example.com/a": 0, "registry.example.com:5001/a": 0} {
		if got, err := cluster.Matching([]byte(config), reference); err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", reference, got, err)
		}
	}
}

func TestDockerConfig(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"auth", `{"auths":{"h.io":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("u:p:q")) + `"}}}`, "u/p:q"},
		{"auth without padding", `{"auths":{"h.io":{"auth":"` + base64.RawStdEncoding.EncodeToString([]byte("u:p")) + `"}}}`, "u/p"},
		{"auth padded with zeros", `{"auths":{"h.io":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("u:p\x00\x00")) + `"}}}`, "u/p"},
		{"user and password", `{"auths":{"h.io":{"username":"u","password":"p"}}}`, "u/p"},
		{"auth before the others", `{"auths":{"h.io":{"username":"x","password":"y","auth":"dTpw"}}}`, "u/p"},
		{"helper's empty entry", `{"auths":{"h.io":{}},"credsStore":"ecr-login"}`, ""},
		{"tokens are not for the kubelet", `{"auths":{"h.io":{"identitytoken":"t","registrytoken":"t"}}}`, ""},
		{"not base64", `{"auths":{"h.io":{"auth":"%%%secret"}}}`, "error"},
		{"no colon", `{"auths":{"h.io":{"auth":"c2VjcmV0"}}}`, "error"},
		{"not JSON", `secret`, "error"},
		{"another form", `{"auths":["secret"]}`, "error"},
		{"too large", `{"auths":{"h.io":{"username":"` + strings.Repeat("u", 1<<20) + `"}}}`, "error"},
		{"user too long", `{"auths":{"h.io":{"username":"` + strings.Repeat("u", 65<<10) + `"}}}`, "error"},
		{"nothing", `{}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := cluster.Matching([]byte(c.config), "h.io/a")
			got := ""
			for _, one := range all {
				got += one.Username + "/" + one.Password
			}
			if err != nil {
				got = "error"
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the error tells the secret: %v", err)
				}
			}
			if got != c.want {
				t.Errorf("got %q, %v", got, err)
			}
			if text := fmt.Sprintf("%v %+v %#v", all, all, all); len(all) > 0 && strings.Contains(text, "/p") {
				t.Errorf("printed: %s", text)
			}
		})
	}
}

const accountPath = "/api/v1/namespaces/shop/serviceaccounts/"

func TestPullSecrets(t *testing.T) {
	s := newStandin(t, "pullsecrets")
	at := func(name string) string { return "/api/v1/namespaces/shop/secrets/" + name }
	s.put(at("one"), dockerSecret(auths("registry.example.com", "quay.io")))
	s.put(at("two"), corev1.Secret{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"registry.example.com": {"username": "old", "password": "p"}}`)}})
	s.put(at("opaque"), corev1.Secret{Type: corev1.SecretTypeOpaque, Data: dockerSecret(auths("registry.example.com")).Data})
	s.put(at("broken"), dockerSecret("secret"))
	s.put("/api/v1/namespaces/other/secrets/one", dockerSecret(auths("registry.example.com/theirs")))
	s.put(accountPath+"default", corev1.ServiceAccount{ImagePullSecrets: []corev1.LocalObjectReference{{Name: "two"}}})
	s.put(accountPath+"plain", corev1.ServiceAccount{})
	for _, c := range []struct {
		name, account, reference string
		secrets                  []string
		want                     []string
		err                      bool
	}{
		{"of the pod", "", "registry.example.com/a", []string{"one"}, []string{"registry.example.com"}, false},
		{"of the pod, in order", "", "registry.example.com/a", []string{"two", "one"}, []string{"old", "registry.example.com"}, false},
		{"of the default account", "", "registry.example.com/a", nil, []string{"old"}, false},
		{"of an account without", "plain", "registry.example.com/a", nil, nil, false},
		{"of an account that is not there", "gone", "registry.example.com/a", nil, nil, false},
		{"not there", "", "registry.example.com/a", []string{"gone", "one"}, []string{"registry.example.com"}, false},
		{"another type", "", "registry.example.com/a", []string{"opaque"}, nil, false},
		{"broken", "", "registry.example.com/a", []string{"one", "broken"}, nil, true},
		{"for another host", "", "evil.io/registry.example.com", []string{"one", "two"}, nil, false},
		{"too many", "", "registry.example.com/a", make([]string, 33), nil, true},
		{"no reference", "", "Registry/UPPER", []string{"one"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := cluster.NewPullSecrets(s.client(), nil).Credentials(t.Context(),
				cluster.Puller{Namespace: "shop", ServiceAccount: c.account, ImagePullSecrets: c.secrets}, c.reference)
			if (err != nil) != c.err {
				t.Fatal(err)
			}
			if err != nil && strings.Contains(err.Error(), `"secret"`) {
				t.Errorf("the error tells: %v", err)
			}
			if diff := cmp.Diff(c.want, users(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPullSecretsAreKeptForSeconds(t *testing.T) {
	s, clock := newStandin(t, "pullsecrets"), newClock()
	path := "/api/v1/namespaces/shop/secrets/one"
	s.put(path, dockerSecret(auths("registry.example.com")))
	p := cluster.NewPullSecrets(s.client(), clock.Now)
	check := func(want string) {
		t.Helper()
		got, err := p.Credentials(t.Context(), cluster.Puller{Namespace: "shop", ImagePullSecrets: []string{"one"}}, "registry.example.com/a")
		if err != nil || !cmp.Equal(users(got), []string{want}) {
			t.Errorf("got %v, %v", got, err)
		}
	}
	check("registry.example.com")
	check("registry.example.com")
	if n := s.count("get secrets"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	s.put(path, dockerSecret(`{"auths":{"registry.example.com":{"username":"new","password":"p"}}}`))
	clock.Add(11 * time.Second)
	check("new")
	// An API server that fails is no Secret without credentials.
	clock.Add(11 * time.Second)
	s.refuse = func(string, ask) int { return http.StatusInternalServerError }
	if got, err := p.Credentials(t.Context(), cluster.Puller{Namespace: "shop", ImagePullSecrets: []string{"one"}}, "registry.example.com/a"); err == nil || errors.Is(err, cluster.ErrPullSecret) {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzDockerConfig(f *testing.F) {
	f.Add([]byte(auths("registry.example.com", "https://index.docker.io/v1/", "*.example.com/a")))
	f.Add([]byte(`{"auths":{"h.io":{"auth":"dTpw"}}}`))
	f.Add([]byte(`{"h.io:5000/v2/x":{"username":"u","password":"p"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, parse := range []func([]byte, string) ([]cluster.Credential, error){cluster.Matching, cluster.MatchingOld} {
			for _, reference := range []string{"nginx", "registry.example.com/a/b:1", "[::1]:5000/a"} {
				found, err := parse(raw, reference)
				if err != nil && len(found) > 0 {
					t.Errorf("credentials and an error: %v", err)
				}
				for _, c := range found {
					if c.Username == "" {
						t.Error("a credential without a user")
					}
				}
			}
		}
	})
}
