package cataloger

import (
	"io"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// isRelease: os-release (also the files that it is often a link to), and the
// older files.
func isRelease(p string) bool {
	base := path.Base(p)
	if strings.HasPrefix(base, "os-release") {
		return true
	}
	return isIn(p, "etc") && (base == "alpine-release" || base == "debian_version" || base == "redhat-release" ||
		base == "almalinux-release" || base == "rocky-release")
}

// readRelease reads the name and version of a distribution.
// https://www.freedesktop.org/software/systemd/man/latest/os-release.html
func readRelease(r io.Reader, out *Result) {
	release := inventory.OSRelease{Path: out.Path}
	in := newLines(r)
	base := path.Base(out.Path)
	if !strings.HasPrefix(base, "os-release") {
		in.next()
		oldRelease(base, strings.TrimSpace(in.text), &release)
	} else {
		for in.next() {
			key, value, _ := strings.Cut(strings.TrimSpace(in.text), "=")
			value = inventory.Printable(unquote(value))
			switch key {
			case "ID":
				release.ID = strings.ToLower(value)
			case "ID_LIKE":
				release.IDLike = strings.ToLower(value)
			case "VERSION_ID":
				release.VersionID = value
			case "VERSION_CODENAME":
				release.Codename = value
			case "PRETTY_NAME":
				release.PrettyName = value
			}
		}
	}
	out.Releases = append(out.Releases, release)
}

// oldRelease reads the one line of a file that names a distribution: a version
// alone, or "Rocky Linux release 9.0 (Blue Onyx)".
func oldRelease(base, line string, release *inventory.OSRelease) {
	line = inventory.Printable(line[:min(len(line), 200)])
	switch base {
	case "alpine-release":
		release.ID, release.VersionID, release.PrettyName = "alpine", line, "Alpine Linux "+line
	case "debian_version":
		release.ID, release.PrettyName = "debian", "Debian GNU/Linux "+line
		if line != "" && line[0] >= '0' && line[0] <= '9' {
			release.VersionID = line
		} else {
			release.Codename = line
		}
	default:
		name, rest, ok := strings.Cut(line, " release ")
		if !ok {
			return
		}
		release.PrettyName = line
		release.VersionID, _, _ = strings.Cut(rest, " ")
		release.ID, _, _ = strings.Cut(strings.ToLower(name), " ")
		if release.ID == "red" {
			release.ID = "rhel"
		}
	}
}

// unquote undoes the shell's quoting of a value.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' && s[0] != '\'' || s[len(s)-1] != s[0] {
		return s
	}
	quote := s[0]
	s = s[1 : len(s)-1]
	if quote == '\'' || !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`", s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
