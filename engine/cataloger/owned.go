package cataloger

import (
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// isWorthClaiming chooses the claims of a package database that are kept: those
// of files that a language package can come from.
func isWorthClaiming(p string) bool {
	if c := ForPath(p); c != nil {
		return !c.Lock && !c.Database
	}
	return mayBeProgram(p) || isKnownLibrary(p)
}

// isKnownLibrary: shared libraries among the programs that are known by their
// version's text.
func isKnownLibrary(p string) bool {
	base := path.Base(p)
	return strings.HasPrefix(base, "lib") && strings.Contains(base, ".so") && isKnownProgram(base)
}

// mayBeProgram: what is run lies where programs are, or bears no extension and
// is no data. It is asked about every line of every list, so it looks once.
func mayBeProgram(p string) bool {
	data, above := false, ""
	for {
		dir, rest, ok := strings.Cut(p, "/")
		if !ok {
			return !data && !strings.Contains(p, ".")
		}
		switch dir {
		case "bin", "sbin", "libexec":
			return true
		case "etc":
			data = true
		case "share", "include":
			data = data || above == "usr"
		}
		above, p = dir, rest
	}
}

// addOwned keeps a claim if it is worth it.
func (r *Result) addOwned(pkg, file string) {
	if pkg == "" || !r.keeps(file) {
		return
	}
	if len(r.Owned) >= r.limits.Owned {
		r.gap(inventory.Partial, "too-many-owned-files", "more files are claimed than are kept; some language packages may not be known as the distribution's")
		return
	}
	clean, _ := inventory.CleanPath(r.root + file)
	r.Owned = append(r.Owned, inventory.Owned{Package: inventory.Printable(pkg), Path: clean, Database: r.Path})
}
