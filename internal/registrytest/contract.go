// Package registrytest holds the one contract test of Pratique's registries, the
// embedded and the remote, and starts a real registry in the process for tests
// that need something to talk to. Tests import it, nothing else does.
//
// It must not know how a registry does its work. Start with Contract.
package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Registry is what the contract covers: all methods that both registries have.
type Registry interface {
	Manifest(ctx context.Context, repo, ref string) ([]byte, string, error)
	Resolve(ctx context.Context, repo, tag string) (digest.Digest, error)
	PutManifest(ctx context.Context, repo, ref, mediaType string, raw []byte) error
	DeleteManifest(ctx context.Context, repo string, d digest.Digest) error
	DeleteTag(ctx context.Context, repo, tag string) error
	Tags(ctx context.Context, repo, last string, n int) ([]string, bool, error)
	Referrers(ctx context.Context, repo string, subject digest.Digest) ([]image.Descriptor, error)
	StatBlob(ctx context.Context, repo string, d digest.Digest) (int64, error)
	Blob(ctx context.Context, repo string, d digest.Digest, offset, length int64) (io.ReadCloser, int64, error)
	DeleteBlob(ctx context.Context, repo string, d digest.Digest) error
	MountBlob(ctx context.Context, repo, from string, d digest.Digest) (bool, error)
	StartUpload(ctx context.Context, repo string) (string, error)
	AppendUpload(ctx context.Context, repo, state string, offset int64, body io.Reader) (string, int64, error)
	CommitUpload(ctx context.Context, repo, state string, offset int64, d digest.Digest, body io.Reader, size int64) error
	CancelUpload(ctx context.Context, repo, state string) error
	Ping(ctx context.Context) error
}

// Contract runs what every registry must do against the empty registries that
// open returns.
func Contract(t *testing.T, open func(t *testing.T) Registry) {
	t.Helper()
	cases := []struct {
		name string
		run  func(t *testing.T, r Registry)
	}{
		{"ping", func(t *testing.T, r Registry) { must(t, r.Ping(t.Context())) }},
		{"upload shapes", uploadShapes},
		{"upload refused", uploadRefused},
		{"upload cancelled", uploadCancelled},
		{"upload broken off", uploadBrokenOff},
		{"blob ranges", blobRanges},
		{"blob mounted", blobMounted},
		{"blob deleted", blobDeleted},
		{"manifest kept exactly", manifestKeptExactly},
		{"manifest refused", manifestRefused},
		{"manifest deleted", manifestDeleted},
		{"tag moved", tagMoved},
		{"tag deleted", tagDeleted},
		{"tags paged", tagsPaged},
		{"repositories listed", repositoriesListed},
		{"nothing known", nothingKnown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// PutBlob uploads content in one request and returns its digest.
func PutBlob(t *testing.T, r Registry, repo string, content []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(content)
	state, err := r.StartUpload(t.Context(), repo)
	must(t, err)
	must(t, r.CommitUpload(t.Context(), repo, state, 0, d, bytes.NewReader(content), int64(len(content))))
	return d
}

// Noise returns n bytes that do not compress and differ by seed.
func Noise(seed uint64, n int) []byte {
	rng, out := rand.NewPCG(seed, 1), make([]byte, n)
	for i := range out {
		out[i] = byte(rng.Uint64())
	}
	return out
}

// Manifest returns an OCI image manifest over blobs that it uploads first. The
// text is indented in its own way, so that encoding it anew would show.
func Manifest(t *testing.T, r Registry, repo, configType, layerType string, layer []byte) []byte {
	t.Helper()
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	c, l := PutBlob(t, r, repo, config), PutBlob(t, r, repo, layer)
	return fmt.Appendf(nil, "{\"schemaVersion\": 2,\n \"mediaType\":%q,\n\"config\":{\"mediaType\":%q,\"digest\":%q,\"size\":%d},\n  \"layers\":[{\"mediaType\":%q,\"digest\":%q,\"size\":%d}]}\n",
		image.MediaTypeManifest, configType, c, len(config), layerType, l, len(layer))
}

func readBlob(t *testing.T, r Registry, repo string, d digest.Digest, offset, length int64) ([]byte, int64) {
	t.Helper()
	rc, size, err := r.Blob(t.Context(), repo, d, offset, length)
	must(t, err)
	got, err := io.ReadAll(rc)
	must(t, err)
	must(t, rc.Close())
	return got, size
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, err error, oneOf ...error) {
	t.Helper()
	for _, want := range oneOf {
		if errors.Is(err, want) {
			return
		}
	}
	t.Errorf("%s: got error %v, want one of %v", what, err, oneOf)
}

func wantEqual[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// unsized hides the length of a reader, as a network stream does.
func unsized(b []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(b)) }
