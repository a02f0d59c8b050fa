package main_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/imagetest"
)

// imageClients are the clients that have images.
var imageClients = []string{"docker", "ctr", "podman", "buildah", "skopeo", "crane", "oras"}

// pushRows are about putting something good in the place of what is refused.
func pushRows() []lockout {
	return []lockout{
		{"overwrite a refused tag with a fixed image", "Harbor L6: goharbor/harbor#15885, #18792, #19408, #23638", imageClients, overwrite},
		{"push a refused image again", "Harbor L6: goharbor/harbor#23638 (HEAD of the tag before PUT)", imageClients, pushRefusedAgain},
		{"push a good image again", "containerd and crane send HEADs alone, oras PUTs again", imageClients, pushGoodAgain},
		{"push a fixed image on the layers of a refused one", "OCI distribution-spec, Mounting a blob from another repository",
			imageClients, pushOnRefusedBase},
		{"check the push right, then push over a refused tag", "Harbor L6: GoogleContainerTools/kaniko#2838", []string{"crane"}, kaniko},
	}
}

func overwrite(t *testing.T, b bench) {
	b.mustPush(t, b.bad(), "1")
	b.mustBeRefused(t, "1")
	b.mustPush(t, b.good(), "1")
	b.mustPull(t, "1")
}

func pushRefusedAgain(t *testing.T, b bench) {
	for range 3 {
		b.mustPush(t, b.bad(), "1")
	}
	b.Remove(b.ref("1"))
	b.mustPush(t, b.bad(), "2")
	b.mustBeRefused(t, "2")
}

func pushGoodAgain(t *testing.T, b bench) {
	for range 2 {
		b.mustPush(t, b.good(), "1")
		b.mustPull(t, "1")
	}
}

// pushOnRefusedBase pushes an image that shares its lowest layer with a refused
// one of another repository. docker, podman, buildah and skopeo remember where
// the layer is and ask for it to be mounted.
func pushOnRefusedBase(t *testing.T, b bench) {
	base := b.bad()
	fixed := imagetest.Build(append(base.Layers, imagetest.Gzip(imagetest.ApkDatabase(imagetest.GoodSSL)))...)
	app := b
	b.repository += "/base"
	b.mustPush(t, base, "1")
	if o, ok := b.any.(*clients.Oras); ok {
		o.MountFrom = []string{b.repository}
		defer func() { o.MountFrom = nil }()
	}
	app.mustPush(t, fixed, "1")
	app.mustPull(t, "1")
	b.mustBeRefused(t, "1")
}

// kaniko asks for the push right before it builds and writes with the library
// that crane is built on.
func kaniko(t *testing.T, b bench) {
	b.mustPush(t, b.bad(), "1")
	tag, err := name.NewTag(b.ref("1"), name.Insecure)
	fatal(t, err)
	if err := remote.CheckPushPermission(tag, authn.DefaultKeychain, http.DefaultTransport); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(layoutOf(t, b.good()))
	fatal(t, err)
	manifest, err := index.IndexManifest()
	fatal(t, err)
	img, err := index.Image(manifest.Manifests[0].Digest)
	fatal(t, err)
	fatal(t, remote.Write(tag, img, remote.WithContext(t.Context())))
	b.mustPull(t, "1")
}

// readRows are about reading what is good.
func readRows() []lockout {
	return []lockout{
		{"pull right after push", "Harbor L9: docker/build-push-action#639, goharbor/harbor#8958", imageClients, readBack},
		{"read digest and manifest right after push", "Harbor L9: docker/build-push-action#639",
			[]string{"skopeo", "crane", "oras"}, readBackDigest},
		{"read the digest of a good image in a repository with refused ones", "Harbor L5: goharbor/harbor#13825, #15035 (HEAD is gated)",
			[]string{"skopeo", "crane", "oras"}, readBesideRefused},
		{"pull the good platform of an index with a refused one", "docs/architecture.md, One pull: each child by its own verdict", imageClients, goodPlatform},
	}
}

func readBack(t *testing.T, b bench) {
	for i := range 3 {
		tag := string(rune('a' + i))
		b.mustPush(t, unique("good-"+b.repository, i), tag)
		b.mustPull(t, tag)
	}
}

func readBackDigest(t *testing.T, b bench) {
	im := b.good()
	b.mustPush(t, im, "1")
	b.mustReadDigest(t, "1", im)
}

func readBesideRefused(t *testing.T, b bench) {
	im := b.good()
	b.mustPush(t, b.bad(), "bad")
	b.mustPush(t, im, "good")
	b.mustReadDigest(t, "good", im)
}

// mustReadDigest asks for digest and manifest by tag and by digest. The clients
// that it is for push an image's bytes as they are.
func (b bench) mustReadDigest(t *testing.T, tag string, im imagetest.Image) {
	t.Helper()
	byDigest := b.s.registry + "/" + b.repository + "@" + im.Digest().String()
	for _, ref := range []string{b.ref(tag), byDigest} {
		digest, manifest := b.read(t, ref)
		if digest != im.Digest().String() || manifest != string(im.Manifest) {
			t.Errorf("%s: digest %s, manifest %s", ref, digest, manifest)
		}
	}
}

func (b bench) read(t *testing.T, ref string) (digest, manifest string) {
	t.Helper()
	var first, second error
	switch c := b.any.(type) {
	case *clients.Crane:
		digest, first = c.Run("digest", ref)
		manifest, second = c.Run("manifest", ref)
	case *clients.Copier:
		digest, first = c.Run("inspect", "--no-tags", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+ref)
		manifest, second = c.Run("inspect", "--raw", "--tls-verify=false", "docker://"+ref)
	case *clients.Oras:
		digest, first = c.Resolve(ref)
		manifest, second = c.Fetch(ref)
	default:
		t.Fatalf("%s reads no digests", b.name)
	}
	if err := errors.Join(first, second); err != nil {
		t.Fatalf("%v\n%s\n%s", err, digest, manifest)
	}
	return strings.TrimSpace(digest), strings.TrimSpace(manifest)
}

func goodPlatform(t *testing.T, b bench) {
	good := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: runtime.GOARCH}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...))
	bad := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "s390x"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...))
	registry := imagetest.Registry{URL: "http://" + b.s.registry, Header: b.s.token(b.repository)}
	fatal(t, registry.PushIndex(context.Background(), b.repository, "1", imagetest.BuildIndex(good, bad)))
	ref := b.ref("1")
	var out string
	var err error
	switch c := b.any.(type) {
	case *clients.Crane:
		out, err = c.Run("pull", "--platform", "linux/"+runtime.GOARCH, ref, t.TempDir()+"/image.tar")
		if _, err := c.Run("pull", "--platform", "linux/s390x", ref, t.TempDir()+"/image.tar"); err == nil {
			t.Error("the refused platform was pulled")
		}
	case *clients.Copier:
		out, err = c.Run("copy", "--src-tls-verify=false", "docker://"+ref, "oci:"+t.TempDir()+":1")
	case *clients.Oras:
		out, err = c.PullPlatform(ref)
	default:
		out, err = b.Pull(ref)
	}
	if err != nil {
		t.Errorf("pull: %v\n%s", err, out)
	}
}
