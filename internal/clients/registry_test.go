package clients_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sirupsen/logrus"
)

// refusal is what a gate answers, as the clients are to show it.
const (
	refusal = `pratique: refused by policy "default": 1 critical vulnerability with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4); report: http://127.0.0.1:8228/report/sha256:0`
	body    = `{"errors":[{"code":"DENIED","message":"pratique: refused by policy \"default\": 1 critical vulnerability with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4); report: http://127.0.0.1:8228/report/sha256:0","detail":{"action":"stop"}}]}`
)

// serve starts distribution's registry on the loopback and answers with its
// host:port. A
// manifest of a repository below "refused/" is refused when asked for and one
// below "closed/" also when it is pushed.
func serve(t *testing.T) string {
	t.Helper()
	config := &configuration.Configuration{
		Version: "0.1",
		Storage: configuration.Storage{
			"inmemory":    {},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	logrus.SetLevel(logrus.PanicLevel) // distribution has one logger a process
	config.HTTP.Secret = "of this test"
	store := handlers.NewApp(context.Background(), config)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		manifest := strings.Contains(r.URL.Path, "/manifests/")
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case manifest && read && strings.HasPrefix(r.URL.Path, "/v2/refused/"),
			manifest && strings.HasPrefix(r.URL.Path, "/v2/closed/"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			if r.Method != http.MethodHead {
				_, _ = io.WriteString(w, body) // a client that went away is its own affair
			}
		default:
			store.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// tiny is an image of two small layers for a machine of the given architecture.
func tiny(t *testing.T, architecture string) v1.Image {
	t.Helper()
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for range 2 {
		layer, err := random.Layer(1024, types.OCILayer)
		must(t, err)
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer})
		must(t, err)
	}
	config, err := img.ConfigFile()
	must(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Cmd = "linux", architecture, []string{"/bin/true"}
	img, err = mutate.ConfigFile(img, config)
	must(t, err)
	return img
}

// layouts are an image and an index of two platforms, one of them this
// machine's, each as an OCI layout.
func layouts(t *testing.T) (imageDir, indexDir string) {
	t.Helper()
	imageDir, indexDir = filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "index")
	path, err := layout.Write(imageDir, empty.Index)
	must(t, err)
	must(t, path.AppendImage(tiny(t, runtime.GOARCH)))

	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range []string{"s390x", runtime.GOARCH} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        tiny(t, architecture),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	path, err = layout.Write(indexDir, empty.Index)
	must(t, err)
	must(t, path.AppendIndex(index))
	return imageDir, indexDir
}

// rootDigest is the digest of the only entry of a layout's index.
func rootDigest(t *testing.T, dir string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	must(t, err)
	manifest, err := index.IndexManifest()
	must(t, err)
	return manifest.Manifests[0].Digest.String()
}

// stored is the digest that the registry has under ref.
func stored(t *testing.T, ref string) string {
	t.Helper()
	parsed, err := name.ParseReference(ref, name.Insecure)
	must(t, err)
	d, err := remote.Head(parsed)
	must(t, err)
	return d.Digest.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
