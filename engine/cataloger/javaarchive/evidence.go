package javaarchive

import (
	"bufio"
	"bytes"
	"regexp"
	"strings"
)

// readProperties reads a pom.properties, as Maven's archiver writes it: lines
// "key=value". A version that is still a placeholder says nothing.
// https://maven.apache.org/shared/maven-archiver/
func readProperties(raw []byte) (Component, bool) {
	var c Component
	in := bufio.NewScanner(bytes.NewReader(raw))
	in.Buffer(nil, maxSmall+1)
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		i := strings.IndexAny(line, "=:")
		if i < 0 {
			continue
		}
		value := strings.TrimSpace(line[i+1:])
		switch strings.TrimSpace(line[:i]) {
		case "groupId":
			c.Group = value
		case "artifactId":
			c.Artifact = value
		case "version":
			c.Version = value
		}
	}
	return c, usable(c.Artifact) && usable(c.Version) && !strings.Contains(c.Group, "${")
}

func usable(s string) bool { return s != "" && !strings.Contains(s, "${") && len(s) < 512 }

// readManifest reads the main section of a MANIFEST.MF: "Name: value", where a
// line that begins with a blank goes on with the one before it.
// https://docs.oracle.com/en/java/javase/21/docs/specs/jar/jar.html#jar-manifest
func readManifest(raw []byte) map[string]string {
	section := map[string]string{}
	last := ""
	for line := range bytes.Lines(raw) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		if text[0] == ' ' {
			if last != "" {
				section[last] += text[1:]
			}
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			continue
		}
		last = strings.ToLower(name)
		section[last] = strings.TrimSpace(value)
	}
	return section
}

// evidence is what tells which component an archive itself is.
type evidence struct {
	name     string // of the file
	inner    string // its place
	manifest map[string]string
	poms     []Component // that were found in it
}

// fileForm takes "log4j-core-2.14.1-sources.jar" apart: the version begins with
// the first number behind a hyphen.
var fileForm = regexp.MustCompile(`^(.+?)-(\d[0-9A-Za-z.+_]*(?:-(?:SNAPSHOT|[A-Za-z]*\d[0-9A-Za-z.]*|alpha|beta|rc|jre|android|incubating|GA|Final|RELEASE|M\d+))*)(?:-[a-z][0-9a-z_-]*)?\.[A-Za-z]+$`)

// component names the archive itself by its manifest and its name, unless a
// pom.properties in it has done so.
func (e *evidence) component() (Component, bool) {
	artifact, version, byName := "", "", false
	if m := fileForm.FindStringSubmatch(e.name); m != nil {
		artifact, version, byName = m[1], m[2], true
	}
	m := e.manifest
	title := firstOf(m, "implementation-title", "bundle-symbolicname", "automatic-module-name", "specification-title", "bundle-name")
	title, _, _ = strings.Cut(title, ";") // "org.example.a;singleton:=true"
	if artifact == "" {
		artifact = stem(e.name)
		if title != "" && artifact == "" {
			artifact = title
		}
	}
	if stated := firstOf(m, "implementation-version", "bundle-version", "specification-version"); version == "" && usable(stated) {
		version, byName = stated, false
	}
	if !usable(artifact) || !usable(version) || e.named(artifact, title) {
		return Component{}, false
	}
	c := Component{Artifact: artifact, Version: version, Inner: e.inner, ByName: byName && len(m) == 0, License: m["bundle-license"]}
	c.Group = e.group(artifact, title)
	return c, true
}

// named reports whether a pom.properties of the archive has named it already. Of
// a single one, that is taken for granted: its archive was renamed.
func (e *evidence) named(artifact, title string) bool {
	if len(e.poms) == 1 {
		return true
	}
	for _, p := range e.poms {
		if strings.EqualFold(p.Artifact, artifact) || strings.HasPrefix(e.name, p.Artifact+"-") || strings.EqualFold(p.Artifact, title) {
			return true
		}
	}
	return false
}

// group tells the group of an artifact: by the table of well-known ones, by the
// vendor's id, or by a symbolic name that begins with it.
func (e *evidence) group(artifact, title string) string {
	if g := groups[artifact]; g != "" {
		return g
	}
	if vendor := e.manifest["implementation-vendor-id"]; isName(vendor) {
		return vendor
	}
	if isName(title) {
		i := strings.LastIndexByte(title, '.')
		if last := title[i+1:]; strings.HasSuffix(artifact, last) || strings.Contains(title, artifact) {
			return title[:i]
		}
	}
	return ""
}

// isName reports whether a text looks like "org.example.product".
func isName(s string) bool {
	return strings.Contains(s, ".") && !strings.ContainsAny(s, " /:\"") && s[0] >= 'a' && s[0] <= 'z'
}

func firstOf(m map[string]string, names ...string) string {
	for _, name := range names {
		if v := m[name]; v != "" {
			return v
		}
	}
	return ""
}

// stem is a file's name without its ending.
func stem(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[:i]
	}
	return name
}
