package license

import (
	"slices"
	"strings"
)

// formatField begins a copyright file that machines can read.
// https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
const formatField = "format:"

// maxExpressions bounds the licences of one copyright file.
const maxExpressions = 200

// Copyright reads a copyright file of Debian: the licences of its paragraphs, as
// SPDX expressions, each once, sorted. ok is false for a file of the older,
// free form: of those that name a file of /usr/share/common-licenses, that one
// is told all the same.
func Copyright(text []byte) (expressions []string, ok bool) {
	body := string(text[:min(len(text), MaxText)])
	first, _, _ := strings.Cut(strings.TrimLeft(body, "\r\n"), "\n")
	if !strings.HasPrefix(strings.ToLower(first), formatField) {
		return common(body)
	}
	for line := range strings.Lines(body) {
		name, value, found := strings.Cut(line, ":")
		if !found || !strings.EqualFold(name, "license") || len(expressions) >= maxExpressions {
			continue
		}
		if e, _ := Normalize(value); e != "" && !slices.Contains(expressions, e) {
			expressions = append(expressions, e)
		}
	}
	slices.Sort(expressions)
	return expressions, len(expressions) > 0
}

// commonLicenses are the files of base-files' /usr/share/common-licenses.
var commonLicenses = []struct{ file, id string }{
	{"Apache-2.0", "Apache-2.0"}, {"Artistic", "Artistic-1.0-Perl"}, {"BSD", "BSD-3-Clause"}, {"CC0-1.0", "CC0-1.0"},
	{"GFDL-1.2", "GFDL-1.2-or-later"}, {"GFDL-1.3", "GFDL-1.3-or-later"}, {"GPL-1", "GPL-1.0-or-later"}, {"GPL-2", "GPL-2.0-or-later"},
	{"GPL-3", "GPL-3.0-or-later"}, {"LGPL-2.1", "LGPL-2.1-or-later"}, {"LGPL-2", "LGPL-2.0-or-later"}, {"LGPL-3", "LGPL-3.0-or-later"},
	{"MPL-1.1", "MPL-1.1"}, {"MPL-2.0", "MPL-2.0"},
}

// common finds the common licences that a free text points at.
func common(body string) (expressions []string, ok bool) {
	const place = "/usr/share/common-licenses/"
	for rest := body; ; {
		_, after, found := strings.Cut(rest, place)
		if !found {
			break
		}
		rest = after
		for _, c := range commonLicenses {
			if strings.HasPrefix(after, c.file) {
				if !slices.Contains(expressions, c.id) {
					expressions = append(expressions, c.id)
				}
				break
			}
		}
	}
	slices.Sort(expressions)
	return expressions, len(expressions) > 0
}
