package license_test

import (
	"strings"
	"testing"

	"github.com/github/go-spdx/v2/spdxexp"
	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/license"
)

func TestNormalize(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		// Debian: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
		{"short name", "GPL-2+", "GPL-2.0-or-later"},
		{"one version", "LGPL-2.1", "LGPL-2.1-only"},
		{"Expat", "Expat", "MIT"},
		{"choice", "GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"},
		{"comma", "GPL-2+ or Artistic-2.0, and BSD-3-clause", "(GPL-2.0-or-later OR Artistic-2.0) AND BSD-3-Clause"},
		{"AND binds more than OR", "Expat or ISC and Zlib", "MIT OR ISC AND Zlib"},
		{"exception", "GPL-2+ with Autoconf exception", "GPL-2.0-or-later WITH Autoconf-exception-generic"},
		{"exception of version 3", "GPL-3+ with GCC exception", "GPL-3.0-or-later WITH GCC-exception-3.1"},
		{"exception in the name", "GPL-3-WITH-BISON-EXCEPTION", "GPL-3.0-only WITH Bison-exception-2.2"},
		{"Perl", "Perl", "Artistic-1.0-Perl OR GPL-1.0-or-later"},
		{"Perl and another", "Perl and MIT", "(Artistic-1.0-Perl OR GPL-1.0-or-later) AND MIT"},
		// rpm
		{"Fedora", "GPLv2+ and MIT", "GPL-2.0-or-later AND MIT"},
		{"Fedora, brackets", "(GPLv2+ or LGPLv3+) and ASL 2.0", "(GPL-2.0-or-later OR LGPL-3.0-or-later) AND Apache-2.0"},
		{"LGPLv2.1+", "LGPLv2.1+", "LGPL-2.1-or-later"},
		{"any version", "GPL+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"},
		{"BSD with advertising", "BSD with advertising", "BSD-4-Clause"},
		{"Public Domain", "Public Domain", "LicenseRef-public-domain"},
		{"reference", "LicenseRef-Callaway-MIT AND MIT", "LicenseRef-Callaway-MIT AND MIT"},
		{"SUSE, semicolon", "GPL-2.0+; BSD-3-Clause;", "GPL-2.0-or-later AND BSD-3-Clause"},
		// Alpine
		{"SPDX", "GPL-2.0-only AND MIT", "GPL-2.0-only AND MIT"},
		{"SPDX with exception", "gpl-3.0-or-later with gcc-exception-3.1", "GPL-3.0-or-later WITH GCC-exception-3.1"},
		{"old Alpine", "MIT BSD GPL2+", "MIT AND BSD-3-Clause AND GPL-2.0-or-later"},
		// npm, Rust, gems
		{"npm", "(MIT OR Apache-2.0)", "MIT OR Apache-2.0"},
		{"old Cargo", "MIT/Apache-2.0", "MIT OR Apache-2.0"},
		{"name with a stroke", "zlib/libpng", "Zlib"},
		{"brackets in brackets", "((MIT AND (ISC OR 0BSD)))", "MIT AND (ISC OR 0BSD)"},
		{"twice", "MIT AND MIT", "MIT"},
		{"withdrawn", "GPL-2.0-with-classpath-exception", "GPL-2.0-only WITH Classpath-exception-2.0"},
		{"withdrawn, plus", "GPL-2.0+", "GPL-2.0-or-later"},
		{"plus of another family", "Apache-2.0+", "Apache-2.0+"},
		{"Unlicense", "Unlicense", "Unlicense"},
		// Python
		{"words the other way round", "BSD 3-Clause", "BSD-3-Clause"},
		{"three clauses first", "3-Clause BSD License", "BSD-3-Clause"},
		{"classifier", "License :: OSI Approved :: MIT License", "MIT"},
		{"classifier with a short name", "License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"},
		{"classifier of Mozilla", "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"},
		{"classifier with or in its name", "License :: OSI Approved :: GNU Library or Lesser General Public License (LGPL)", "LGPL-2.0-or-later"},
		{"classifier of Apache", "License :: OSI Approved :: Apache Software License", "Apache-2.0"},
		{"The MIT License (MIT)", "The MIT License (MIT)", "MIT"},
		// Java, R, addresses
		{"Apache", "Apache License, Version 2.0", "Apache-2.0"},
		{"Apache, other words", "The Apache Software License, Version 2.0", "Apache-2.0"},
		{"GNU in full", "GNU Lesser General Public License, version 2.1", "LGPL-2.1-only"},
		{"GNU in full, later", "GNU General Public License, version 2 or (at your option) any later version", "GPL-2.0-or-later"},
		{"R", "GPL (>= 2)", "GPL-2.0-or-later"},
		{"R, choice", "GPL-2 | GPL-3", "GPL-2.0-only OR GPL-3.0-only"},
		{"signs of programs", "MIT && (ISC || Zlib)", "MIT AND (ISC OR Zlib)"},
		{"R, file", "MIT + file LICENSE", "MIT"},
		{"R, underscores", "BSD_3_clause + file LICENSE", "BSD-3-Clause"},
		{"address of OSI", "https://opensource.org/licenses/MIT", "MIT"},
		{"address of Apache", "http://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"},
		{"address of GNU", "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html", "GPL-2.0-only"},
		{"address of Creative Commons", "https://creativecommons.org/licenses/by-sa/4.0/", "CC-BY-SA-4.0"},
		{"address of NuGet", "https://licenses.nuget.org/Apache-2.0", "Apache-2.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := license.Normalize(test.text)
			if got != test.want || !ok {
				t.Errorf("%q: %q %v, want %q", test.text, got, ok, test.want)
			}
			if valid, wrong := spdxexp.ValidateLicenses([]string{got}); !valid {
				t.Errorf("no SPDX expression: %q", wrong)
			}
		})
	}
}

// TestNormalizeUnknown: what SPDX lacks becomes a reference, and what is no name
// nothing; never another licence.
func TestNormalizeUnknown(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"own name", "Our own terms", "LicenseRef-Our-own-terms"},
		{"own name beside others", "MIT and Qt-thing", "MIT AND LicenseRef-Qt-thing"},
		{"unknown exception", "GPL-2+ with OpenSSL exception", "LicenseRef-GPL-2.0-or-later-with-OpenSSL-exception"},
		{"exceptions of Fedora", "LGPLv2+ with exceptions and GPLv2+", "LicenseRef-LGPL-2.0-or-later-with-exceptions AND GPL-2.0-or-later"},
		{"npm's word for none", "UNLICENSED", "LicenseRef-UNLICENSED"},
		{"npm's file", "SEE LICENSE IN LICENSE.md", ""},
		{"SUSE's own", "SUSE-GPL-2.0-with-OSI-exception", "LicenseRef-SUSE-GPL-2.0-with-OSI-exception"},
		{"version that GNU never made", "GPLv7", "LicenseRef-GPLv7"},
		{"empty", "  ", ""},
		{"unknown", "UNKNOWN", ""},
		{"classifier without a name", "License :: OSI Approved", ""},
		{"sentence", "you may do with it what you want", ""},
		{"text", "MIT\n\nPermission is hereby granted", ""},
		{"operator without a name", "MIT and", ""},
		{"open bracket", "(MIT", ""},
		{"closed bracket", "MIT)", ""},
		{"empty brackets", "()", ""},
		{"too deep", strings.Repeat("(", 100) + "MIT" + strings.Repeat(")", 100), ""},
		{"too long", strings.Repeat("MIT AND ", 1000) + "MIT", ""},
		{"address elsewhere", "https://example.com/LICENSE", "LicenseRef-https-example.com-LICENSE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := license.Normalize(test.text); got != test.want || ok {
				t.Errorf("%q: %q %v, want %q", test.text, got, ok, test.want)
			}
		})
	}
}

func TestAll(t *testing.T) {
	for want, expressions := range map[string][]string{
		"": nil, "MIT OR ISC": {"MIT OR ISC"}, "MIT AND (GPL-1.0-or-later OR Artistic-1.0-Perl) AND ISC": {"MIT", "GPL-1.0-or-later OR Artistic-1.0-Perl", "ISC", "MIT"},
	} {
		if got := license.All(expressions); got != want {
			t.Errorf("%q: %q, want %q", expressions, got, want)
		}
	}
}

func TestReferences(t *testing.T) {
	want := []string{"LicenseRef-a", "LicenseRef-b.c"}
	if diff := cmp.Diff(want, license.References("MIT AND (LicenseRef-a OR LicenseRef-b.c) AND LicenseRef-a")); diff != "" {
		t.Error(diff)
	}
}

// FuzzNormalize: what comes out is an expression to another reader too, and says
// the same when it is read again.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"GPL-2+ or Artistic, and BSD", "(MIT/X11 with x)", "License :: a :: b (c)", "https://opensource.org/licenses/MIT", "GPL (>= 2) | file LICENSE", "a&b|c;d", "ȺȺȺȺȺȺȺ-with-x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := license.Normalize(text)
		if got == "" {
			if ok {
				t.Error("nothing, and ok")
			}
			return
		}
		if valid, wrong := spdxexp.ValidateLicenses([]string{got}); !valid {
			t.Errorf("%q: no SPDX expression: %q", text, wrong)
		}
		if again, _ := license.Normalize(got); len(got) < 1000 && again != got {
			t.Errorf("%q: %q, again %q", text, got, again)
		}
	})
}

func BenchmarkNormalize(b *testing.B) {
	for b.Loop() {
		license.Normalize("LGPLv2+ and GNU General Public License v2 or later (GPLv2+)")
	}
}
