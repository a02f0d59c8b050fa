package cataloger

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime/debug"
	"slices"
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
	goBlock      = 64 << 10 // bytes read at a time
	goMaxBlocks  = 64       // build informations in one file; a program may embed others
)

// The module text stands between these, by which cmd/go finds it again.
var (
	goModulesStart = []byte("\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6")
	goModulesEnd   = []byte("\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2")
)

// isProgram: ELF, PE and Mach-O, fat ones too (but no Java class, which begins
// with the same number as a fat Mach-O and then has a version from 45 up).
func isProgram(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch string(head[:4]) {
	case "\x7fELF", "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe":
		return true
	case "\xca\xfe\xba\xbe", "\xca\xfe\xba\xbf":
		return binary.BigEndian.Uint32(head[4:]) < 40
	}
	return head[0] == 'M' && head[1] == 'Z'
}

// readGoProgram searches a program for build information, in memory that does
// not grow with the program. What looks like the magic and has no valid strings
// behind it is data: the go command itself contains the magic as a constant.
func readGoProgram(r io.Reader, out *Result) {
	s := goScan{r: r, buf: make([]byte, 0, goBlock)}
	found, old := 0, false
	for found < goMaxBlocks && s.find() {
		size, flags := s.window()[len(goMagic)], s.window()[len(goMagic)+1]
		if flags&goInline == 0 {
			old = old || flags <= 1 && (size == 4 || size == 8)
		} else if version, modules, ok := s.strings(); ok {
			found++
			addGoBuild(version, modules, out)
		}
		s.at += goAlign
	}
	slices.SortStableFunc(out.Packages, func(a, b inventory.Package) int {
		return strings.Compare(a.Name+"@"+a.Version, b.Name+"@"+b.Version)
	})
	out.Packages = slices.Compact(out.Packages)
	if found == 0 && old {
		out.gap(inventory.Partial, "go-build-info", "a Go program from before Go 1.18, whose build information this version does not read")
	}
	if found == goMaxBlocks {
		out.gap(inventory.Partial, "go-build-info-many", "the file holds more Go programs than are read")
	}
}

// goScan is a window on a program; it begins at a multiple of goAlign.
type goScan struct {
	r    io.Reader
	buf  []byte // what was read and not yet dropped
	at   int    // where in buf the window begins
	done bool
}

func (s *goScan) window() []byte { return s.buf[s.at:] }

// find moves the window to the next magic with its whole header.
func (s *goScan) find() bool {
	for {
		for ; s.at+goHeader <= len(s.buf); s.at += goAlign {
			if s.buf[s.at] == goMagic[0] && string(s.buf[s.at:s.at+len(goMagic)]) == goMagic {
				return true
			}
		}
		if s.fill(len(s.buf) - s.at + 1); s.at+goHeader > len(s.buf) && s.done {
			return false
		}
	}
}

// fill reads until the window has n bytes or the program ends. What lies before
// the window is dropped once it is the greater part, so that each byte is moved
// a few times at most.
func (s *goScan) fill(n int) {
	for len(s.buf)-s.at < n && !s.done {
		if drop := min(s.at, len(s.buf)); drop > len(s.buf)/2 {
			s.buf = append(s.buf[:0], s.buf[drop:]...)
			s.at -= drop
		}
		s.buf = slices.Grow(s.buf, goBlock/2)
		k, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+k]
		s.done = err != nil
	}
}

// strings reads the two strings behind a magic.
func (s *goScan) strings() (version string, modules []byte, ok bool) {
	raw, end, ok := s.text(goHeader, goMaxVersion)
	version = string(raw)
	if !ok || !strings.HasPrefix(version, "go") && !strings.HasPrefix(version, "devel") || !isText(version) {
		return "", nil, false
	}
	modules, _, ok = s.text(end, goMaxModules)
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

// text reads one string at an offset of the window.
func (s *goScan) text(at, limit int) (text []byte, end int, ok bool) {
	s.fill(at + binary.MaxVarintLen64)
	if at > len(s.window()) {
		return nil, 0, false
	}
	n, size := binary.Uvarint(s.window()[at:])
	if size <= 0 || n > uint64(limit) {
		return nil, 0, false
	}
	at += size
	end = at + int(n)
	s.fill(end)
	if end > len(s.window()) {
		return nil, 0, false
	}
	return s.window()[at:end], end, true
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
