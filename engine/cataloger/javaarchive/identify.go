package javaarchive

import (
	"path"
	"strings"
)

// components hands over what an archive's metadata name, and the archive itself
// when they do not name it.
func (r *reader) components(a archive, c *contents) error {
	models := map[string]coordinates{} // by directory
	for _, e := range c.models {
		models[path.Dir(e.name)] = model(r.metadata(a, e))
	}
	var m manifest
	if c.manifest != nil {
		m = parseManifest(r.metadata(a, *c.manifest))
	}
	own := identity{archive: a, manifest: m, native: c.native}
	own.artifact, own.version = splitName(a.name)
	for _, e := range c.poms {
		p := properties(r.metadata(a, e))
		p.license = models[path.Dir(e.name)].license
		delete(models, path.Dir(e.name))
		own.see(p, e.name)
		if err := r.tell(a, p, e.name); err != nil {
			return err
		}
	}
	for _, e := range c.models {
		p, left := models[path.Dir(e.name)]
		if delete(models, path.Dir(e.name)); !left {
			continue
		}
		own.see(p, e.name)
		if err := r.tell(a, p, e.name); err != nil {
			return err
		}
	}
	if own.named() {
		return nil
	}
	return r.itself(a, c, own)
}

// tell hands over what one description names.
func (r *reader) tell(a archive, p coordinates, name string) error {
	if !p.usable() {
		return nil
	}
	return r.hand(Component{Group: p.group, Artifact: p.artifact, Version: p.version, License: p.license, Inner: a.place(name)})
}

// hand hands over a component.
func (r *reader) hand(c Component) error {
	if r.places += int64(len(c.Inner)); r.places > r.limits.Places {
		r.problem(CodeTooMany, "the archive holds more components than are read")
		return errStop
	}
	if !r.found(c) {
		return errStop
	}
	return nil
}

// itself hands over the archive's own component, as far as its manifest and
// name tell it.
func (r *reader) itself(a archive, c *contents, own identity) error {
	if own.manifest["implementation-title"] == "Java Runtime Environment" {
		return nil // a part of the JDK, which has no coordinates
	}
	if !IsArchive(a.name) && (c.manifest == nil || !c.classes) {
		return nil // of a zip archive, the name says nothing about Java
	}
	found, ok := own.guess()
	if c.classes && (!ok || found.Group == "") {
		if r.nameless++; r.nameless == 1 {
			r.example = shorten(a.name)
			if a.inner != "" {
				r.example = shorten(a.inner)
			}
		}
	}
	if !ok {
		return nil
	}
	found.Inner = a.inner
	if !found.ByName && c.manifest != nil {
		found.Inner = a.place(c.manifest.name)
	}
	return r.hand(found)
}

// identity is what is known of an archive's own component.
type identity struct {
	archive  archive
	artifact string // from the file name
	version  string // from the file name; "" when it has none
	manifest manifest
	native   []string
	seen     []coordinates // described under META-INF/maven
	partial  coordinates   // its own description, without a version
}

// see takes note of a description: it may be the archive's own.
func (i *identity) see(p coordinates, name string) {
	if !strings.HasPrefix(name, "META-INF/maven/") || p.artifact == "" {
		return
	}
	if !p.usable() {
		if i.is(p) {
			i.partial = p
		}
		return
	}
	i.seen = append(i.seen, p)
}

// named reports whether one of the descriptions is the archive's own. For a
// file that was renamed it is the one with the manifest's version, or the only
// one when the manifest tells none.
func (i *identity) named() bool {
	told := i.manifest.version()
	for _, p := range i.seen {
		if i.is(p) || i.version == "" && told == p.version {
			return true
		}
	}
	return len(i.seen) == 1 && i.version == "" && told == "" && i.partial.artifact == ""
}

// packings are what build files call an archive with its dependencies in it.
var packings = []string{"-shaded", "-all", "-full", "-bundle", "-uber", "-fat", "-standalone"}

// is compares a description with the file's name ("artifact-version",
// "group.artifact-version") and with what the manifest calls the archive.
func (i *identity) is(p coordinates) bool {
	bundle, short := i.manifest.bundle(), i.artifact
	for _, packing := range packings {
		short = strings.TrimSuffix(short, packing)
	}
	return i.artifact == p.artifact || short == p.artifact || i.artifact == p.group+"."+p.artifact ||
		p.version != "" && strings.HasPrefix(i.archive.name, p.artifact+"-"+p.version) ||
		bundle != "" && (bundle == p.artifact || bundle == p.group || bundle == p.group+"."+p.artifact) ||
		i.manifest["implementation-title"] == p.artifact
}

// guess puts the archive's own coordinates together from what there is; false
// when they have no version.
func (i *identity) guess() (Component, bool) {
	c := Component{Artifact: i.artifact, License: i.manifest.license()}
	told := i.manifest.version()
	switch {
	case i.version != "":
		c.Version, c.ByName = i.version, told != i.version
	case told != "":
		c.Version = told
	default:
		return c, false
	}
	if i.partial.artifact != "" {
		c.Group, c.Artifact = i.partial.group, i.partial.artifact
		return c, true
	}
	if len(i.native) == 1 {
		c.Group, c.Artifact, _ = strings.Cut(i.native[0], "/")
		return c, true
	}
	if i.version == "" {
		c.Artifact = i.title()
	}
	if group, artifact, ok := wellKnown(i.manifest.bundle(), c.Artifact); ok {
		c.Group, c.Artifact = group, artifact
		return c, true
	}
	c.Group = i.group(c.Artifact)
	return c, isWord(c.Artifact)
}

// title gives the name that the manifest has for an archive whose file has no
// version in its name.
func (i *identity) title() string {
	if t := i.manifest["implementation-title"]; isWord(t) && strings.ToLower(t) == t {
		return t
	}
	if b := i.manifest.bundle(); isWord(b) {
		return b
	}
	return i.artifact
}

// group takes the group from a symbolic or module name that ends with the
// artifact, or from the vendor's id.
func (i *identity) group(artifact string) string {
	for _, name := range []string{i.manifest.bundle(), i.manifest["automatic-module-name"]} {
		if group, ok := strings.CutSuffix(name, "."+artifact); ok && strings.Contains(group, ".") {
			return group
		}
	}
	if id := i.manifest["implementation-vendor-id"]; isWord(id) && strings.Contains(id, ".") {
		return id
	}
	return ""
}
