package advisory

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pratique/pratique/engine/pkgver"
)

// NormalizeName gives the spelling under which a package is indexed and looked
// up. PyPI treats "Flask_Login" and "flask-login" as one name (PEP 503); the
// other ecosystems take names as they are.
func NormalizeName(ecosystem, name string) string {
	if pkgver.Base(ecosystem) != "PyPI" {
		return name
	}
	var out strings.Builder
	out.Grow(len(name))
	separated := false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '-' || c == '_' || c == '.':
			if !separated {
				out.WriteByte('-')
			}
			separated = true
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		separated = false
		out.WriteByte(c)
	}
	return out.String()
}

// Key is what advisories are found by: an ecosystem with its release suffix and
// a package name as NormalizeName spells it.
type Key struct {
	Ecosystem string
	Package   string
}

// Limits of what a key may hold; both are far above anything real.
const (
	maxEcosystem = 128
	maxName      = 1024
)

var errBadKey = errors.New("ecosystem or package name out of bounds")

// append writes the key as it stands in the index: ecosystem, NUL, name. Scores
// have an empty ecosystem, so they sort before all packages.
func (k Key) append(b []byte) []byte {
	b = append(b, k.Ecosystem...)
	b = append(b, 0)
	return append(b, k.Package...)
}

func (k Key) check() error {
	if len(k.Ecosystem) > maxEcosystem || k.Package == "" || len(k.Package) > maxName ||
		strings.IndexByte(k.Ecosystem, 0) >= 0 || strings.IndexByte(k.Package, 0) >= 0 {
		return fmt.Errorf("%w: %.64q %.64q", errBadKey, k.Ecosystem, k.Package)
	}
	return nil
}

func parseKey(b []byte) Key {
	ecosystem, name, _ := strings.Cut(string(b), "\x00")
	return Key{Ecosystem: ecosystem, Package: name}
}
