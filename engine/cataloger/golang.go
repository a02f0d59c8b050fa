package cataloger

import (
	"bytes"
	"encoding/binary"
	"runtime/debug"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// Build information lies in a Go program as a block that begins at a multiple
// of 16: the magic, the size of a pointer, flags, padding to 32 bytes, then two
// strings, each a varint length and the bytes. That is so since Go 1.18; before,
// pointers into the program stood in place of the strings.
// debug/buildinfo and cmd/link (data.go, buildinfo) of the Go tree.
const (
	goMagic      = "\xff Go buildinf:"
	goAlign      = 16
	goHeader     = 32
	goInline     = 2       // flag: the strings are inline
	goMaxModules = 4 << 20 // bytes of the module text
	goMaxVersion = 4096
	goMaxBlocks  = 64 // build informations in one file; a program may embed others
)

// The module text stands between these, by which cmd/go finds it again.
var (
	goModulesStart = []byte("\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6")
	goModulesEnd   = []byte("\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2")
)

// goSearch finds the build information in a program. What looks like the magic
// and has no valid strings behind it is data: the go command itself contains
// the magic as a constant.
type goSearch struct {
	out   *Result
	found int
	old   bool // one is from before Go 1.18
}

// search looks at one block of the program.
func (s *goSearch) search(p *program, from, to int) {
	for i := (from + goAlign - 1) &^ (goAlign - 1); i < to && s.found < goMaxBlocks; i += goAlign {
		if p.buf[i] != goMagic[0] || !p.need(i, goHeader) || string(p.buf[i:i+len(goMagic)]) != goMagic {
			continue
		}
		size, flags := p.buf[i+len(goMagic)], p.buf[i+len(goMagic)+1]
		if flags&goInline == 0 {
			s.old = s.old || flags <= 1 && (size == 4 || size == 8)
		} else if version, modules, ok := goStrings(p, i); ok {
			s.found++
			addGoBuild(version, modules, s.out)
		}
	}
}

// finish says what was not read.
func (s *goSearch) finish() {
	if s.found == 0 && s.old {
		s.out.gap(inventory.Partial, "go-build-info", "a Go program from before Go 1.18, whose build information this version does not read")
	}
	if s.found == goMaxBlocks {
		s.out.gap(inventory.Partial, "go-build-info-many", "the file holds more Go programs than are read")
	}
}

// goStrings reads the two strings behind the magic at an offset.
func goStrings(p *program, at int) (version string, modules []byte, ok bool) {
	raw, end, ok := goString(p, at+goHeader, goMaxVersion)
	version = string(raw)
	if !ok || !strings.HasPrefix(version, "go") && !strings.HasPrefix(version, "devel") || !isText(version) {
		return "", nil, false
	}
	modules, _, ok = goString(p, end, goMaxModules)
	if !ok {
		return "", nil, false
	}
	if len(modules) == 0 {
		return version, nil, true
	}
	inner, start := bytes.CutPrefix(modules, goModulesStart)
	inner, stop := bytes.CutSuffix(inner, goModulesEnd)
	return version, inner, start && stop
}

// goString reads one string at an offset of the window.
func goString(p *program, at, limit int) (text []byte, end int, ok bool) {
	p.need(at, binary.MaxVarintLen64)
	if at > len(p.buf) {
		return nil, 0, false
	}
	n, size := binary.Uvarint(p.buf[at:])
	if size <= 0 || n > uint64(limit) {
		return nil, 0, false
	}
	at += size
	end = at + int(n)
	if !p.need(at, int(n)) {
		return nil, 0, false
	}
	return p.buf[at:end], end, true
}

func isText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// addGoBuild lists the standard library, the modules and, if it has a version,
// the main module.
func addGoBuild(version string, modules []byte, out *Result) {
	words := strings.Fields(version)
	toolchain := words[0]
	if len(words) > 1 && toolchain == "devel" && strings.HasPrefix(words[1], "go") {
		toolchain = words[1]
	}
	out.add(inventory.Package{Type: inventory.TypeGo, Name: "stdlib", Version: toolchain})
	if len(modules) == 0 {
		return
	}
	info, err := debug.ParseBuildInfo(string(modules))
	if err != nil {
		out.gap(inventory.Partial, "go-build-info", "the module list of a Go program could not be read")
		return
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Replace != nil && isVersion(m.Replace.Version) {
			m = m.Replace // else a directory: the module's own name says more
		}
		if m.Path == "" || !isVersion(m.Version) {
			continue
		}
		if !out.add(inventory.Package{Type: inventory.TypeGo, Name: m.Path, Version: m.Version}) {
			return
		}
	}
}

// isVersion is false for what was built from a directory.
func isVersion(version string) bool { return version != "" && version != "(devel)" }
