package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/image"
)

func TestParseConfig(t *testing.T) {
	c, err := image.ParseConfig([]byte(`{"os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": {"type": "layers", "diff_ids": ["` + aDigest + `"]}, "history": []}`))
	if err != nil || c.OS != "linux" || c.Architecture != "arm64" || c.Variant != "v8" || !c.HasRootFS || len(c.DiffIDs) != 1 || c.DiffIDs[0].String() != aDigest {
		t.Errorf("%+v, %v", c, err)
	}
	for _, raw := range []string{`{}`, `{"rootfs": null}`} {
		if c, err := image.ParseConfig([]byte(raw)); err != nil || c.HasRootFS {
			t.Errorf("%s: %+v, %v", raw, c, err)
		}
	}
	if c, err := image.ParseConfig([]byte(`{"rootfs": {}}`)); err != nil || !c.HasRootFS || len(c.DiffIDs) != 0 {
		t.Errorf("a root file system without layers: %+v, %v", c, err)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, tt := range []struct{ name, raw, want string }{
		{"nothing", "", "EOF"},
		{"a list", "[]", "cannot unmarshal"},
		{"text", "\x7fELF", "invalid character"},
		{"text after it", "{} {}", "text after the end"},
		{"diffIDs twice", `{"rootfs": {"diff_ids": [], "DIFF_IDS": []}}`, "appears twice"},
		{"root file system twice", `{"rootfs": {}, "RootFS": {}}`, "appears twice"},
		{"of another shape", `{"rootfs": []}`, "cannot unmarshal"},
		{"too large", strings.Repeat(" ", image.MaxConfigSize+1), "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := image.ParseConfig([]byte(tt.raw))
			if c != nil || !errors.Is(err, image.ErrConfigInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v; want ErrConfigInvalid with %q", c, err, tt.want)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"os": "linux", "rootfs": {"diff_ids": ["` + aDigest + `"]}, "config": {"ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := image.ParseConfig(raw)
		if (c == nil) != (err != nil) || err != nil && !errors.Is(err, image.ErrConfigInvalid) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
