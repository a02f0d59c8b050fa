package pkgver

import "regexp"

var (
	// cpeBefore is what comes before a release: "3.0.0-alpha1".
	cpeBefore = regexp.MustCompile(`-(alpha|beta|pre|rc|dev)`)
	cpeHyphen = regexp.MustCompile(`-`)
)

// respellCPE writes the version of a program as a version of rpm without a
// release: what is before a release is marked by a tilde, a hyphen is no more
// than a separator.
func respellCPE(version string) string {
	return cpeHyphen.ReplaceAllString(cpeBefore.ReplaceAllString(version, "~$1"), ".")
}
