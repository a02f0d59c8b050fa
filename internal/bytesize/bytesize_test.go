package bytesize_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pratique/pratique/internal/bytesize"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bytesize.Size
		back string // what String makes of it
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"1024", bytesize.KiB, "1KiB"},
		{"10GiB", 10 * bytesize.GiB, "10GiB"},
		{"10 gib", 10 * bytesize.GiB, "10GiB"},
		{" 4MiB ", 4 * bytesize.MiB, "4MiB"},
		{"500MB", 500_000_000, "500000000"},
		{"1kB", 1000, "1000"},
		{"2TiB", 2 * bytesize.TiB, "2TiB"},
		{"1.5GiB", 1536 * bytesize.MiB, "1536MiB"},
		{"12B", 12, "12"},
		{"0MiB", 0, "0"},
		{"9007199254740993", 9007199254740993, "9007199254740993"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := bytesize.Parse(tt.text)
			if err != nil || got != tt.want || got.String() != tt.back || got.Bytes() != int64(tt.want) {
				t.Errorf("Parse = %s (%d), %v, want %d as %s", got, int64(got), err, tt.want, tt.back)
			}
			if again, err := bytesize.Parse(got.String()); err != nil || again != got {
				t.Errorf("and back: %d, %v", again, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ text, says string }{
		{"", "not a size"},
		{"-1", "negative"},
		{"-1GiB", "negative"},
		{"ten", "not a size"},
		{"GiB", "not a size"},
		{"10G", "not a size"},
		{"10GiBB", "not a size"},
		{"1,000", "not a size"},
		{"1e3", "not a size"},
		{"1.5", "not a size"},
		{"1.2.3MB", "not a size"},
		{".MB", "not a size"},
		{"0x10", "not a size"},
		{"NaN", "not a size"},
		{"Inf MB", "not a size"},
		{"+5", "not a size"},
		{"9223372036854775808", "more than"},
		{"9000000TiB", "more than"},
		{"99999999999999999999TiB", "more than"},
		{strings.Repeat("1", 1000), "not a size"},
	} {
		t.Run(tt.text[:min(len(tt.text), 24)], func(t *testing.T) {
			got, err := bytesize.Parse(tt.text)
			if !errors.Is(err, bytesize.ErrInvalid) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "GiB") || len(err.Error()) > 300 {
				t.Errorf("Parse = %d, %v", got, err)
			}
		})
	}
}

// TestDocuments: the forms that a configuration may have, and back.
func TestDocuments(t *testing.T) {
	type doc struct {
		Blob bytesize.Size `yaml:"blob" json:"blob"`
	}
	for _, text := range []string{"blob: 10GiB", `blob: "10GiB"`, "blob: 10737418240"} {
		var got doc
		if err := yaml.Unmarshal([]byte(text), &got); err != nil || got.Blob != 10*bytesize.GiB {
			t.Errorf("%s: %d, %v", text, got.Blob, err)
		}
	}
	for _, text := range []string{"blob: -5", "blob: 10 apples", "blob: [1]", "blob: 1e3"} {
		var got doc
		if err := yaml.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s: read as %d", text, got.Blob)
		}
	}
	written, err := yaml.Marshal(doc{10 * bytesize.GiB})
	if err != nil || string(written) != "blob: 10GiB\n" {
		t.Errorf("YAML %q, %v", written, err)
	}
	written, err = json.Marshal(doc{500})
	if err != nil || string(written) != `{"blob":"500"}` {
		t.Errorf("JSON %s, %v", written, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0", "10GiB", "500MB", "1.5GiB", "-1", "9223372036854775807", "8EiB", "1_000", "\x00", "7.99999999TiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := bytesize.Parse(text)
		if err != nil {
			if !errors.Is(err, bytesize.ErrInvalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if size < 0 {
			t.Fatalf("%q is negative: %d", text, size)
		}
		if again, err := bytesize.Parse(size.String()); err != nil || again != size {
			t.Fatalf("%q: %d, written %s, read %d, %v", text, size, size, again, err)
		}
	})
}
