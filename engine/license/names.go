package license

// names are the identifiers of SPDX for what packages call their licences, in
// lower case. https://spdx.org/licenses/
var names = map[string]string{
	"gpl-1": "GPL-1.0-only", "gpl-1+": "GPL-1.0-or-later", "gpl-2": "GPL-2.0-only", "gpl-2+": "GPL-2.0-or-later", "gpl-2.0": "GPL-2.0-only", "gpl-2.0+": "GPL-2.0-or-later",
	"gpl-3": "GPL-3.0-only", "gpl-3+": "GPL-3.0-or-later", "gpl-3.0": "GPL-3.0-only", "gpl-3.0+": "GPL-3.0-or-later", "gplv2": "GPL-2.0-only", "gplv2+": "GPL-2.0-or-later",
	"gplv3": "GPL-3.0-only", "gplv3+": "GPL-3.0-or-later", "gpl+": "GPL-1.0-or-later", "gpl": "GPL-1.0-or-later",
	"lgpl-2": "LGPL-2.0-only", "lgpl-2+": "LGPL-2.0-or-later", "lgpl-2.1": "LGPL-2.1-only", "lgpl-2.1+": "LGPL-2.1-or-later", "lgpl-3": "LGPL-3.0-only", "lgpl-3+": "LGPL-3.0-or-later",
	"lgplv2": "LGPL-2.0-only", "lgplv2+": "LGPL-2.0-or-later", "lgplv2.1": "LGPL-2.1-only", "lgplv2.1+": "LGPL-2.1-or-later", "lgplv3": "LGPL-3.0-only", "lgplv3+": "LGPL-3.0-or-later",
	"agpl-3": "AGPL-3.0-only", "agpl-3+": "AGPL-3.0-or-later", "agplv3": "AGPL-3.0-only", "agplv3+": "AGPL-3.0-or-later",
	"gfdl-1.2": "GFDL-1.2-only", "gfdl-1.2+": "GFDL-1.2-or-later", "gfdl-1.3": "GFDL-1.3-only", "gfdl-1.3+": "GFDL-1.3-or-later",
	"apache-2": "Apache-2.0", "apache-2.0": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache2": "Apache-2.0", "asl 2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0",
	"apache license, version 2.0": "Apache-2.0", "apache software license": "Apache-2.0", "apache": "Apache-2.0", "the apache software license, version 2.0": "Apache-2.0",
	"mit": "MIT", "mit license": "MIT", "the mit license": "MIT", "expat": "MIT", "x11": "X11", "isc": "ISC", "isc license": "ISC", "zlib": "Zlib", "zlib/libpng": "Zlib",
	"bsd": "BSD-3-Clause", "bsd-2": "BSD-2-Clause", "bsd-2-clause": "BSD-2-Clause", "bsd-3": "BSD-3-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd-4-clause": "BSD-4-Clause",
	"bsd 3-clause": "BSD-3-Clause", "bsd 2-clause": "BSD-2-Clause", "new bsd": "BSD-3-Clause", "bsd license": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause",
	"mpl-1.1": "MPL-1.1", "mpl-2": "MPL-2.0", "mpl-2.0": "MPL-2.0", "mplv2.0": "MPL-2.0", "mplv1.1": "MPL-1.1", "mozilla public license 2.0": "MPL-2.0",
	"artistic": "Artistic-1.0-Perl", "artistic-2": "Artistic-2.0", "artistic-2.0": "Artistic-2.0", "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
	"public-domain": "LicenseRef-public-domain", "public domain": "LicenseRef-public-domain", "cc0": "CC0-1.0", "cc0-1.0": "CC0-1.0", "unlicense": "Unlicense", "wtfpl": "WTFPL",
	"psf": "PSF-2.0", "psf-2": "PSF-2.0", "python": "PSF-2.0", "psfl": "PSF-2.0", "ruby": "Ruby", "openssl": "OpenSSL", "php": "PHP-3.01", "php-3.01": "PHP-3.01",
	"cc-by-3.0": "CC-BY-3.0", "cc-by-4.0": "CC-BY-4.0", "cc-by-sa-3.0": "CC-BY-SA-3.0", "cc-by-sa-4.0": "CC-BY-SA-4.0", "epl-1.0": "EPL-1.0", "epl-2.0": "EPL-2.0",
	"cddl-1.0": "CDDL-1.0", "cddl-1.1": "CDDL-1.1", "boost": "BSL-1.0", "bsl-1.0": "BSL-1.0", "blueoak-1.0.0": "BlueOak-1.0.0", "0bsd": "0BSD", "ofl-1.1": "OFL-1.1", "curl": "curl",
	"gpl-2.0-only": "GPL-2.0-only", "gpl-2.0-or-later": "GPL-2.0-or-later", "gpl-3.0-only": "GPL-3.0-only", "gpl-3.0-or-later": "GPL-3.0-or-later",
	"lgpl-2.0-only": "LGPL-2.0-only", "lgpl-2.0-or-later": "LGPL-2.0-or-later", "lgpl-2.1-only": "LGPL-2.1-only", "lgpl-2.1-or-later": "LGPL-2.1-or-later",
	"lgpl-3.0-only": "LGPL-3.0-only", "lgpl-3.0-or-later": "LGPL-3.0-or-later", "agpl-3.0-only": "AGPL-3.0-only", "agpl-3.0-or-later": "AGPL-3.0-or-later",
	"ncsa": "NCSA", "vim": "Vim", "tcl": "TCL", "postgresql": "PostgreSQL", "sil open font license": "OFL-1.1", "bzip2-1.0.6": "bzip2-1.0.6", "libpng": "Libpng", "icu": "ICU", "unicode-dfs-2016": "Unicode-DFS-2016",
	"ms-pl": "MS-PL", "eupl-1.2": "EUPL-1.2", "upl-1.0": "UPL-1.0", "json": "JSON", "afl-2.1": "AFL-2.1", "w3c": "W3C", "mit-0": "MIT-0",

	// Names written out, and those of Fedora.
	"mozilla public license 1.1": "MPL-1.1", "python software foundation license": "PSF-2.0", "apache software license 2.0": "Apache-2.0", "asl 1.1": "Apache-1.1", "asl 1.0": "Apache-1.0",
	"eclipse public license 1.0": "EPL-1.0", "eclipse public license 2.0": "EPL-2.0", "eclipse public license - v 1.0": "EPL-1.0", "eclipse public license - v 2.0": "EPL-2.0",
	"eclipse distribution license 1.0": "BSD-3-Clause", "eclipse distribution license - v 1.0": "BSD-3-Clause", "edl 1.0": "BSD-3-Clause",
	"common development and distribution license 1.0": "CDDL-1.0", "common development and distribution license 1.1": "CDDL-1.1", "cddl": "CDDL-1.0",
	"boost software license 1.0": "BSL-1.0", "cc0 1.0 universal": "CC0-1.0", "creative commons zero v1.0 universal": "CC0-1.0", "mit no attribution": "MIT-0",
	"bsd 3-clause new or revised": "BSD-3-Clause", "revised bsd": "BSD-3-Clause", "modified bsd": "BSD-3-Clause", "bsd-new": "BSD-3-Clause",
	"simplified bsd": "BSD-2-Clause", "2-clause bsd": "BSD-2-Clause", "freebsd": "BSD-2-Clause", "bsd with advertising": "BSD-4-Clause", "original bsd": "BSD-4-Clause", "4-clause bsd": "BSD-4-Clause",
	"mit/x11": "MIT", "mit-x11": "MIT", "mit x11": "MIT", "mit/expat": "MIT", "isc license (iscl)": "ISC", "iscl": "ISC", "the unlicense (unlicense)": "Unlicense",
	"universal permissive license 1.0": "UPL-1.0", "server side public license 1": "SSPL-1.0", "elastic license 2.0": "Elastic-2.0", "business source license 1.1": "BUSL-1.1",
	"european union public licence 1.2": "EUPL-1.2", "sil open font license 1.1": "OFL-1.1", "microsoft public license": "MS-PL", "ofl": "OFL-1.1", "inner-net": "Inner-Net-2.0", "openldap": "OLDAP-2.8",
	"academic free license 2.1": "AFL-2.1", "academic free license 3.0": "AFL-3.0", "zope public license 2.1": "ZPL-2.1", "zope public": "ZPL-2.1", "bouncy castle licence": "MIT", "mpl": "MPL-2.0",
}

// ID gives the SPDX identifier of one licence as a package names it, and a
// reference ("LicenseRef-...") for a name that SPDX does not have.
func ID(name string) string {
	if id := identifier(name); id != "" {
		return id
	}
	return refer(name)
}

// Known reports whether SPDX has a licence that a package names so.
func Known(name string) bool { return identifier(name) != "" }
