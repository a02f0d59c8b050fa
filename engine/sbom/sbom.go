// Package sbom writes the inventory of an image as a software bill of
// materials, CycloneDX or SPDX, and reads one that somebody else wrote to
// compare the two. A foreign bill is an opinion, and never taken for what is in
// the image.
//
// It knows inventories and findings, and nothing of registries. Start with
// CycloneDX, SPDX and Read.
package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
)

// Input is what a bill is written of. The same input gives the same bytes.
type Input struct {
	Name     string // as people name the image
	Image    *inventory.Image
	Findings []finding.Finding // CycloneDX lists them; may be empty
	Version  string            // of Pratique
	Created  time.Time
}

// toolName is how a bill names its maker.
const toolName = "pratique"

// namespace is that of the serial numbers of bills.
var namespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/pratique/pratique/sbom"))

// serial names a bill: another one for another image, another time or another
// format.
func (in *Input) serial(format string) uuid.UUID {
	return uuid.NewSHA1(namespace, []byte(format+"\x00"+string(in.Image.Manifest)+"\x00"+in.Created.UTC().Format(time.RFC3339)))
}

// component is one package of one version at all its places.
type component struct {
	inventory.Package
	ref       string
	locations []string
}

// components joins what is installed in several places, in the order of the
// inventory.
func components(packages []inventory.Package) []*component {
	type identity struct{ typ, name, version, arch, evidence string }
	known := map[identity]*component{}
	var all []*component
	for _, p := range packages {
		id := identity{p.Type, p.Name, p.Version, p.Arch, p.Evidence}
		if c, ok := known[id]; ok {
			c.locations = append(c.locations, p.Place())
			continue
		}
		c := &component{Package: p, locations: []string{p.Place()}, ref: refOf(p)}
		known[id] = c
		all = append(all, c)
	}
	return all
}

// refOf names a component within its bill.
func refOf(p inventory.Package) string {
	sum := sha256.Sum256([]byte(p.Type + "\x00" + p.Name + "\x00" + p.Version + "\x00" + p.Arch + "\x00" + p.Evidence))
	return "pkg-" + hex.EncodeToString(sum[:8])
}

// layerOf is the digest of the layer that brought a package; "" when unknown.
func layerOf(im *inventory.Image, layer int) string {
	if layer < 0 || layer >= len(im.Layers) {
		return ""
	}
	return im.Layers[layer].String()
}
