package image_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

func TestSupportedDigest(t *testing.T) {
	for _, tt := range []struct {
		name, digest string
		want         bool
	}{
		{"sha256", "sha256:" + strings.Repeat("a", 64), true},
		{"sha512", "sha512:" + strings.Repeat("a", 128), true},
		{"nothing", "", false},
		{"no algorithm", strings.Repeat("a", 64), false},
		{"sha384", "sha384:" + strings.Repeat("a", 96), false},
		{"an algorithm that nobody knows", "blake3:" + strings.Repeat("a", 64), false},
		{"sha512 of the length of sha256", "sha512:" + strings.Repeat("a", 64), false},
		{"upper case", "sha256:" + strings.Repeat("A", 64), false},
		{"a path", "sha512:../" + strings.Repeat("a", 125), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := image.SupportedDigest(digest.Digest(tt.digest)); (err == nil) != tt.want {
				t.Errorf("%v, want supported = %t", err, tt.want)
			}
		})
	}
}

// TestSHA512: both algorithms name content anywhere in a manifest; the manifest
// itself keeps its sha256.
func TestSHA512(t *testing.T) {
	a, b := digest.SHA512.FromString("a").String(), digest.SHA512.FromString("b").String()
	raw := document(`"config": `+descriptor(image.MediaTypeConfig, a, `, "data": "YQ=="`),
		`"layers": [`+descriptor(image.MediaTypeLayer, bDigest, "")+","+descriptor(image.MediaTypeLayer, b, "")+`]`,
		`"subject": `+descriptor(image.MediaTypeManifest, b, ""))
	m, err := image.ParseManifest([]byte(raw), "")
	if err != nil {
		t.Fatal(err)
	}
	if m.Digest != digest.FromString(raw) || m.Config.Digest.String() != a || m.Layers[1].Digest.String() != b || m.Subject.Digest.String() != b {
		t.Errorf("%+v", m)
	}
}
