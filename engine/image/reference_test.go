package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

func TestParseReference(t *testing.T) {
	for _, tt := range []struct {
		name, typed string
		want        string // in full; "": no reference
	}{
		{"a name", "nginx", "docker.io/library/nginx:latest"},
		{"a tag", "nginx:1.27", "docker.io/library/nginx:1.27"},
		{"an organisation", "bitnami/redis", "docker.io/bitnami/redis:latest"},
		{"Docker Hub by name", "docker.io/nginx", "docker.io/library/nginx:latest"},
		{"Docker Hub by its older name", "index.docker.io/nginx", "docker.io/library/nginx:latest"},
		{"Docker Hub by its host", "registry-1.docker.io/library/nginx", "docker.io/library/nginx:latest"},
		{"another registry", "quay.io/team/app:1", "quay.io/team/app:1"},
		{"one segment of another registry", "quay.io/app", "quay.io/app:latest"},
		{"a port", "registry:5000/app", "registry:5000/app:latest"},
		{"a port of a host without dots", "nginx:1/2", "nginx:1/2:latest"},
		{"this machine", "localhost/app", "localhost/app:latest"},
		{"this machine, by address", "127.0.0.1:5000/docker.io/nginx:1", "127.0.0.1:5000/docker.io/nginx:1"},
		{"IPv6", "[::1]:5000/app", "[::1]:5000/app:latest"},
		{"a digest", "nginx@" + aDigest, "docker.io/library/nginx@" + aDigest},
		{"a digest of sha512", "nginx@" + digest.SHA512.FromString("a").String(), "docker.io/library/nginx@" + digest.SHA512.FromString("a").String()},
		{"tag and digest", "quay.io/app:1@" + aDigest, "quay.io/app:1@" + aDigest},
		{"no registry, many segments", "a/b/c/d", "docker.io/a/b/c/d:latest"},

		{"nothing", "", ""},
		{"upper case", "Nginx", ""},
		{"an empty tag", "nginx:", ""},
		{"a tag that begins with a dot", "nginx:.1", ""},
		{"a tag that is too long", "nginx:" + strings.Repeat("1", 129), ""},
		{"an empty digest", "nginx@", ""},
		{"a short digest", "nginx@sha256:abc", ""},
		{"a digest of sha384", "nginx@" + digest.SHA384.FromString("a").String(), ""},
		{"two digests", "nginx@" + aDigest + "@" + aDigest, ""},
		{"an address", "https://quay.io/app", ""},
		{"a registry alone", "quay.io/", ""},
		{"dot segments", "quay.io/../app", ""},
		{"an empty segment", "quay.io//app", ""},
		{"a slash at the end", "team/app/", ""},
		{"a space", "team/ap p", ""},
		{"a login in the host", "user:secret@quay.io/app", ""},
		{"a port that is none", "quay.io:port/app", ""},
		{"too long", strings.Repeat("a", 256), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := image.ParseReference(tt.typed)
			if tt.want == "" {
				if !errors.Is(err, image.ErrInvalidReference) {
					t.Errorf("%+v, %v; want ErrInvalidReference", r, err)
				}
				return
			}
			if err != nil || r.String() != tt.want {
				t.Errorf("%s, %v; want %s", r, err, tt.want)
			}
		})
	}
}

func TestIdentifier(t *testing.T) {
	for typed, want := range map[string]string{"nginx": "latest", "nginx:1": "1", "nginx@" + aDigest: aDigest, "nginx:1@" + aDigest: aDigest} {
		r, err := image.ParseReference(typed)
		if err != nil || r.Identifier() != want {
			t.Errorf("%s: %q, %v, want %q", typed, r.Identifier(), err, want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"nginx", "quay.io/team/app:1", "[::1]:5000/app", "localhost/a@" + aDigest} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := image.ParseReference(s)
		if err != nil {
			if !errors.Is(err, image.ErrInvalidReference) {
				t.Errorf("error is not ErrInvalidReference: %v", err)
			}
			return
		}
		again, err := image.ParseReference(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %+v; read again %+v, %v", s, r, again, err)
		}
		if !image.ValidRepository(r.Repository) || !image.ValidHost(r.Registry) || (r.Tag != "" && !image.ValidTag(r.Tag)) {
			t.Errorf("%+v", r)
		}
	})
}
