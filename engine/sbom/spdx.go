package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/license"
)

// unknown is SPDX's word for what is not known.
const unknown = "NOASSERTION"

// SPDX writes a bill in SPDX 2.3, as JSON. What could not be read stands in an
// annotation of the document. https://spdx.github.io/spdx-spec/v2.3/
func SPDX(w io.Writer, in Input) error {
	created := in.Created.UTC().Format(time.RFC3339)
	doc := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: in.Name,
		DocumentNamespace: "https://github.com/pratique/pratique/sbom/" + in.serial("spdx").String(),
		CreationInfo:      &v2_3.CreationInfo{Created: created, Creators: []common.Creator{{CreatorType: "Tool", Creator: toolName + "-" + in.Version}}},
	}
	image := spdxPackage("image", in.Name, in.Image.Manifest.String())
	image.PrimaryPackagePurpose = "CONTAINER"
	image.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: in.Image.Manifest.Encoded()}}
	doc.Packages = append(doc.Packages, image)
	doc.Relationships = append(doc.Relationships, relation("DOCUMENT", "image", common.TypeRelationshipDescribe))
	if d := in.Image.Distro; d.ID != "" {
		os := spdxPackage("os", d.ID, d.VersionID)
		os.PrimaryPackagePurpose = "OPERATING_SYSTEM"
		doc.Packages = append(doc.Packages, os)
		doc.Relationships = append(doc.Relationships, relation("image", "os", common.TypeRelationshipContains))
	}
	references := &licenseReferences{doc: doc, known: map[string]bool{}}
	for _, c := range components(in.Image.Packages) {
		p := spdxPackage(c.ref, c.Name, c.Version)
		p.PackageSourceInfo = "found in " + strings.Join(c.locations, ", ")
		if layer := layerOf(in.Image, c.Layer); layer != "" {
			p.PackageComment = "layer " + layer
		}
		if c.License != "" {
			p.PackageLicenseDeclared = references.name(c.License)
		}
		if c.PURL != "" {
			p.PackageExternalReferences = append(p.PackageExternalReferences, &v2_3.PackageExternalReference{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: c.PURL})
		}
		if c.CPE != "" {
			p.PackageExternalReferences = append(p.PackageExternalReferences, &v2_3.PackageExternalReference{Category: "SECURITY", RefType: "cpe23Type", Locator: c.CPE})
		}
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, relation("image", c.ref, common.TypeRelationshipContains))
	}
	for _, g := range in.Image.Gaps {
		doc.Annotations = append(doc.Annotations, gapAnnotation(g, in.Version, created))
	}
	if err := json.Write(doc, w, json.Indent("  ")); err != nil {
		return fmt.Errorf("write SPDX: %w", err)
	}
	return nil
}

func spdxPackage(id, name, version string) *v2_3.Package {
	return &v2_3.Package{
		PackageSPDXIdentifier: common.ElementID(id), PackageName: name, PackageVersion: version, PackageDownloadLocation: unknown,
		FilesAnalyzed: false, IsFilesAnalyzedTagPresent: true, PackageLicenseConcluded: unknown, PackageLicenseDeclared: unknown, PackageCopyrightText: unknown,
	}
}

func relation(from, to, kind string) *v2_3.Relationship {
	return &v2_3.Relationship{RefA: common.MakeDocElementID("", from), RefB: common.MakeDocElementID("", to), Relationship: kind}
}

func gapAnnotation(g inventory.Gap, version, created string) *v2_3.Annotation {
	return &v2_3.Annotation{
		Annotator: common.Annotator{AnnotatorType: "Tool", Annotator: toolName + "-" + version}, AnnotationDate: created, AnnotationType: "OTHER",
		AnnotationSPDXIdentifier: common.MakeDocElementID("", "DOCUMENT"),
		AnnotationComment:        fmt.Sprintf("not read (%s, %s): %s", g.Kind, g.Code, strings.TrimSpace(g.Path+" "+g.Detail)),
	}
}

// licenseReferences defines licences that SPDX has no identifier for: a document
// defines what it refers to.
type licenseReferences struct {
	doc   *v2_3.Document
	known map[string]bool
}

// name writes what a package says of its licence as an expression, or as one
// reference to all that it says.
func (r *licenseReferences) name(statement string) string {
	expression, _ := license.Normalize(statement)
	if expression == "" {
		sum := sha256.Sum256([]byte(statement))
		expression = "LicenseRef-statement-" + hex.EncodeToString(sum[:8])
	}
	for _, id := range license.References(expression) {
		if !r.known[id] {
			r.known[id] = true
			r.doc.OtherLicenses = append(r.doc.OtherLicenses, &v2_3.OtherLicense{LicenseIdentifier: id, ExtractedText: statement, LicenseName: unknown})
		}
	}
	return expression
}
