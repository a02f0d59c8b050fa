package cataloger

import (
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// isOTPVersion: the file by which an Erlang/OTP installation tells its version.
// https://www.erlang.org/doc/system/versions.html#retrieving-current-otp-version
func isOTPVersion(p string) bool {
	return path.Base(p) == "OTP_VERSION" && path.Base(path.Dir(path.Dir(p))) == "releases"
}

// otpVersion matches the versions that such a file may tell; "**" stands behind
// one that was patched.
var otpVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(-rc[0-9.]+)?$`)

// readOTPVersion reads the version of Erlang/OTP.
func readOTPVersion(r io.Reader, out *Result) {
	in := newLines(r)
	in.next()
	version := strings.TrimSuffix(strings.TrimSpace(in.text), "**")
	if !otpVersion.MatchString(version) {
		out.gap(inventory.Partial, "erlang-version", "the file tells no version of Erlang/OTP")
		return
	}
	out.add(inventory.Package{Type: inventory.TypeBinary, Name: "erlang", Version: version, CPE: cpe(`erlang:erlang\/otp`, version)})
}
