package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
	spdxjson "github.com/spdx/tools-golang/json"
)

// Document is a bill that somebody else wrote.
type Document struct {
	Format   string // "CycloneDX", "SPDX" or "Syft"
	Packages []Package
}

// Package is one entry of such a bill.
type Package struct {
	Name    string
	Version string
	PURL    string
}

// Bounds of a foreign bill.
const (
	maxDocument = 256 << 20 // bytes
	maxPackages = 1_000_000
)

// ErrFormat: the bytes are of no bill that is known.
var ErrFormat = errors.New("no bill of materials in CycloneDX, SPDX or Syft's JSON")

// Read reads CycloneDX (JSON or XML), SPDX 2 (JSON) or Syft's own JSON.
func Read(r io.Reader) (doc *Document, err error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read bill of materials: %w", err)
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("read bill of materials: more than %d bytes", maxDocument)
	}
	defer func() {
		if cause := recover(); cause != nil {
			doc, err = nil, fmt.Errorf("read bill of materials: %v", cause)
		}
	}()
	doc, err = decode(bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	if err != nil {
		return nil, fmt.Errorf("read bill of materials: %w", err)
	}
	if len(doc.Packages) > maxPackages {
		return nil, fmt.Errorf("read bill of materials: more than %d packages", maxPackages)
	}
	return doc, nil
}

func decode(raw []byte) (*Document, error) {
	if bytes.HasPrefix(raw, []byte("<")) {
		return decodeCycloneDX(raw, cdx.BOMFileFormatXML)
	}
	var kind struct {
		BOMFormat   string          `json:"bomFormat"`
		SPDXVersion string          `json:"spdxVersion"`
		Artifacts   json.RawMessage `json:"artifacts"`
		PayloadType string          `json:"payloadType"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	switch {
	case kind.BOMFormat == "CycloneDX":
		return decodeCycloneDX(raw, cdx.BOMFileFormatJSON)
	case kind.SPDXVersion != "":
		return decodeSPDX(raw)
	case kind.Artifacts != nil:
		return decodeSyft(kind.Artifacts)
	case kind.PayloadType != "":
		return nil, fmt.Errorf("%w: this is a signed envelope (%s)", ErrFormat, kind.PayloadType)
	}
	return nil, ErrFormat
}

func decodeCycloneDX(raw []byte, format cdx.BOMFileFormat) (*Document, error) {
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(raw), format).Decode(bom); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	doc := &Document{Format: "CycloneDX"}
	if bom.Components != nil {
		doc.addComponents(*bom.Components, 0)
	}
	return doc, nil
}

// maxNesting is how deep components are followed into one another.
const maxNesting = 32

func (d *Document) addComponents(all []cdx.Component, depth int) {
	for _, c := range all {
		if c.Type != cdx.ComponentTypeOS && c.Type != cdx.ComponentTypeFile {
			name := c.Name
			if c.Group != "" {
				name = c.Group + "/" + c.Name
			}
			d.Packages = append(d.Packages, Package{Name: name, Version: c.Version, PURL: c.PackageURL})
		}
		if c.Components != nil && depth < maxNesting {
			d.addComponents(*c.Components, depth+1)
		}
	}
}

func decodeSPDX(raw []byte) (*Document, error) {
	spdx, err := spdxjson.Read(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	doc := &Document{Format: "SPDX"}
	for _, p := range spdx.Packages {
		if p == nil || isWhole(p.PrimaryPackagePurpose) {
			continue
		}
		entry := Package{Name: p.PackageName, Version: p.PackageVersion}
		for _, ref := range p.PackageExternalReferences {
			if ref != nil && ref.RefType == "purl" {
				entry.PURL = ref.Locator
			}
		}
		if entry.PURL == "" && strings.HasPrefix(entry.Version, "sha256:") {
			continue // the image itself
		}
		doc.Packages = append(doc.Packages, entry)
	}
	return doc, nil
}

func decodeSyft(raw []byte) (*Document, error) {
	var artifacts []struct{ Name, Version, PURL string }
	if err := json.Unmarshal(raw, &artifacts); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	doc := &Document{Format: "Syft"}
	for _, a := range artifacts {
		doc.Packages = append(doc.Packages, Package(a))
	}
	return doc, nil
}

// keyOf is what makes an entry of a bill and a package of an image the same:
// kind, namespace and name of the purl, whatever its version and qualifiers; or
// the name alone.
func keyOf(name, purl string) string {
	u, err := packageurl.FromString(purl)
	if purl == "" || err != nil {
		return "name:" + strings.ToLower(name)
	}
	return strings.ToLower(u.Type + "/" + u.Namespace + "/" + u.Name)
}

// isWhole reports whether an entry stands for the image or its system. The
// specification spells the latter with a hyphen, the JSON schema does not.
func isWhole(purpose string) bool {
	return purpose == "CONTAINER" || purpose == "OPERATING-SYSTEM" || purpose == "OPERATING_SYSTEM"
}
