package inventory

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CleanPath gives the form of a path in which every Report speaks: relative to
// the root, slash-separated, without empty, "." and ".." elements, and
// Printable. A path that climbs out of the root is clamped there, as container
// runtimes do, and climbs is true. The root itself is "".
func CleanPath(name string) (clean string, climbs bool) {
	if isClean(name) {
		return Printable(name), false
	}
	kept := make([]string, 0, 16)
	for element := range strings.SplitSeq(name, "/") {
		switch element {
		case "", ".":
		case "..":
			if len(kept) == 0 {
				climbs = true
				continue
			}
			kept = kept[:len(kept)-1]
		default:
			kept = append(kept, element)
		}
	}
	return Printable(strings.Join(kept, "/")), climbs
}

// isClean spares the usual name the splitting: no element is empty or begins
// with a dot.
func isClean(name string) bool {
	atStart := true
	for i := range len(name) {
		if atStart && (name[i] == '/' || name[i] == '.') {
			return false
		}
		atStart = name[i] == '/'
	}
	return name == "" || !atStart
}

// Printable escapes every byte that JSON, a log or a terminal would change or
// obey: bytes that are no UTF-8, characters that are not printable, and the
// backslash itself become \xNN. Two strings that differ stay different.
func Printable(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if keep(r, size) {
			b.WriteString(s[i : i+size])
		} else {
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		}
		i += size
	}
	return b.String()
}

func keep(r rune, size int) bool {
	return r != '\\' && unicode.IsPrint(r) && (r != utf8.RuneError || size > 1)
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}
