// Package license tells which licence a text is: of licence files by their
// content, of Debian's copyright files by what they say. The answers are SPDX
// licence expressions.
//
// It knows texts and paths and nothing of packages or layers. Start with
// Classifier (texts), Copyright (files of Debian) and Normalize (statements of
// packages).
package license

import (
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/google/licensecheck"
)

// MaxText bounds a text that is looked at, in bytes; the longest licences have
// some 50,000.
const MaxText = 256 << 10

// leastCoverage is how much of a text must be of known licences for it to be
// taken for them, in percent.
const leastCoverage = 60

// maxKnown bounds the texts whose answer is kept: licence files are the same
// again and again, in one image and from image to image.
const maxKnown = 20_000

// Classifier recognises licences by their text. It is safe for concurrent use.
type Classifier struct {
	scanner func() (*licensecheck.Scanner, error) // made for the first text

	mu    sync.Mutex
	known map[[sha256.Size]byte]answer
}

type answer struct {
	expression string
	coverage   float64
}

// New prepares a classifier.
func New() *Classifier {
	return &Classifier{scanner: sync.OnceValues(newScanner), known: map[[sha256.Size]byte]answer{}}
}

// families are the beginnings of the identifiers of the licences that are looked
// for: those of nearly all software. To prepare all that licensecheck has takes
// most of a second, of which these are a part.
var families = []string{
	"0BSD", "AFL", "AGPL", "Apache", "Artistic", "BSD-2", "BSD-3", "BSD-4", "BSL-1.0", "BlueOak", "CC0", "CDDL", "EPL", "GPL", "ISC", "LGPL", "MIT", "MPL",
	"MS-PL", "NCSA", "OFL-1.1", "OpenSSL", "PHP", "PSF", "PostgreSQL", "Python-2", "Ruby", "UPL", "Unlicense", "WTFPL", "X11", "Zlib", "bzip2", "curl",
}

func newScanner() (*licensecheck.Scanner, error) {
	var wanted []licensecheck.License
	for _, l := range licensecheck.BuiltinLicenses() {
		if l.LRE != "" && slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(l.ID, f) }) {
			wanted = append(wanted, l)
		}
	}
	s, err := licensecheck.NewScanner(wanted)
	if err != nil {
		return nil, fmt.Errorf("prepare licence texts: %w", err)
	}
	return s, nil
}

// Classify gives the licences that a text is made of, joined by AND, and the
// share of the text that they cover, from 0 to 1; "" when it is of none that is
// known.
func (c *Classifier) Classify(text []byte) (expression string, coverage float64) {
	text = text[:min(len(text), MaxText)]
	sum := sha256.Sum256(text)
	c.mu.Lock()
	a, ok := c.known[sum]
	c.mu.Unlock()
	if ok {
		return a.expression, a.coverage
	}
	a = c.classify(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	c.known[sum] = a
	return a.expression, a.coverage
}

func (c *Classifier) classify(text []byte) answer {
	scanner, err := c.scanner()
	if err != nil {
		return answer{} // a defect of the library's data, which the tests would show
	}
	found := scanner.Scan(text)
	if found.Percent < leastCoverage {
		return answer{coverage: found.Percent / 100}
	}
	var ids []string
	for _, m := range found.Match {
		if !m.IsURL && !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return answer{strings.Join(ids, " AND "), found.Percent / 100}
}

// IsLicenseFile reports whether a path is that of a licence's text, by the names
// that projects and distributions give it.
func IsLicenseFile(name string) bool {
	base := strings.ToLower(path.Base(name))
	if base == "copyright" {
		return strings.Contains(name, "usr/share/doc/")
	}
	for _, word := range []string{"license", "licence", "copying", "unlicense"} {
		if rest, ok := strings.CutPrefix(base, word); ok {
			rest = strings.TrimLeft(rest, "0123456789") // COPYING3
			return rest == "" || rest[0] == '.' || rest[0] == '-' || rest[0] == '_'
		}
		if strings.HasSuffix(base, "-"+word) || strings.HasSuffix(base, "."+word) {
			return true
		}
	}
	// https://reuse.software/spec/ names the last one.
	return strings.Contains(name, "usr/share/licenses/") || path.Base(path.Dir(name)) == "LICENSES"
}
