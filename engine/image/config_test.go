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

// TestMayBeConfig: what ParseConfig refuses, and a less strict reader might take
// for the configuration of an image.
func TestMayBeConfig(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		want      bool
	}{
		{"a key twice", `{"rootfs": {}, "x": 1, "x": 2}`, true},
		{"root file system twice", `{"rootfs": {}, "rootfs": {}}`, true},
		{"other letters", `{"RootFS": {}, "x": 1, "X": 2}`, true},
		{"an escaped name", `{"\u0072ootfs": {}, "os": []}`, true},
		{"a field of another type", `{"rootfs": {}, "variant": {}}`, true},
		{"a root file system of another type", `{"rootfs": []}`, true},
		{"nested deeply", `{"x": ` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `, "rootfs": {}}`, true},
		{"nested too deeply to tell", `{"x": ` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, true},
		{"too large to tell", strings.Repeat("x", image.MaxConfigSize+1), true},
		{"no root file system", `{"os": [], "config": {}}`, false},
		{"a root file system further in", `{"os": [], "x": {"rootfs": {}}}`, false},
		{"a list", `[{"rootfs": {}}]`, false},
		{"text", "rootfs", false},
		{"cut", `{"rootfs": {}`, false},
		{"text after it", `{"rootfs": {}} {}`, false},
		{"nothing", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := image.ParseConfig([]byte(tt.raw)); err == nil {
				t.Error("ParseConfig takes it")
			}
			if got := image.MayBeConfig([]byte(tt.raw)); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
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
