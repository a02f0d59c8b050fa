package inventory

import (
	"cmp"
	"maps"
	"slices"
)

// collect takes what is left on the tree.
func (s *squasher) collect(n *node) {
	if f := n.facts; f != nil {
		s.live[f] = true
		s.handOn(f)
		came := n.introduced()
		for _, p := range f.packages {
			p.Layer = n.layer
			if layer, ok := came[identity{p.Name, p.Version, p.Arch}]; ok {
				p.Layer = layer
			}
			if p.Evidence == EvidenceLock {
				s.image.Locked = append(s.image.Locked, p)
				continue
			}
			s.image.Packages = append(s.image.Packages, p)
			s.from = append(s.from, f)
		}
		s.claims = append(s.claims, f.owned...)
		for _, g := range f.gaps {
			s.gap(g.Kind, g.Code, g.Path, f.layer, g.Detail)
		}
		if f.database != "" {
			s.databases = append(s.databases, placed{f.database, f.path, n.layer})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		s.collect(n.kids[name])
	}
}

// identity is what stays the same when a database is rewritten.
type identity struct{ name, version, arch string }

// introduced tells the layer in which each package of a database came, when
// upper layers have rewritten the database.
func (n *node) introduced() map[identity]int {
	var chain []*node
	for old := n; old != nil && n.prev != nil; old = old.prev {
		chain = append(chain, old)
	}
	var came map[identity]int
	for _, state := range slices.Backward(chain) {
		next := make(map[identity]int, len(state.facts.packages))
		for _, p := range state.facts.packages {
			id := identity{p.Name, p.Version, p.Arch}
			next[id] = state.layer
			if layer, ok := came[id]; ok {
				next[id] = layer
			}
		}
		came = next
	}
	return came
}

// gap adds a gap to the image.
func (s *squasher) gap(kind GapKind, code, path string, layer int, detail string) {
	s.image.Gaps = append(s.image.Gaps, Gap{Kind: kind, Code: code, Path: path, Layer: layer, Detail: detail})
}

// finish brings packages and gaps into their order and names the packages.
func (s *squasher) finish() {
	im := s.image
	s.licences()
	s.dropInstalled()
	for _, list := range []*[]Package{&im.Packages, &im.Locked} {
		for i := range *list {
			(*list)[i].PURL = purl((*list)[i], im.Distro)
		}
		slices.SortFunc(*list, func(a, b Package) int {
			return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version),
				cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Location, b.Location), cmp.Compare(a.Inner, b.Inner), cmp.Compare(a.Layer, b.Layer))
		})
		*list = slices.Compact(*list)
	}
	slices.SortFunc(im.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Detail, b.Detail))
	})
}

// dropInstalled leaves to lock files what is not installed anyhow.
func (s *squasher) dropInstalled() {
	if len(s.image.Locked) == 0 {
		return
	}
	type identity struct{ typ, name, version string }
	installed := map[identity]bool{}
	for _, p := range s.image.Packages {
		installed[identity{p.Type, p.Name, p.Version}] = true
	}
	s.image.Locked = slices.DeleteFunc(s.image.Locked, func(p Package) bool {
		return installed[identity{p.Type, p.Name, p.Version}]
	})
}

// licences gives Debian's packages the licences of their copyright files: their
// database tells none.
func (s *squasher) licences() {
	for i := range s.image.Packages {
		p := &s.image.Packages[i]
		if p.Type != TypeDeb || p.License != "" || s.tree.exhausted() {
			continue
		}
		n, _ := s.tree.walk(DatabaseRoot(p.Location)+"usr/share/doc/"+p.Name+"/copyright", false)
		if n != nil && n.facts != nil && n.facts.told != nil && len(n.facts.told.Licenses) > 0 {
			p.License = n.facts.told.Licenses[0].Expression
		}
	}
}
