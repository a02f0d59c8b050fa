package sbom

import "strings"

// cycloneEntry is what is read of a component of CycloneDX, any version.
type cycloneEntry struct{ kind, group, name, version, purl string }

// field is where the text of a key, or of an element, goes; nil for those that
// are not wanted.
func (c *cycloneEntry) field(key string) *string {
	switch key {
	case "type":
		return &c.kind
	case "group":
		return &c.group
	case "name":
		return &c.name
	case "version":
		return &c.version
	case "purl":
		return &c.purl
	}
	return nil
}

// addTo adds the component, if it is a package.
func (c *cycloneEntry) addTo(d *Document) error {
	switch c.kind {
	case "operating-system", "file", "container":
		return nil
	}
	if c.group != "" {
		c.name = c.group + "/" + c.name
	}
	return d.add(Package{Name: c.name, Version: c.version, PURL: c.purl})
}

// spdxEntry is what is read of a package of SPDX 2.
type spdxEntry struct {
	Package
	purpose string
}

// addTo adds the entry, if it stands neither for the image nor for its system.
// The specification spells the latter with a hyphen, the JSON schema does not.
func (p *spdxEntry) addTo(d *Document) error {
	switch p.purpose {
	case "CONTAINER", "OPERATING-SYSTEM", "OPERATING_SYSTEM":
		return nil
	}
	if p.PURL == "" && strings.HasPrefix(p.Version, "sha256:") {
		return nil // the image itself, by a tool that names no purpose
	}
	return d.add(p.Package)
}
