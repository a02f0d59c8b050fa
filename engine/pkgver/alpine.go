package pkgver

import "regexp"

var (
	alpinePatch    = regexp.MustCompile(`^(\d+(?:\.\d+)*)p(\d+)`)
	alpineRevision = regexp.MustCompile(`\.-?r(\d+)$`)
)

// respellAlpine mends two spellings that apk itself calls invalid and that are
// found in packages and in secdb all the same: "1.9.5p2-r0" (sudo, opensmtpd)
// and "10.2.24.r0" (mariadb) for "10.2.24-r0". For the first, apk compares the
// letter before any suffix ("1.9.5p1" is newer than "1.9.5_p2"); the number
// becomes a suffix behind the letter, which keeps that.
func respellAlpine(version string) string {
	version = alpinePatch.ReplaceAllString(version, "${1}p_p${2}")
	return alpineRevision.ReplaceAllString(version, "-r$1")
}
