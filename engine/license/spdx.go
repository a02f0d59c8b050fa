package license

import (
	"regexp"
	"strings"
	"sync"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// identifier gives the SPDX expression of one licence by its name; "" for one
// that SPDX does not have.
func identifier(name string) string {
	name = strings.Trim(strings.TrimSpace(name), `"'.,`)
	if id := names[strings.ToLower(name)]; id != "" {
		return id
	}
	if id := listed(name); id != "" {
		return id
	}
	if reference.MatchString(name) {
		return name
	}
	if base, later := strings.CutSuffix(name, "+"); later {
		if id := listed(base); id != "" && gnu(reduce(name)) == "" {
			return id + "+"
		}
	}
	if strings.Contains(name, "://") || strings.HasPrefix(name, "www.") {
		return address(name)
	}
	if strings.ContainsAny(name, "()|&;") {
		return "" // several names
	}
	reduced := reduce(name)
	if id := gnu(reduced); id != "" {
		return id
	}
	return reducedNames()[reduced]
}

// reference is a reference to a licence that is not on the list, as packages
// write it themselves.
// https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
var reference = regexp.MustCompile(`^LicenseRef-[A-Za-z0-9.-]+$`)

// listed gives an identifier of SPDX's list as it is to be spelled. For those
// that are withdrawn, it gives what took their place.
func listed(id string) string {
	if ok, id := spdxlicenses.IsActiveLicense(id); ok {
		return id
	}
	ok, id := spdxlicenses.IsDeprecatedLicense(id)
	if !ok {
		return ""
	}
	if later := replaced[id]; later != "" {
		return later
	}
	if base, exception, ok := strings.Cut(id, "-with-"); ok {
		return withException(listed(base), exception)
	}
	if id := gnu(reduce(id)); id != "" {
		return id
	}
	return id
}

// replaced are the withdrawn identifiers beside those of GNU.
var replaced = map[string]string{
	"BSD-2-Clause-FreeBSD": "BSD-2-Clause", "BSD-2-Clause-NetBSD": "BSD-2-Clause", "bzip2-1.0.5": "bzip2-1.0.6", "StandardML-NJ": "SMLNJ",
	"wxWindows": "LGPL-2.0-or-later WITH WxWindows-exception-3.1", "eCos-2.0": "GPL-2.0-or-later WITH eCos-exception-2.0", "Nunit": "zlib-acknowledgement",
}

// reducedNames finds identifiers by reduced names: all of the list that differ
// when reduced, and all names.
var reducedNames = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for _, id := range spdxlicenses.GetLicenses() {
		reduced := reduce(id)
		if _, twice := all[reduced]; twice {
			id = ""
		}
		all[reduced] = id
	}
	for name, id := range names {
		all[reduce(name)] = id
	}
	return all
})

// exceptions are names of exceptions, reduced, beside the identifiers.
var exceptions = map[string]string{
	"classpath exception": "Classpath-exception-2.0", "autoconf exception": "Autoconf-exception-generic", "bison exception": "Bison-exception-2.2",
	"font exception": "Font-exception-2.0", "font embedding exception": "Font-exception-2.0", "libtool exception": "Libtool-exception",
	"llvm exception": "LLVM-exception", "llvm exceptions": "LLVM-exception", "linux syscall note": "Linux-syscall-note", "syscall note": "Linux-syscall-note",
	"gcc runtime library exception": "GCC-exception-3.1", "ocaml linking exception": "OCaml-LGPL-linking-exception", "universal foss exception": "Universal-FOSS-exception-1.0",
}

// withException adds an exception to a licence; "" for one that SPDX does not
// have.
func withException(id, exception string) string {
	if id == "" || strings.Contains(id, " ") {
		return ""
	}
	known, exact := spdxlicenses.IsException(strings.TrimSpace(exception))
	if known {
		return id + " WITH " + exact
	}
	reduced := reduce(exception)
	named := exceptions[reduced]
	if reduced == "gcc exception" { // of version 2, or of version 3
		named = "GCC-exception-2.0"
		if strings.HasPrefix(id, "GPL-3") {
			named = "GCC-exception-3.1"
		}
	}
	if named == "" {
		return ""
	}
	return id + " WITH " + named
}

// addresses are where licences stand, without scheme, "www." and ending.
var addresses = map[string]string{
	"apache.org/licenses/license-2.0": "Apache-2.0", "apache.org/licenses/license-1.1": "Apache-1.1", "apache.org/licenses": "Apache-2.0",
	"creativecommons.org/publicdomain/zero/1.0": "CC0-1.0", "creativecommons.org/publicdomain/zero/1.0/legalcode": "CC0-1.0",
	"eclipse.org/legal/epl-v10": "EPL-1.0", "eclipse.org/legal/epl-v20": "EPL-2.0", "eclipse.org/org/documents/edl-v10": "BSD-3-Clause",
	"mozilla.org/mpl/2.0": "MPL-2.0", "mozilla.org/en-us/mpl/2.0": "MPL-2.0", "mozilla.org/mpl/mpl-1.1": "MPL-1.1", "mozilla.org/mpl/1.1": "MPL-1.1",
	"unlicense.org": "Unlicense", "wtfpl.net": "WTFPL", "boost.org/license_1_0": "BSL-1.0", "json.org/license": "JSON",
	"gnu.org/copyleft/gpl": "GPL-1.0-or-later", "gnu.org/copyleft/lesser": "LGPL-2.0-or-later", "gnu.org/licenses/gpl": "GPL-1.0-or-later",
	"gnu.org/licenses/lgpl": "LGPL-2.0-or-later", "gnu.org/licenses/agpl": "AGPL-1.0-or-later",
	"opensource.org/licenses/bsd-license": "BSD-2-Clause", "opensource.org/licenses/mit-license": "MIT",
}

// directories are addresses below which the last part names a licence.
var directories = []string{
	"opensource.org/licenses/", "opensource.org/license/", "spdx.org/licenses/", "choosealicense.com/licenses/", "licenses.nuget.org/",
	"gnu.org/licenses/", "gnu.org/licenses/old-licenses/", "eclipse.org/legal/", "tldrlegal.com/license/",
}

// address gives the licence that stands at an address.
func address(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	rest = strings.TrimPrefix(strings.ToLower(rest), "www.")
	rest = strings.TrimRight(rest, "/")
	for _, ending := range []string{".txt", ".html", ".htm", ".php", ".md", ".en"} {
		rest = strings.TrimSuffix(rest, ending)
	}
	if id := addresses[rest]; id != "" {
		return id
	}
	if cc, ok := strings.CutPrefix(rest, "creativecommons.org/licenses/"); ok {
		parts := strings.Split(cc, "/")
		if len(parts) < 2 {
			return ""
		}
		return listed("CC-" + parts[0] + "-" + parts[1])
	}
	for _, directory := range directories {
		if name, ok := strings.CutPrefix(rest, directory); ok && !strings.ContainsAny(name, "/:") {
			return identifier(name)
		}
	}
	return ""
}
