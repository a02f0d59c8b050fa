package inventory

import (
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// SquashInput is one image: its configuration and its layers' reports.
type SquashInput struct {
	Manifest     digest.Digest
	Maker        Maker
	Config       image.Config
	ConfigDigest digest.Digest
	Layers       []SquashLayer // in manifest order, lowest first
}

// SquashLayer is one layer of the manifest with what is known of it. A report
// may stand for several layers, and come from a blob with other bytes but the
// same tar.
type SquashLayer struct {
	Digest digest.Digest
	Size   int64   // bytes as stored, by the manifest
	Report *Report // nil: the layer was not read
}

// Squash applies the layers one upon the other, as a container runtime does,
// and lists what is left. It never fails: what it cannot know is a Gap. The
// result is the same, to the order, for the same input.
func Squash(in SquashInput) *Image {
	s := &squasher{tree: newTree(), live: map[*facts]bool{}, image: &Image{
		Engine: in.Maker.Engine, Gathers: in.Maker.Gathers, Manifest: in.Manifest, Config: in.ConfigDigest,
		Platform: Platform{OS: in.Config.OS, Architecture: in.Config.Architecture, Variant: in.Config.Variant},
		Packages: []Package{}, Gaps: []Gap{}, Layers: []digest.Digest{},
	}}
	s.checkConfig(in)
	for i, layer := range in.Layers {
		s.image.Layers = append(s.image.Layers, layer.Digest)
		s.image.Size += layer.Size
		if !s.checkLayer(i, layer, in.Config) {
			continue
		}
		if i > 0 && in.Layers[i-1].Report == layer.Report {
			continue // the same layer upon itself changes nothing
		}
		if s.tree.layer = i; !s.apply(layer.Report) {
			s.gap(Blind, "image-too-complex", "", i, "the layers name more paths and links than this version follows")
			break
		}
	}
	s.collect(s.tree.root)
	s.settleSecrets()
	s.unreadDatabases()
	s.logsApart()
	s.databasePlaces()
	s.image.Distro = s.distro()
	s.missingDatabase()
	s.ownership()
	s.dropTwins()
	s.finish()
	return s.image
}

// squasher is the work on one image.
type squasher struct {
	tree  *tree
	image *Image

	secrets []placedSecret // of all layers

	// Filled by collect, from the finished tree.
	databases []placed
	claims    []Owned
	from      []*facts // where the package of the same index in image.Packages comes from
	live      map[*facts]bool

	hidden int // how many packages or databases vanished through a lower layer's link
}

// placed is a database at the path under which its layer wrote it.
type placed struct {
	kind  string // Database.Type
	path  string
	layer int
}

// placedSecret is a secret and the path at which its layer wrote it.
type placedSecret struct {
	Secret
	at *facts
}

// facts is what a report says about one path.
type facts struct {
	path     string // as the layer wrote it
	layer    int
	packages []Package
	database string
	owned    []Owned
	release  *OSRelease
	gaps     []Gap
	marked   *Entry
	told     *Report // what is only handed on: accounts, licences, contents, malware
}

// index orders a report by path. Stream gaps (no path) go to the image as they are.
func (s *squasher) index(r *Report) map[string]*facts {
	byPath := map[string]*facts{}
	at := func(path string) *facts {
		if byPath[path] == nil {
			byPath[path] = &facts{path: path, layer: s.tree.layer}
		}
		return byPath[path]
	}
	for _, p := range r.Packages {
		f := at(p.Location)
		f.packages = append(f.packages, p)
	}
	for _, d := range r.Databases {
		at(d.Path).database = d.Type
	}
	for _, o := range r.Owned {
		f := at(o.Database)
		f.owned = append(f.owned, o)
	}
	for _, release := range r.Releases {
		at(release.Path).release = &release
	}
	for _, g := range r.Gaps {
		if g.Path != "" {
			f := at(g.Path)
			f.gaps = append(f.gaps, g)
			continue
		}
		s.gap(g.Kind, g.Code, "", s.tree.layer, g.Detail)
	}
	for _, secret := range r.Secrets {
		secret.Layer = s.tree.layer
		s.secrets = append(s.secrets, placedSecret{secret, at(secret.Path)})
	}
	r.handOn(func(path string) *Report { return at(path).handed() })
	for e := range r.Entries.All() {
		if e.marked() {
			at(e.Path).marked = &e
		}
	}
	return byPath
}

// apply puts one layer on the tree. Whiteouts and opaque directories speak of
// the layers below, wherever in the tar they stand, so they come first.
func (s *squasher) apply(r *Report) bool {
	learnt := s.index(r)
	for e := range r.Entries.All() {
		if s.tree.exhausted() {
			return false
		}
		switch e.Kind {
		case Whiteout:
			s.whiteout(e.Path)
		case OpaqueDir:
			s.opaque(e.Path)
		}
	}
	for e := range r.Entries.All() {
		if s.tree.exhausted() {
			return false
		}
		switch e.Kind {
		case Dir:
			s.dir(e.Path, learnt[e.Path])
		case File:
			s.file(e.Path, learnt[e.Path])
		case Symlink, Special:
			s.put(e.Path, &node{kind: e.Kind, link: e.Link, facts: learnt[e.Path]})
		}
	}
	return true
}

func (s *squasher) whiteout(path string) {
	dir, base, lower := s.tree.parent(path, false)
	if dir != nil && dir.kids[base] != nil {
		s.lose(dir.kids[base], path, lower)
		s.tree.remove(dir, base)
	}
}

// opaque empties a directory. It does not follow a link in the directory's own
// place: such a layer replaces the link, and what it points at stays.
func (s *squasher) opaque(path string) {
	target, lower := s.tree.root, false
	if path != "" {
		var dir *node
		var base string
		if dir, base, lower = s.tree.parent(path, false); dir == nil {
			return
		}
		target = dir.kids[base]
	}
	if target == nil || target.kind != Dir {
		return
	}
	for name, kid := range target.kids {
		s.lose(kid, path, lower)
		s.tree.remove(target, name)
	}
}

// dir lets a directory take the place of a link or file. Directories that matter
// are made when something below them does, or when they are marked themselves.
func (s *squasher) dir(path string, learnt *facts) {
	if path == "" {
		return
	}
	dir, base, lower := s.tree.parent(path, learnt != nil)
	if dir == nil {
		return
	}
	old := dir.kids[base]
	switch {
	case old != nil && old.kind != Dir:
		s.lose(old, path, lower)
		s.tree.remove(dir, base)
	case old != nil:
		old.facts = learnt // the mode is the new one's
		return
	}
	if learnt != nil {
		s.tree.put(dir, base, &node{kind: Dir, layer: s.tree.layer, facts: learnt})
	}
}

// file puts a file on the tree if anything was learnt from it; any other file
// only takes the place of what was there.
func (s *squasher) file(path string, learnt *facts) {
	if learnt != nil {
		s.put(path, &node{kind: File, facts: learnt})
		return
	}
	dir, base, lower := s.tree.parent(path, false)
	if dir != nil && dir.kids[base] != nil {
		s.lose(dir.kids[base], path, lower)
		s.tree.remove(dir, base)
	}
}

func (s *squasher) put(path string, n *node) {
	dir, base, lower := s.tree.parent(path, true)
	if base == "" {
		return
	}
	n.layer = s.tree.layer
	if old := dir.kids[base]; old != nil {
		s.lose(old, path, lower)
		if old.kind == File && n.kind == File && n.facts.database != "" && old.facts.database == n.facts.database {
			n.prev = old
		}
		s.tree.remove(dir, base)
	}
	s.tree.put(dir, base, n)
}

// lose is told of everything that goes. Runtimes disagree about a path that
// leads through a link of a lower layer: one follows the link, another puts a
// directory in its place and leaves alone what the link pointed at. When
// packages are at stake, the image is not known.
func (s *squasher) lose(old *node, path string, lower bool) {
	if lower && old.layer < s.tree.layer && old.holds() {
		if s.hidden++; s.hidden == 1 {
			s.gap(Blind, "path-through-link", path, s.tree.layer,
				"replaces or deletes packages through a symbolic link of a lower layer, which runtimes do not agree on")
		}
	}
}
