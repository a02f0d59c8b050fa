package pkgver

import (
	"regexp"
	"strings"
)

var (
	// A toolchain's own spelling: go1.21, go1.21.3, go1.21rc2, go1.9.2rc2.
	toolchainForm = regexp.MustCompile(`^(\d+)\.(\d+)(?:\.(\d+))?(?:(beta|rc)(\d+))?$`)
	// The same at the head of a longer text, for what vendors add:
	// "1.20.5-google", "1.24.4 X:boringcrypto", "1.19.9-1.el9".
	toolchainHead = regexp.MustCompile(`^\d+\.\d+(?:\.\d+)?(?:(?:beta|rc)\d+)?(?:[-+ _~.]|$)`)
	develForm     = regexp.MustCompile(`^devel (?:go)?(\d+\.\d+)-[0-9a-f]+`)
)

// respellGo writes a Go version as SemVer. Advisories about the toolchain and
// the standard library use SemVer ("1.21.0-rc.2"), programs carry the
// toolchain's spelling ("go1.21rc2"). The prefix "go" tells the two apart; a
// text without it is a toolchain's only if it has the very form, because what
// follows a module's version ("v1.2.3-beta") belongs to it.
func respellGo(version string) string {
	if m := develForm.FindStringSubmatch(version); m != nil {
		// Built from source before the release: older than its betas, newer
		// than "1.22.0-0", from where advisories count the release.
		return m[1] + ".0-0.devel"
	}
	text, prefixed := strings.CutPrefix(version, "go")
	if prefixed {
		if head := toolchainHead.FindString(text); head != "" {
			text = strings.TrimRight(head, "-+ _~.")
		}
	}
	m := toolchainForm.FindStringSubmatch(text)
	if m == nil {
		return version // "go" in front of anything else stays and is refused
	}
	patch := m[3]
	if patch == "" {
		patch = "0"
	}
	out := m[1] + "." + m[2] + "." + patch
	if m[4] != "" {
		out += "-" + m[4] + "." + m[5]
	}
	return out
}

// respellNpm removes what npm itself strips from a package.json's version.
// https://github.com/npm/node-semver#versions
func respellNpm(version string) string {
	return strings.TrimLeft(strings.TrimSpace(version), "=v")
}
