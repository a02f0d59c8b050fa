package license_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/license"
)

const mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

func TestClassify(t *testing.T) {
	c := license.New()
	for range 2 { // the second time from memory
		if got, coverage := c.Classify([]byte("Copyright 2020 Somebody\n\n" + mit)); got != "MIT" || coverage < 0.9 {
			t.Errorf("%q %v", got, coverage)
		}
		if got, coverage := c.Classify([]byte(strings.Repeat("no licence at all ", 100))); got != "" || coverage > 0.1 {
			t.Errorf("%q %v", got, coverage)
		}
	}
}

func TestCopyright(t *testing.T) {
	const format = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"one licence", format + "Files: *\nLicense: GPL-2+\n text\n", []string{"GPL-2.0-or-later"}},
		{"several, one twice", format + "Files: *\nLicense: Expat\n\nFiles: b\nlicense: BSD-3-clause\n\nLicense: Expat\n Permission\n", []string{"BSD-3-Clause", "MIT"}},
		{"a choice", format + "Files: *\nLicense: GPL-1+ or Artistic\n", []string{"GPL-1.0-or-later OR Artistic-1.0-Perl"}},
		{"a name that SPDX does not have", format + "Files: *\nLicense: my_licence\n", []string{"LicenseRef-my-licence"}},
		{"an exception", format + "Files: *\nLicense: GPL-3+ with Bison exception\n", []string{"GPL-3.0-or-later WITH Bison-exception-2.2"}},
		{"a comma", format + "Files: *\nLicense: GPL-2+ or Artistic-2.0, and BSD-3-clause\n", []string{"(GPL-2.0-or-later OR Artistic-2.0) AND BSD-3-Clause"}},
		{"an identifier that stands in no table", format + "Files: *\nLicense: Beerware\n", []string{"Beerware"}},
		{"a sentence", format + "Files: *\nLicense: see the file over there\n", nil},
		{"free form with common licences", "It is free.\nSee `/usr/share/common-licenses/GPL-3' and /usr/share/common-licenses/LGPL-2.1.\n", []string{"GPL-3.0-or-later", "LGPL-2.1-or-later"}},
		{"free form without", "It is free.\n", nil},
		{"empty", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := license.Copyright([]byte(test.text))
			if diff := cmp.Diff(test.want, got); diff != "" || ok != (len(test.want) > 0) {
				t.Errorf("%v %s", ok, diff)
			}
		})
	}
}

func TestIsLicenseFile(t *testing.T) {
	for name, want := range map[string]bool{
		"app/LICENSE": true, "app/licence.txt": true, "a/COPYING.LIB": true, "a/MIT-LICENSE": true, "usr/share/doc/bash/copyright": true, "a/copyright": false,
		"usr/share/licenses/bash/GPL": true, "app/license.go": true, "gcc/COPYING3": true, "gcc/COPYING3.LIB": true, "app/license3d": false, "app/LICENSES/MIT.txt": true, "app/licensing.md": false, "a/b": false,
	} {
		if got := license.IsLicenseFile(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzCopyright(f *testing.F) {
	f.Add([]byte("Format: x\n\nLicense: GPL-2+ or Artistic\n"))
	f.Add([]byte("/usr/share/common-licenses/GPL"))
	f.Fuzz(func(t *testing.T, text []byte) {
		expressions, ok := license.Copyright(text)
		for _, e := range expressions {
			if !ok || e == "" || strings.ContainsAny(e, "\n\x00") {
				t.Errorf("%q", e)
			}
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	c := license.New()
	b.Run("new", func(b *testing.B) {
		b.SetBytes(int64(len(mit)))
		text := []byte(mit + "00000000")
		for i := 0; b.Loop(); i++ {
			for j := range 8 {
				text[len(mit)+j] = '0' + byte(i>>(3*j)&7)
			}
			c.Classify(text)
		}
	})
	b.Run("known", func(b *testing.B) {
		b.SetBytes(int64(len(mit)))
		for b.Loop() {
			c.Classify([]byte(mit))
		}
	})
}
