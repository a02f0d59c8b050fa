package sbom

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/license"
)

// CycloneDX writes a bill in CycloneDX 1.6, as JSON: the packages with their
// places and licences, what could not be read, and the findings.
// https://cyclonedx.org/docs/1.6/json/
func CycloneDX(w io.Writer, in Input) error {
	bom := cdx.NewBOM()
	bom.SerialNumber = in.serial("cyclonedx").URN()
	image := cdx.Component{
		BOMRef: "image", Type: cdx.ComponentTypeContainer, Name: in.Name, Version: in.Image.Manifest.String(),
		Properties: properties("pratique:image-id", in.Image.Config.String(), "pratique:platform", in.Image.Platform.String(),
			"pratique:engine", fmt.Sprint(in.Image.Engine)),
	}
	bom.Metadata = &cdx.Metadata{
		Timestamp: in.Created.UTC().Format(time.RFC3339), Component: &image,
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: toolName, Version: in.Version}}},
		Properties: gapProperties(in.Image.Gaps),
	}
	var all []cdx.Component
	depends := cdx.Dependency{Ref: "image", Dependencies: &[]string{}}
	dependencies := []cdx.Dependency{}
	add := func(c cdx.Component) {
		all = append(all, c)
		*depends.Dependencies = append(*depends.Dependencies, c.BOMRef)
		dependencies = append(dependencies, cdx.Dependency{Ref: c.BOMRef})
	}
	if d := in.Image.Distro; d.ID != "" {
		add(cdx.Component{BOMRef: "os", Type: cdx.ComponentTypeOS, Name: d.ID, Version: d.VersionID, Description: d.Name})
	}
	refs := map[string]string{}
	for _, c := range components(in.Image.Packages) {
		refs[c.Type+"\x00"+c.Name+"\x00"+c.Version] = c.ref
		add(cycloneComponent(in.Image, c))
	}
	dependencies = append([]cdx.Dependency{depends}, dependencies...)
	bom.Components, bom.Dependencies = &all, &dependencies
	if v := vulnerabilities(in.Findings, refs); len(v) > 0 {
		bom.Vulnerabilities = &v
	}
	encoder := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	if err := encoder.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("write CycloneDX: %w", err)
	}
	return nil
}

func cycloneComponent(im *inventory.Image, c *component) cdx.Component {
	out := cdx.Component{BOMRef: c.ref, Type: cdx.ComponentTypeLibrary, Name: c.Name, Version: c.Version, PackageURL: c.PURL, CPE: c.CPE}
	if c.Type == inventory.TypeBinary {
		out.Type = cdx.ComponentTypeApplication
	}
	if group, artifact, ok := strings.Cut(c.Name, ":"); ok && c.Type == inventory.TypeJava {
		out.Group, out.Name = group, artifact
	}
	if c.License != "" {
		out.Licenses = &cdx.Licenses{{License: &cdx.License{Name: c.License}}}
		if expression, ok := license.Normalize(c.License); ok {
			out.Licenses = &cdx.Licenses{{Expression: expression}}
		}
	}
	occurrences := make([]cdx.EvidenceOccurrence, len(c.locations))
	for i, location := range c.locations {
		occurrences[i].Location = location
	}
	out.Evidence = &cdx.Evidence{Occurrences: &occurrences}
	out.Properties = properties("pratique:type", c.Type, "pratique:arch", c.Arch, "pratique:source", sourceOf(c), "pratique:module", c.Module,
		"pratique:evidence", c.Evidence, "pratique:owned-by", c.OwnedBy, "pratique:layer", layerOf(im, c.Layer))
	return out
}

func sourceOf(c *component) string {
	if !inventory.IsSystem(c.Type) {
		return ""
	}
	return strings.TrimSpace(c.Source + " " + c.SourceVersion)
}

// properties makes a list of names and values, without those that are empty.
func properties(pairs ...string) *[]cdx.Property {
	var list []cdx.Property
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			list = append(list, cdx.Property{Name: pairs[i], Value: pairs[i+1]})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &list
}

// gapProperties tell what the bill does not know.
func gapProperties(gaps []inventory.Gap) *[]cdx.Property {
	var pairs []string
	for _, g := range gaps {
		pairs = append(pairs, "pratique:gap:"+string(g.Kind)+":"+g.Code, strings.TrimSpace(g.Path+" "+g.Detail))
	}
	return properties(pairs...)
}

// vulnerabilities lists findings, one entry for each name of a vulnerability.
func vulnerabilities(findings []finding.Finding, refs map[string]string) []cdx.Vulnerability {
	index := map[string]int{}
	var all []cdx.Vulnerability
	for i := range findings {
		f := &findings[i]
		if !f.IsVulnerability() {
			continue
		}
		at, ok := index[f.ID]
		if !ok {
			at = len(all)
			index[f.ID] = at
			all = append(all, vulnerability(f))
		}
		ref := refs[f.Type+"\x00"+f.Package+"\x00"+f.Version]
		if ref != "" && !slices.ContainsFunc(*all[at].Affects, func(a cdx.Affects) bool { return a.Ref == ref }) {
			*all[at].Affects = append(*all[at].Affects, cdx.Affects{Ref: ref})
		}
	}
	return all
}

var severities = map[finding.Severity]cdx.Severity{
	finding.Unknown: cdx.SeverityUnknown, finding.Negligible: cdx.SeverityInfo, finding.Low: cdx.SeverityLow, finding.Medium: cdx.SeverityMedium,
	finding.High: cdx.SeverityHigh, finding.Critical: cdx.SeverityCritical,
}

func vulnerability(f *finding.Finding) cdx.Vulnerability {
	rating := cdx.VulnerabilityRating{Severity: severities[f.Severity], Source: &cdx.Source{Name: f.SeveritySource}}
	if f.SeveritySource == "" {
		rating.Source = nil
	}
	if f.Score > 0 {
		score := f.Score
		rating.Score = &score
	}
	v := cdx.Vulnerability{
		BOMRef: "vulnerability-" + f.ID, ID: f.ID, Description: f.Summary, Source: &cdx.Source{Name: f.Feed, URL: f.URL},
		Ratings: ratings(rating, f), Affects: &[]cdx.Affects{},
	}
	if !f.Published.IsZero() {
		v.Published = f.Published.UTC().Format(time.RFC3339)
	}
	if f.Fixed != "" {
		v.Recommendation = "upgrade " + f.Package + " to " + f.Fixed
	}
	var references []cdx.VulnerabilityReference
	for _, alias := range f.Aliases {
		references = append(references, cdx.VulnerabilityReference{ID: alias, Source: &cdx.Source{Name: f.Feed}})
	}
	if len(references) > 0 {
		v.References = &references
	}
	return v
}

// ratings are the severity that counts, and the vectors that it may rest on.
func ratings(first cdx.VulnerabilityRating, f *finding.Finding) *[]cdx.VulnerabilityRating {
	all := []cdx.VulnerabilityRating{first}
	for _, vector := range f.CVSS {
		all = append(all, cdx.VulnerabilityRating{Source: &cdx.Source{Name: f.Feed}, Method: scoringMethod(vector), Vector: vector})
	}
	if f.NVD != "" {
		all = append(all, cdx.VulnerabilityRating{Source: &cdx.Source{Name: "NVD"}, Method: scoringMethod(f.NVD), Vector: f.NVD})
	}
	return &all
}

func scoringMethod(vector string) cdx.ScoringMethod {
	for _, m := range []struct {
		prefix string
		method cdx.ScoringMethod
	}{{"CVSS:4.0/", cdx.ScoringMethodCVSSv4}, {"CVSS:3.1/", cdx.ScoringMethodCVSSv31}, {"CVSS:3.0/", cdx.ScoringMethodCVSSv3}} {
		if strings.HasPrefix(vector, m.prefix) {
			return m.method
		}
	}
	return cdx.ScoringMethodCVSSv2
}
