package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/internal/imagetest"
)

const (
	gzipLayer    = image.MediaTypeLayer + "+gzip"
	foreignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	cosignType   = "application/vnd.dev.cosign.simplesigning.v1+json"
	signature    = `{"critical":{"type":"cosign container image signature"},"optional":null}`
)

// source is a Source in memory: what it has, by the digest it is asked for.
type source map[digest.Digest][]byte

func (s source) Blob(_ context.Context, d image.Descriptor) (io.ReadCloser, error) {
	b, ok := s[d.Digest]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", d.Digest, image.ErrBlobUnknown)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (s source) Report(ctx context.Context, d image.Descriptor) (*inventory.Report, error) {
	body, err := s.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return analyzer.Analyze(ctx, body)
}

// analyzer reads layers as a new installation does.
var analyzer = func() *layer.Analyzer {
	a, err := layer.New(layer.DefaultConfig())
	if err != nil {
		panic(err)
	}
	return a
}()

// artefact is a manifest of blobs, and what has them.
type artefact struct {
	source source
	config image.Descriptor
	layers []image.Descriptor
}

func newArtefact(configType, config string) *artefact {
	a := &artefact{source: source{}}
	a.config = a.add(configType, []byte(config))
	return a
}

// add stores content under its digest and gives its descriptor.
func (a *artefact) add(mediaType string, blob []byte) image.Descriptor {
	d := image.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	a.source[d.Digest] = blob
	return d
}

// with adds a layer.
func (a *artefact) with(mediaType string, blob []byte) *artefact {
	a.layers = append(a.layers, a.add(mediaType, blob))
	return a
}

func (a *artefact) manifest(t *testing.T) *image.Manifest {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "config": a.config, "layers": append([]image.Descriptor{}, a.layers...),
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// configOf is the configuration of an image with these layers.
func configOf(layers ...imagetest.Layer) string { return string(imagetest.Build(layers...).Config) }

func TestInspectKinds(t *testing.T) {
	alpine := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...)
	config := configOf(alpine)
	helm := "application/vnd.cncf.helm.config.v1+json"
	tests := []struct {
		name   string
		of     *artefact
		kind   inventory.Kind
		reason string // part of it
	}{
		{"an image", newArtefact(image.MediaTypeConfig, config).with(gzipLayer, alpine.Blob), inventory.KindImage, ""},
		{"an image of docker", newArtefact(image.MediaTypeDockerConfig, config).with("application/vnd.docker.image.rootfs.diff.tar.gzip", alpine.Blob), inventory.KindImage, ""},
		{"a gzip layer that claims to be plain", newArtefact(image.MediaTypeConfig, config).with(image.MediaTypeLayer, alpine.Blob), inventory.KindImage, ""},
		{"an image without layers", newArtefact(image.MediaTypeConfig, configOf()), inventory.KindImage, ""},
		{"a chart", newArtefact(helm, `{"name": "x"}`).with("application/vnd.cncf.helm.chart.content.v1.tar+gzip", alpine.Blob), inventory.KindArtifact, ""},
		{"an artifact whose config is no JSON", newArtefact("application/vnd.example.model", "\x00\x01").with("application/vnd.example.weights", []byte("x")), inventory.KindArtifact, ""},
		{"the empty config of OCI", newArtefact("application/vnd.oci.empty.v1+json", "{}").with("application/vnd.example.sbom", []byte(`{"spdx": 1}`)), inventory.KindArtifact, ""},
		{"a signature of cosign", newArtefact(image.MediaTypeConfig, configOf()).with(cosignType, []byte(signature)), inventory.KindArtifact, ""},
		{"a signature in two documents", newArtefact(image.MediaTypeConfig, configOf()).with(cosignType, []byte(signature)).with(cosignType, []byte(signature)), inventory.KindArtifact, ""},
		{"a document that claims to be a layer", newArtefact(image.MediaTypeConfig, configOf()).with(gzipLayer, []byte(signature)), inventory.KindImage, ""},
		{"a file system beside a signature", newArtefact(image.MediaTypeConfig, config).with(cosignType, []byte(signature)).with(cosignType, alpine.Blob),
			inventory.KindUnscannable, `media type "` + cosignType + `"`},
		{"a config of another type that has a root file system", newArtefact(helm, config).with(gzipLayer, alpine.Blob), inventory.KindImage, ""},
		{"a root file system under types nobody knows", newArtefact(helm, config).with("application/vnd.example", alpine.Blob), inventory.KindUnscannable, "media type"},
		{"layers under a config of another type", newArtefact(helm, "{}").with(gzipLayer, alpine.Blob), inventory.KindImage, ""},
		{"a config that is no JSON", newArtefact(image.MediaTypeConfig, "not JSON").with(gzipLayer, alpine.Blob), inventory.KindUnscannable, "config invalid"},
		{"a config with a key twice", newArtefact(image.MediaTypeConfig, `{"os": "linux", "OS": "windows"}`), inventory.KindUnscannable, "config invalid"},
		{"a config that is too large", newArtefact(image.MediaTypeConfig, strings.Repeat(" ", image.MaxConfigSize+1)), inventory.KindUnscannable, "config invalid"},
		{"an encrypted layer", newArtefact(image.MediaTypeConfig, config).with(gzipLayer+"+encrypted", []byte("noise")), inventory.KindUnscannable, "+encrypted"},
		{"one layer of a type nobody knows", newArtefact(image.MediaTypeConfig, config).with(gzipLayer, alpine.Blob).with(image.MediaTypeLayer+"+lz4", alpine.Blob), inventory.KindUnscannable, "+lz4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, im, err := engine.Inspect(context.Background(), tt.of.manifest(t), tt.of.source, analyzer)
			if err != nil {
				t.Fatal(err)
			}
			if s.Kind != tt.kind || !strings.Contains(s.Reason, tt.reason) || (s.Reason == "") != (tt.reason == "") || s.Engine != inventory.EngineVersion {
				t.Errorf("%+v, want %s because %q", s, tt.kind, tt.reason)
			}
			if (im != nil) != (tt.kind == inventory.KindImage) {
				t.Errorf("inventory %+v of %s", im, tt.kind)
			}
		})
	}
}

// TestInspectForeignLayer: what is kept elsewhere can only be read where the
// registry has it all the same.
func TestInspectForeignLayer(t *testing.T) {
	alpine := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...)
	a := newArtefact(image.MediaTypeConfig, configOf(alpine)).with(foreignLayer, alpine.Blob)
	a.layers[0].URLs = []string{"https://elsewhere.example/layer"}
	m := a.manifest(t)
	if s, im, err := engine.Inspect(context.Background(), m, a.source, analyzer); err != nil || s.Kind != inventory.KindImage || len(im.Packages) != 1 {
		t.Errorf("in the registry: %+v, %+v, %v", s, im, err)
	}
	delete(a.source, a.layers[0].Digest)
	s, im, err := engine.Inspect(context.Background(), m, a.source, analyzer)
	if err != nil || im != nil || s.Kind != inventory.KindUnscannable || !strings.Contains(s.Reason, "foreign urls") {
		t.Errorf("elsewhere: %+v, %+v, %v", s, im, err)
	}
}

// TestInspectInlineConfig: the manifest may carry its config; then nobody is
// asked for it.
func TestInspectInlineConfig(t *testing.T) {
	alpine := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...)
	a := newArtefact(image.MediaTypeConfig, configOf(alpine)).with(gzipLayer, alpine.Blob)
	a.config.Data = a.source[a.config.Digest]
	delete(a.source, a.config.Digest)
	s, im, err := engine.Inspect(context.Background(), a.manifest(t), a.source, analyzer)
	if err != nil || s.Kind != inventory.KindImage || !s.DiffIDsMatch || im.Platform.String() != "linux/amd64" {
		t.Errorf("%+v, %+v, %v", s, im, err)
	}
}

func TestInspectDiffIDs(t *testing.T) {
	alpine := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...)
	other := imagetest.Gzip(imagetest.File("x", "x"))
	for _, tt := range []struct {
		name   string
		config string
		match  bool
	}{
		{"as the config says", configOf(alpine), true},
		{"another layer", configOf(other), false},
		{"one too many", configOf(alpine, other), false},
		{"none", configOf(), false},
		{"no root file system", `{"os": "linux"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newArtefact(image.MediaTypeConfig, tt.config).with(gzipLayer, alpine.Blob)
			s, im, err := engine.Inspect(context.Background(), a.manifest(t), a.source, analyzer)
			if err != nil || s.Kind != inventory.KindImage {
				t.Fatalf("%+v, %v", s, err)
			}
			if s.DiffIDsMatch != tt.match || (len(im.Blind()) == 0) != tt.match {
				t.Errorf("match %v, blind gaps %+v, want match %v", s.DiffIDsMatch, im.Blind(), tt.match)
			}
		})
	}
}

// TestInspectContentNotToBeHad: what cannot be had is an error, never a result.
func TestInspectContentNotToBeHad(t *testing.T) {
	alpine := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...)
	make := func() *artefact {
		return newArtefact(image.MediaTypeConfig, configOf(alpine)).with(gzipLayer, alpine.Blob)
	}
	for _, tt := range []struct {
		name   string
		damage func(a *artefact)
		want   error
	}{
		{"no config", func(a *artefact) { delete(a.source, a.config.Digest) }, image.ErrBlobUnknown},
		{"another config", func(a *artefact) { a.source[a.config.Digest] = []byte("{}") }, image.ErrDigestInvalid},
		{"half a config", func(a *artefact) { a.source[a.config.Digest] = a.source[a.config.Digest][:20] }, image.ErrDigestInvalid},
		{"no layer", func(a *artefact) { delete(a.source, a.layers[0].Digest) }, image.ErrBlobUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := make()
			m := a.manifest(t)
			tt.damage(a)
			s, im, err := engine.Inspect(context.Background(), m, a.source, analyzer)
			if !errors.Is(err, tt.want) || im != nil || s.Kind != "" {
				t.Errorf("%+v, %+v, %v; want %v and no result", s, im, err, tt.want)
			}
		})
	}
}

// TestInspectInventory: the facts of an image come from all its layers.
func TestInspectInventory(t *testing.T) {
	base := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...)
	upper := imagetest.Zstd(imagetest.ApkDatabase(imagetest.GoodSSL), imagetest.Dir("app"), imagetest.Dir("app/node_modules"), imagetest.Npm("app", "lodash", "4.17.15"))
	a := newArtefact(image.MediaTypeConfig, configOf(base, upper)).with(gzipLayer, base.Blob).with(image.MediaTypeLayer+"+zstd", upper.Blob)
	m := a.manifest(t)
	_, im, err := engine.Inspect(context.Background(), m, a.source, analyzer)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range im.Packages {
		got = append(got, fmt.Sprintf("%s %s %s layer %d", p.Type, p.Name, p.Version, p.Layer))
	}
	if diff := cmp.Diff([]string{"apk libcrypto3 3.3.7-r0 layer 1", "npm lodash 4.17.15 layer 1"}, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if im.Manifest != m.Digest || im.Config != a.config.Digest || im.Distro.Ecosystem != "Alpine:v3.20" || im.Runtime == nil ||
		im.Size != int64(len(base.Blob)+len(upper.Blob)) || len(im.Layers) != 2 || len(im.Gaps) != 0 {
		t.Errorf("%+v", im)
	}
}
