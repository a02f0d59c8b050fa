package inventory

import (
	"slices"
	"strings"
)

// distPackages belongs to Debian's own packages: others install into
// /usr/local. https://www.debian.org/doc/packaging-manuals/python-policy/
const distPackages = "usr/lib/python3/dist-packages/"

// ownership finds the system package that installed each language package: its
// database lists the file, the file that lists it is still there, and so is the
// package. Claims are followed through links, since databases speak of /lib
// where the file is in /usr/lib.
func (s *squasher) ownership() {
	type owner struct{ root, name string }
	installed := map[owner]bool{}
	hasDeb := false
	for _, p := range s.image.Packages {
		if IsSystem(p.Type) {
			installed[owner{DatabaseRoot(p.Location), p.Name}] = true
			hasDeb = hasDeb || p.Type == TypeDeb
		}
	}
	owned := map[*facts]string{}
	for _, claim := range s.claims {
		if s.tree.exhausted() {
			break // claims unheard: their packages count as nobody's
		}
		if !installed[owner{DatabaseRoot(claim.Database), claim.Package}] {
			continue
		}
		n, _ := s.tree.walk(claim.Path, false)
		if n != nil && n.facts != nil && len(n.facts.packages) > 0 && owned[n.facts] == "" {
			owned[n.facts] = claim.Package
		}
	}
	for i := range s.image.Packages {
		p := &s.image.Packages[i]
		if IsSystem(p.Type) {
			continue
		}
		p.OwnedBy = owned[s.from[i]]
		if p.OwnedBy == "" && hasDeb && len(s.claims) == 0 && distroPlace(p) {
			p.OwnedBy = "dpkg"
		}
	}
}

// dropTwins removes programs that are known by their version's text alone and
// that a system package has installed: they are that package, once more.
func (s *squasher) dropTwins() {
	s.image.Packages = slices.DeleteFunc(s.image.Packages, func(p Package) bool { return p.Type == TypeBinary && p.OwnedBy != "" })
}

// distroPlace reports whether a package lies where only the distribution puts
// such files. Distroless images have no lists that would say so.
func distroPlace(p *Package) bool {
	if strings.HasPrefix(p.Location, distPackages) {
		return true
	}
	if p.Type != TypeBinary || strings.HasPrefix(p.Location, "usr/local/") {
		return false
	}
	return slices.ContainsFunc([]string{"usr/", "bin/", "sbin/", "lib/", "lib64/"}, func(dir string) bool { return strings.HasPrefix(p.Location, dir) })
}

// DatabaseRoot gives the root, within the image, of the system that a package
// database describes: "" for the image itself, "srv/chroot/" for one inside.
func DatabaseRoot(path string) string {
	for _, own := range []string{"var/lib/dpkg/", "lib/dpkg/", "dpkg/", "usr/lib/apk/db/", "lib/apk/db/", "apk/db/",
		"var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/", "rpm/", "var/lib/opkg/", "usr/lib/opkg/", "var/lib/pacman/local/", "var/db/pkg/"} {
		if i := strings.LastIndex(path, own); i == 0 || i > 0 && path[i-1] == '/' {
			return path[:i]
		}
	}
	return ""
}
