package image_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

var (
	aDigest = digest.FromString("a").String()
	bDigest = digest.FromString("b").String()
)

// descriptor writes a descriptor; more is put into it.
func descriptor(mediaType, d, more string) string {
	return fmt.Sprintf(`{"mediaType": %q, "digest": %q, "size": 1%s}`, mediaType, d, more)
}

// document writes a manifest with these fields.
func document(fields ...string) string {
	return `{"schemaVersion": 2, ` + strings.Join(fields, ", ") + `}`
}

var (
	config    = `"config": ` + descriptor(image.MediaTypeConfig, aDigest, "")
	layers    = `"layers": [` + descriptor(image.MediaTypeLayer, bDigest, "") + `]`
	children  = `"manifests": [` + descriptor(image.MediaTypeManifest, bDigest, `, "platform": {"os": "linux", "architecture": "arm64"}`) + `]`
	mediaType = func(s string) string { return fmt.Sprintf(`"mediaType": %q`, s) }
)

func TestParseManifest(t *testing.T) {
	for _, tt := range []struct {
		name, raw, contentType string
		mediaType              string
		index                  bool
	}{
		{"an image", document(mediaType(image.MediaTypeManifest), config, layers), image.MediaTypeManifest, image.MediaTypeManifest, false},
		{"an image of docker", document(mediaType(image.MediaTypeDockerManifest), config, layers), "", image.MediaTypeDockerManifest, false},
		{"an index", document(mediaType(image.MediaTypeIndex), children), image.MediaTypeIndex, image.MediaTypeIndex, true},
		{"a list of docker", document(mediaType(image.MediaTypeDockerList), children), image.MediaTypeDockerList, image.MediaTypeDockerList, true},
		{"type by shape", document(config, layers), "", image.MediaTypeManifest, false},
		{"index by shape", document(children), "", image.MediaTypeIndex, true},
		{"no layers", document(config), "", image.MediaTypeManifest, false},
		{"an empty index", document(`"manifests": []`), "", image.MediaTypeIndex, true},
		{"fields that nobody knows", document(config, `"x": {"y": [1, 2.5, null, true]}`), "", image.MediaTypeManifest, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := image.ParseManifest([]byte(tt.raw), tt.contentType)
			if err != nil {
				t.Fatal(err)
			}
			if m.MediaType != tt.mediaType || m.Index != tt.index || string(m.Raw) != tt.raw || m.Digest != digest.FromString(tt.raw) {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestParseManifestParts(t *testing.T) {
	m, err := image.ParseManifest([]byte(document(config, layers, `"artifactType": "application/x"`, `"annotations": {"k": "v"}`,
		`"subject": `+descriptor(image.MediaTypeManifest, bDigest, ""))), "")
	if err != nil {
		t.Fatal(err)
	}
	if m.Config.Digest.String() != aDigest || len(m.Layers) != 1 || m.ArtifactType != "application/x" || m.Annotations["k"] != "v" || m.Subject.Digest.String() != bDigest || m.HasData() {
		t.Errorf("%+v", m)
	}
	if all := m.Descriptors(); len(all) != 2 || all[0].Digest != m.Config.Digest {
		t.Errorf("descriptors %+v", all)
	}
	x, err := image.ParseManifest([]byte(document(children)), "")
	if err != nil {
		t.Fatal(err)
	}
	if all := x.Descriptors(); len(all) != 1 || all[0].Platform.Architecture != "arm64" {
		t.Errorf("descriptors %+v", all)
	}
}

// TestParseManifestRefuses: what two readers could understand differently is
// no manifest.
func TestParseManifestRefuses(t *testing.T) {
	for _, tt := range []struct{ name, raw, contentType, want string }{
		{"nothing", "", "", "EOF"},
		{"no object", "[]", "", "cannot unmarshal"},
		{"cut off", document(config)[:40], "", "unexpected EOF"},
		{"two documents", document(config) + "{}", "", "text after the end"},
		{"text after it", document(config) + " x", "", "text after the end"},
		{"a key twice", document(config, layers, layers), "", `"layers" appears twice`},
		{"a key twice, in another case", document(config, layers, `"Layers": []`), "", `"Layers" appears twice`},
		{"a key twice, under Unicode folding", document(config, layers, `"layer`+"\u017f"+`": []`), "", "appears twice"},
		{"a key twice, escaped", document(config, layers, `"\u006cayers": []`), "", "appears twice"},
		{"a key twice, deep down", document(`"config": ` + descriptor(image.MediaTypeConfig, aDigest, `, "Digest": "`+bDigest+`"`)), "", "appears twice"},
		{"too deep", document(config, `"x": `+strings.Repeat("[", 100)+strings.Repeat("]", 100)), "", "nested deeper"},
		{"very deep", strings.Repeat(`{"a":`, 500_000), "", "nested deeper"},
		{"image and index", document(config, children), "", "neither an image nor an index"},
		{"layers and manifests", document(layers, children), "", "neither an image nor an index"},
		{"neither", document(layers), "", "neither config nor manifests"},
		{"an image that is called an index", document(mediaType(image.MediaTypeIndex), config), "", "the document is no index"},
		{"an index that is called an image", document(mediaType(image.MediaTypeDockerManifest), children), "", "the document is an index"},
		{"called two things", document(mediaType(image.MediaTypeManifest), config), image.MediaTypeDockerManifest, "contradicts the document"},
		{"called what nobody knows", document(mediaType("text/html"), config), "", `"text/html" is not supported`},
		{"served as what nobody knows", document(config), "application/json", "contradicts the document"},
		{"an untyped document that is called docker's", document(config), image.MediaTypeDockerManifest, "contradicts the document"},
		{"schema 1", `{"schemaVersion": 1, "fsLayers": []}`, "", "schema 1"},
		{"schema 1 that is called 2", document(config, `"fsLayers": []`), "", "schema 1"},
		{"schema 3", `{"schemaVersion": 3, ` + config + `}`, "", "schemaVersion is 3"},
		{"no schema", `{` + config + `}`, "", "schemaVersion is 0"},
		{"an artifact manifest", document(config, `"blobs": []`), "", "withdrawn"},
		{"a digest that is none", document(`"config": ` + descriptor("", "sha256:../x", "")), "", "digest"},
		{"no digest", document(`"config": {}`), "", "digest"},
		{"a short digest", document(`"config": ` + descriptor("", "sha256:abc", "")), "", "digest"},
		{"another algorithm", document(`"config": ` + descriptor("", "sha384:"+strings.Repeat("a", 96), "")), "", "sha384:aaa"},
		{"inline data of another sha512", document(`"config": ` + descriptor("", digest.SHA512.FromString("a").String(), `, "data": "Yg=="`)), "", "not what the digest says"},
		{"a negative size", document(`"config": {"digest": "` + aDigest + `", "size": -1}`), "", "negative size"},
		{"inline data of another digest", document(`"config": ` + descriptor("", aDigest, `, "data": "Yg=="`)), "", "not what the digest says"},
		{"inline data of another size", document(`"config": ` + descriptor("", aDigest, `, "data": ""`)), "", "not what the digest says"},
		{"a subject without a digest", document(config, `"subject": {}`), "", "digest"},
		{"too many layers", document(config, `"layers": [`+strings.Repeat(descriptor("", bDigest, "")+",", 10_000)+descriptor("", bDigest, "")+`]`), "", "descriptors, at most"},
		{"too large", strings.Repeat(" ", image.MaxManifestSize+1), "", "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := image.ParseManifest([]byte(tt.raw), tt.contentType)
			if m != nil || !errors.Is(err, image.ErrManifestInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want ErrManifestInvalid with %q", err, tt.want)
			}
		})
	}
}

func TestInlineData(t *testing.T) {
	m, err := image.ParseManifest([]byte(document(`"config": `+descriptor("", aDigest, `, "data": "YQ=="`))), "")
	if err != nil || !m.HasData() || string(m.Config.Data) != "a" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestMediaTypes(t *testing.T) {
	for mediaType, want := range map[string][2]bool{ // layer, config
		image.MediaTypeLayer:                                      {true, false},
		image.MediaTypeLayer + "+zstd+encrypted":                  {true, false},
		"application/vnd.oci.image.layer.nondistributable.v1.tar": {true, false},
		"application/vnd.docker.image.rootfs.diff.tar.gzip":       {true, false},
		"application/vnd.oci.image.layer":                         {false, false},
		"application/vnd.cncf.helm.chart.content.v1.tar+gzip":     {false, false},
		image.MediaTypeConfig:                                     {false, true},
		image.MediaTypeDockerConfig:                               {false, true},
		"application/octet-stream":                                {false, true},
		"":                                                        {false, true},
		"application/vnd.oci.empty.v1+json":                       {false, false},
	} {
		if got := [2]bool{image.IsLayerType(mediaType), image.IsConfigType(mediaType)}; got != want {
			t.Errorf("%q: layer, config = %v, want %v", mediaType, got, want)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(document(config, layers)), "")
	f.Add([]byte(document(children)), image.MediaTypeIndex)
	f.Add([]byte(document(`"config": `+descriptor("", aDigest, `, "data": "YQ=="`))), "")
	f.Add([]byte(document(`"config": `+descriptor("", digest.SHA512.FromString("a").String(), `, "data": "YQ=="`))), "")
	f.Fuzz(func(t *testing.T, raw []byte, contentType string) {
		m, err := image.ParseManifest(raw, contentType)
		if err != nil {
			if !errors.Is(err, image.ErrManifestInvalid) {
				t.Errorf("error is not ErrManifestInvalid: %v", err)
			}
			return
		}
		if m.Digest != digest.FromBytes(raw) || m.Index && (len(m.Layers) > 0 || m.Config.Digest != "") || !m.Index && len(m.Manifests) > 0 {
			t.Errorf("%+v", m)
		}
		for _, d := range m.Descriptors() {
			if err := d.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
