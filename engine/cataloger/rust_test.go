package cataloger_test

import (
	"bytes"
	"compress/zlib"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger"
)

const crates = `{"packages":[{"name":"adler","version":"1.0.2","source":"registry"},{"name":"cc","version":"1.0.0","source":"registry","kind":"build"},` +
	`{"name":"tester","version":"2.0.0","source":"registry","kind":"dev"},{"name":"my-app","version":"0.1.0","source":"local","dependencies":[0,1],"root":true},{"name":"","version":"1"}]}`

// packed packs a list of crates as cargo-auditable does.
func packed(t testing.TB, list string, level int) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err == nil {
		_, err = io.WriteString(w, list)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRustProgram(t *testing.T) {
	elf, all := "\x7fELF"+strings.Repeat("\x00", 61), []string{"cargo adler 1.0.2", "cargo my-app 0.1.0"}
	list := packed(t, crates, zlib.DefaultCompression)
	var many strings.Builder
	for i := range 500 {
		many.WriteString(`{"name":"crate` + strings.Repeat("x", i%7) + `","version":"` + strings.Repeat("1", 1+i/7) + `"},`)
	}
	long := `{"packages":[` + many.String() + `{"name":"z","version":"1"}]}`
	for _, test := range []struct {
		name, body string
		want       []string
	}{
		{"default", elf + list + "rest", all},
		{"at the end", elf + list, all},
		{"best", elf + packed(t, crates, zlib.BestCompression) + "rest", all},
		{"fast", elf + packed(t, crates, zlib.BestSpeed) + "rest", all},
		{"fixed codes", elf + packed(t, `{"packages":[{"name":"a","version":"1"}]}`, zlib.BestCompression) + "rest", []string{"cargo a 1"}},
		{"stored", elf + packed(t, crates, zlib.NoCompression) + "rest", all},
		{"for Windows", "MZ" + elf + list, all},
		{"for macOS", "\xcf\xfa\xed\xfe" + elf + list, all},
		{"twice", elf + list + list, all},
		{"beside Go", goProgram("go1.21.0", "") + list, append(all[:2:2], "go stdlib go1.21.0")},
		{"no crates", elf + packed(t, `{"packages":[]}`, 9) + "rest", nil},
		{"other JSON", elf + packed(t, `{"other":[]}`+crates, 9) + "rest", nil},
		{"cut off", elf + list[:len(list)-40], []string{"cargo adler 1.0.2", "partial rust-crates"}},
		{"broken JSON", elf + packed(t, `{"packages":[{"name":"a","version":"1"},{"name":1}]}`, 9) + "rest", []string{"cargo a 1", "partial rust-crates"}},
		{"headers everywhere", elf + strings.Repeat("\x78\x9c\x05", 1<<16), nil},
		{"beginnings everywhere", elf + strings.Repeat(list[:40], 1<<12), []string{"partial rust-crates-many"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(append([]string{}, test.want...), told(read(t, "bin/x", test.body))); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, pad := range []int{128<<10 - 70, 128<<10 - 65, 128<<10 - 66, 128 << 10, 256<<10 - 66} {
		body := elf + strings.Repeat("x", pad) + packed(t, long, 9)
		out := cataloger.NewResult("bin/x", limits)
		cataloger.ForContent([]byte(body)[:16]).Read(iotest.OneByteReader(strings.NewReader(body)), out)
		if got := told(out); len(got) < 400 || got[len(got)-1] != "cargo z 1" {
			t.Errorf("after %d bytes: %d lines", pad, len(got))
		}
	}
}

func TestRustLimits(t *testing.T) {
	one := packed(t, `{"packages":[{"name":"a","version":"1"}]}`, 9)
	for name, body := range map[string]string{
		"lists":      "\x7fELF" + strings.Repeat("\x00", 60) + strings.Repeat(one, 65),
		"beginnings": "\x7fELF" + strings.Repeat("\x00", 60) + strings.Repeat("\x78\x9c\xab\x00", 2000),
	} {
		got := told(read(t, "bin/x", body))
		if len(got) == 0 || got[len(got)-1] != "partial rust-crates-many" {
			t.Errorf("%s: %q", name, got)
		}
	}
	bomb := packed(t, `{"packages":[`+strings.Repeat(" ", 8<<20), 1)
	if got := told(read(t, "bin/x", "\x7fELF"+strings.Repeat("\x00", 60)+bomb)); len(got) != 1 || got[0] != "partial rust-crates" {
		t.Errorf("bomb: %q", got)
	}
}

// FuzzProgram: any program of any name ends without a panic, and what is found
// has a name and a version.
func FuzzProgram(f *testing.F) {
	f.Add("bin/x", []byte(packed(f, crates, 9)+goBlock("go1.21.0", modules)))
	f.Add("bin/x", []byte(packed(f, `{"packages":[{"name":"a","version":"1"}]}`, 9)))
	for _, p := range programs {
		f.Add("bin/"+p.file, []byte(p.text))
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		body = append([]byte("\x7fELF"+strings.Repeat("\x00", 12)), body...)
		out := cataloger.NewResult(path, limits)
		cataloger.ForContent(body[:16]).Read(bytes.NewReader(body), out)
		for _, p := range out.Packages {
			if p.Name == "" || p.Version == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
