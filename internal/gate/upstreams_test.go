package gate_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
)

func upstreams() gate.Upstreams {
	return gate.Upstreams{
		{Name: "local", Default: true, Hostnames: []string{"127.0.0.1:5000", "localhost:5000"}},
		{Name: "hub", Prefix: "docker.io", Hostnames: []string{"docker.io", "registry-1.docker.io"}, Library: true},
		{Name: "prod", Prefix: "registry.example:5000/prod"},
		{Name: "example", Prefix: "registry.example:5000"},
		{Name: "mirror", Prefix: "mirror"},
	}
}

func TestLookup(t *testing.T) {
	for _, tt := range []struct {
		name, asked, namespace string
		upstream, repository   string // "": image.ErrNameUnknown
	}{
		{"to the default", "team/app", "", "local", "team/app"},
		{"one segment, to the default", "app", "", "local", "app"},
		{"by prefix", "docker.io/bitnami/redis", "", "hub", "bitnami/redis"},
		{"library is implied", "docker.io/nginx", "", "hub", "library/nginx"},
		{"library as typed", "docker.io/library/nginx", "", "hub", "library/nginx"},
		{"library is Docker Hub's alone", "registry.example:5000/nginx", "", "example", "nginx"},
		{"the longer of two prefixes", "registry.example:5000/prod/app", "", "prod", "app"},
		{"the prefix ends with a segment", "registry.example:5000/production/app", "", "example", "production/app"},
		{"a prefix that is no host", "mirror/app", "", "mirror", "app"},
		{"a name that begins like a prefix", "mirrors/app", "", "local", "mirrors/app"},
		{"by namespace", "library/nginx", "docker.io", "hub", "library/nginx"},
		{"by namespace, library implied", "nginx", "docker.io", "hub", "library/nginx"},
		{"by another host of the upstream", "library/nginx", "registry-1.docker.io", "hub", "library/nginx"},
		{"by the host of the embedded registry", "team/app", "localhost:5000", "local", "team/app"},
		{"the namespace, not the name, chooses", "mirror/app", "docker.io", "hub", "mirror/app"},

		{"namespace of nobody", "library/nginx", "quay.io", "", ""},
		{"namespace is compared as a whole", "library/nginx", "docker.io.evil.example", "", ""},
		{"a host of nobody", "quay.io/team/app", "", "", ""},
		{"a host of nobody, with a port", "evil:80/team/app", "", "", ""},
		{"localhost without a port", "localhost/team/app", "", "", ""},
		{"our own host is no part of a name", "127.0.0.1:5000/team/app", "", "", ""},
		{"a prefix alone", "docker.io", "", "", ""},
		{"a prefix and nothing", "docker.io/", "", "", ""},
		{"an upper-case host", "Docker.io/nginx", "", "", ""},
		{"a prefix twice", "docker.io/docker.io/nginx", "", "hub", "docker.io/nginx"},
		{"dots as a segment", "team/../app", "", "", ""},
		{"dots at the front", "../app", "", "", ""},
		{"dots below a prefix", "docker.io/../app", "", "", ""},
		{"an empty segment", "team//app", "", "", ""},
		{"upper case", "Team/app", "", "", ""},
		{"nothing", "", "", "", ""},
		{"nothing, by namespace", "", "docker.io", "", ""},
		{"too long", strings.Repeat("a", image.MaxRepositoryLength+1), "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := upstreams().Lookup(tt.asked, tt.namespace)
			if tt.upstream == "" {
				if !errors.Is(err, image.ErrNameUnknown) || got != (gate.Target{}) {
					t.Errorf("%+v, %v; want no target", got, err)
				}
				return
			}
			if err != nil || got.Upstream.Name != tt.upstream || got.Repository != tt.repository {
				t.Errorf("%+v, %v; want %s of %s", got, err, tt.repository, tt.upstream)
			}
		})
	}
}

func TestLookupWithoutDefault(t *testing.T) {
	if got, err := upstreams()[1:].Lookup("team/app", ""); !errors.Is(err, image.ErrNameUnknown) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLookupErrorsAreClean: a name from outside cannot write to a terminal.
func TestLookupErrorsAreClean(t *testing.T) {
	for _, hostile := range []string{"a.b\x1b[2J/x", "a.b\u009b31m/x", "a.b\u202ex/x", "a.b\n/x", "a.b\xff/x", strings.Repeat("ä.", 5000) + "/x"} {
		for _, namespace := range []string{"", hostile} {
			_, err := upstreams().Lookup(hostile, namespace)
			if err == nil || strings.ContainsAny(err.Error(), "\x1b\n\u009b\u202e") || !utf8.ValidString(err.Error()) || len(err.Error()) > 400 {
				t.Errorf("%q: %v", hostile, err)
			}
		}
	}
}

func TestTargetNames(t *testing.T) {
	for _, tt := range []struct{ asked, name, key string }{
		{"team/app", "team/app", "local team/app"},
		{"docker.io/nginx", "docker.io/library/nginx", "hub library/nginx"},
		{"registry.example:5000/prod/app", "registry.example:5000/prod/app", "prod app"},
	} {
		t.Run(tt.asked, func(t *testing.T) {
			target, err := upstreams().Lookup(tt.asked, "")
			if err != nil {
				t.Fatal(err)
			}
			if key := target.Key(); target.Name() != tt.name || key.Upstream+" "+key.Name != tt.key {
				t.Errorf("%q, %+v", target.Name(), key)
			}
		})
	}
	if u := upstreams().Named("hub"); u == nil || u.Prefix != "docker.io" {
		t.Errorf("Named(hub) = %+v", u)
	}
	if u := upstreams().Named("docker.io"); u != nil {
		t.Errorf("Named(docker.io) = %+v", u)
	}
}
