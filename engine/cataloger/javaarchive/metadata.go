package javaarchive

import (
	"bytes"
	"encoding/xml"
	"io"
	"path"
	"regexp"
	"strings"
)

// coordinates are what one description tells of a component.
type coordinates struct{ group, artifact, version, license string }

// usable: with a name and a version that build tools have filled in.
func (c coordinates) usable() bool { return isWord(c.artifact) && isWord(c.version) }

// isWord is false for "${project.version}" and for prose.
func isWord(s string) bool { return s != "" && !strings.ContainsAny(s, "${}@ \t\r\n/\\") }

// properties reads the properties file that Maven writes for each archive.
// https://maven.apache.org/shared/maven-archiver/#pom-properties-content
func properties(raw []byte) coordinates {
	var c coordinates
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		i := strings.IndexAny(line, "=: \t")
		if i < 0 || line[0] == '#' || line[0] == '!' {
			continue
		}
		value := strings.ReplaceAll(strings.TrimLeft(line[i:], "=: \t"), `\`, "")
		switch line[:i] {
		case "groupId":
			c.group = value
		case "artifactId":
			c.artifact = value
		case "version":
			c.version = value
		}
	}
	if !isWord(c.group) {
		c.group = ""
	}
	return c
}

// model reads the coordinates and licence of a pom.xml; what it inherits from a
// parent that it only names is not known. A file that breaks off gives what
// stands before.
// https://maven.apache.org/pom.html
func model(raw []byte) coordinates {
	dec := xml.NewDecoder(bytes.NewReader(raw))
	dec.Strict = false
	dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var c, parent coordinates
	var place []string
	fields := map[string]*string{
		"project/groupId": &c.group, "project/artifactId": &c.artifact, "project/version": &c.version,
		"project/parent/groupId": &parent.group, "project/parent/version": &parent.version,
		"project/licenses/license/name": &c.license,
	}
	for {
		token, err := dec.Token()
		if err != nil {
			break
		}
		switch t := token.(type) {
		case xml.StartElement:
			place = append(place, t.Name.Local)
		case xml.EndElement:
			place = place[:max(0, len(place)-1)]
		case xml.CharData:
			if len(place) > 4 {
				continue
			}
			if field := fields[strings.Join(place, "/")]; field != nil && *field == "" {
				*field = strings.Join(strings.Fields(string(t)), " ")
			}
		}
	}
	c.version = firstWord(c.version, parent.version)
	c.group = firstWord(c.group, parent.group)
	if len(c.license) > maxLicense {
		c.license = ""
	}
	return c
}

// firstWord gives the first value that a build tool has filled in.
func firstWord(values ...string) string {
	for _, v := range values {
		if isWord(v) {
			return v
		}
	}
	return ""
}

// manifest is the main section of a MANIFEST.MF, by lower-case name.
// https://docs.oracle.com/en/java/javase/21/docs/specs/jar/jar.html#jar-manifest
type manifest map[string]string

// maxAttributes bounds the main section; the largest known have 60.
const maxAttributes = 1000

func parseManifest(raw []byte) manifest {
	m, last := manifest{}, ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || len(m) > maxAttributes {
			break
		}
		if more, ok := strings.CutPrefix(line, " "); ok {
			if last != "" && len(m[last]) < 4096 {
				m[last] += more
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		last = strings.ToLower(name)
		m[last] = strings.TrimSpace(value)
	}
	return m
}

// number matches a version at the beginning of an attribute, which may go on
// with the build's date or commit.
var number = regexp.MustCompile(`^v?(\d[0-9A-Za-z.+_-]*)(?:[ ,;(]|$)`)

// version gives the version that a manifest tells of its archive.
func (m manifest) version() string {
	for _, name := range []string{"implementation-version", "bundle-version", "specification-version"} {
		if found := number.FindStringSubmatch(m[name]); found != nil {
			return found[1]
		}
	}
	return ""
}

// bundle gives the symbolic name without its directives.
func (m manifest) bundle() string {
	name, _, _ := strings.Cut(m["bundle-symbolicname"], ";")
	return strings.TrimSpace(name)
}

// license gives the licence if it is a name and not its text.
func (m manifest) license() string {
	if l := m["bundle-license"]; len(l) <= maxLicense {
		return strings.Trim(l, `"`)
	}
	return ""
}

// fileName matches "artifact-version", with a classifier or without. An
// artifact may have numbers of its own ("log4j-1.2-api-2.14.1").
var fileName = regexp.MustCompile(`^(.+?)-(\d+(?:[._][0-9A-Za-z+_]+)*` +
	`(?:-(?i:snapshot|release|final|ga|jre\d*|android|incubating|alpha[.\d]*|beta[.\d]*|rc[.\d]*|cr[.\d]*|m\d+|b\d+|pre\d*|preview[.\d]*|ea|redhat|atlassian|jbossorg|hadoop\d*|\d[0-9A-Za-z.]*))*)` +
	`(?:-(?i:sources|javadoc|tests?|shaded|all|exec|runner|standalone|jar-with-dependencies|uber|fat|boot|plain|client|nohttp|(?:linux|osx|windows|macos)[-_0-9A-Za-z]*))?$`)

// splitName takes an archive's file name apart; version is empty when it has
// none.
func splitName(file string) (artifact, version string) {
	stem := file
	if ext := path.Ext(file); strings.Trim(ext, ".0123456789") != "" {
		stem = strings.TrimSuffix(file, ext)
	}
	if found := fileName.FindStringSubmatch(stem); found != nil && len(file) < 256 {
		return found[1], found[2]
	}
	return stem, ""
}
