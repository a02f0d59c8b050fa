package cataloger_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger"
)

const (
	magic = "\xff Go buildinf:"
	start = "\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6"
	end   = "\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2"
)

const modules = "path\texample.com/a\nmod\texample.com/a\t(devel)\t\ndep\tgolang.org/x/net\tv0.7.0\th1:x=\n" +
	"dep\texample.com/b\tv1.0.0\n=>\texample.com/fork\tv1.0.1\th1:y=\ndep\texample.com/c\tv1.0.0\n=>\t./c\t(devel)\t\n"

// goBlock makes a build information block, padded to the alignment.
func goBlock(version, modules string) string {
	b := []byte(magic + "\x08\x02")
	b = append(b, make([]byte, 32-len(b))...)
	if modules != "" {
		modules = start + modules + end
	}
	for _, s := range []string{version, modules} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return string(b) + strings.Repeat("\x00", 16-len(b)%16)
}

func goProgram(version, modules string) string {
	return "\x7fELF" + strings.Repeat("\x00", 60) + goBlock(version, modules)
}

func TestGoProgram(t *testing.T) {
	pad := strings.Repeat("x", 1<<20)
	old := magic + "\x08\x00" + strings.Repeat("\x00", 16)
	all := []string{"go example.com/c v1.0.0", "go example.com/fork v1.0.1", "go golang.org/x/net v0.7.0", "go stdlib go1.21.0"}
	for _, test := range []struct {
		name, body string
		want       []string
	}{
		{"modules", goProgram("go1.21.0", modules), all},
		{"far into the program", "\x7fELF" + pad + strings.Repeat("\x00", 12) + goBlock("go1.21.0", modules), all},
		{"for Windows", "MZ" + goProgram("go1.21.0", modules)[2:], all},
		{"for macOS", "\xcf\xfa\xed\xfe" + goProgram("go1.21.0", modules)[4:], all},
		{"experiments", goProgram("go1.21.0 X:boringcrypto", ""), []string{"go stdlib go1.21.0"}},
		{"development version", goProgram("devel go1.27-abc Mon", ""), []string{"go stdlib go1.27-abc"}},
		{"main module with a version", goProgram("go1.21.0", "path\ta/b\nmod\ta/b\tv1.2.3\th1:x=\n"), []string{"go a/b v1.2.3", "go stdlib go1.21.0"}},
		{"a program in a program", goProgram("go1.21.0", modules) + goBlock("go1.20.0", ""), append(all[:3:3], "go stdlib go1.20.0", "go stdlib go1.21.0")},
		{"the magic as data before the real one", "\x7fELF" + strings.Repeat("\x00", 12) + magic + "\x00\x00" + goBlock("go1.21.0", modules), all},
		{"the magic as inline data", "\x7fELF" + strings.Repeat("\x00", 12) + magic + "\x08\x02" + strings.Repeat("z", 100), nil},
		{"not aligned", "\x7fELF" + goBlock("go1.21.0", modules), nil},
		{"no sentinels", strings.ReplaceAll(goProgram("go1.21.0", modules), end, strings.Repeat("e", 16)), nil},
		{"cut off", goProgram("go1.21.0", modules)[:200], nil},
		{"no Go", "\x7fELF" + pad, nil},
		{"before 1.18", "\x7fELF" + strings.Repeat("\x00", 12) + old, []string{"partial go-build-info"}},
		{"a module list that makes no sense", goProgram("go1.21.0", "dep\tx\n"), []string{"go stdlib go1.21.0", "partial go-build-info"}},
		{"a magic in every place", "\x7fELF" + strings.Repeat("\x00", 12) + strings.Repeat(magic+"\x08\x02", 1<<16), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(append([]string{}, test.want...), told(read(t, "bin/x", test.body))); diff != "" {
				t.Error(diff)
			}
			out := cataloger.NewResult("bin/x", limits)
			cataloger.ForContent([]byte(test.body)[:16]).Read(iotest.HalfReader(strings.NewReader(test.body)), out)
			if diff := cmp.Diff(append([]string{}, test.want...), told(out)); diff != "" {
				t.Errorf("in small reads: %s", diff)
			}
		})
	}
}

// TestRealGoProgram builds a program, and reads the go command, which has the
// magic among its data.
func TestRealGoProgram(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("SKIPPED: no go command; a real program was not read")
	}
	dir := t.TempDir()
	for name, body := range map[string]string{"go.mod": "module example.com/a\n\ngo 1.21\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command(tool, "build", "-o", "a.out", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOTOOLCHAIN=local", "GOPROXY=off", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	checkStdlib(t, filepath.Join(dir, "a.out"))
	// Asked outside of dir: there, another toolchain might answer.
	root, err := exec.Command(tool, "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	checkStdlib(t, filepath.Join(strings.TrimSpace(string(root)), "bin", "go"))
}

func checkStdlib(t *testing.T, path string) {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := told(read(t, "bin/x", string(body)))
	version := strings.Fields(runtime.Version())[0]
	if len(got) == 0 || got[len(got)-1] != "go stdlib "+version {
		t.Errorf("%s: %q, want stdlib %s", path, got, version)
	}
}
