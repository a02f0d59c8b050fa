package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/sbom"
	"github.com/pratique/pratique/internal/scan"
)

func printScan(w io.Writer, format string, documents []scan.Document) error {
	switch {
	case format == "json" && len(documents) == 1:
		return printJSON(w, documents[0])
	case format == "json":
		return printJSON(w, documents)
	case format == "cyclonedx" || format == "spdx":
		return printBill(w, format, documents)
	case format != "table":
		return fmt.Errorf("--format %s: want table, json, cyclonedx or spdx", format)
	}
	for i, d := range documents {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printDocument(w, d); err != nil {
			return err
		}
	}
	return nil
}

// printBill writes the bill of materials of one image.
func printBill(w io.Writer, format string, documents []scan.Document) error {
	if len(documents) != 1 {
		return fmt.Errorf("--format %s is of one image, and there are %d platforms: name one with --platform", format, len(documents))
	}
	d := documents[0]
	if d.Image == nil {
		return fmt.Errorf("--format %s: this is no image that could be read (%s)", format, d.Kind)
	}
	in := sbom.Input{Name: d.Reference, Image: d.Image, Findings: d.Findings, Version: versionText(), Created: time.Now()}
	if format == "spdx" {
		return sbom.SPDX(w, in)
	}
	return sbom.CycloneDX(w, in)
}

func printDocument(w io.Writer, d scan.Document) error {
	about := []string{d.Platform, d.Distro.Name, fmt.Sprintf("%d packages", len(d.Packages)), string(d.Digest)}
	if _, err := fmt.Fprintf(w, "%s  (%s)\n\n", d.Reference, strings.Join(compact(about), ", ")); err != nil {
		return err
	}
	for _, t := range []struct {
		header []string
		rows   [][]string
	}{
		{[]string{"SEVERITY", "ID", "PACKAGE", "INSTALLED", "FIXED IN", "WHERE"}, findingRows(d.Findings)},
		{[]string{"MALWARE", "SCANNER", "WHERE", "LAYER"}, malwareRows(d.Malware)},
		{[]string{"SECRET", "BEGINS WITH", "WHERE", "LAYER"}, secretRows(d.Secrets)},
		{[]string{"SETTING", "RULE", "WHAT", "WHERE"}, settingRows(d.Misconfig)},
		{[]string{"SBOM", "PACKAGE", "IN THE IMAGE", "IN THE SBOM"}, billRows(d.SBOM)},
		{[]string{"GAP", "CODE", "WHAT IS NOT KNOWN"}, gapRows(d.Gaps)},
	} {
		if len(t.rows) == 0 {
			continue
		}
		if err := table(w, t.header, t.rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return printVerdict(w, d)
}

// findingRows lists vulnerabilities; other errata are in the JSON alone.
func findingRows(findings []finding.Finding) (rows [][]string) {
	for _, f := range findings {
		if !f.IsVulnerability() {
			continue
		}
		id := f.CVE()
		if f.KEV != nil {
			id += " (used in attacks)"
		}
		fixed := dash(f.Fixed)
		if f.Fixed == "" && f.VendorStatus != "" && f.VendorStatus != "affected" {
			fixed = "- (" + f.VendorStatus + ")"
		}
		rows = append(rows, []string{strings.ToUpper(f.Severity.String()), id, f.Package, f.Version, fixed, f.Locations[0]})
	}
	return rows
}

func malwareRows(found []inventory.Malware) (rows [][]string) {
	for _, m := range found {
		rows = append(rows, []string{m.Signature, m.Scanner, m.Path, layerName(m.Layer)})
	}
	return rows
}

func secretRows(secrets []inventory.Secret) (rows [][]string) {
	for _, s := range secrets {
		where := s.Path
		switch {
		case s.Path == "":
			where = strings.TrimSpace(s.Where + " " + s.Name)
		case s.Line > 0:
			where += ":" + strconv.Itoa(s.Line)
		}
		if s.Deleted {
			where += " (deleted later)"
		}
		what := s.Rule
		if s.Confidence != "high" {
			what += " (perhaps)"
		}
		rows = append(rows, []string{what, s.Redacted, where, layerName(s.Layer)})
	}
	return rows
}

func settingRows(settings []inventory.Misconfiguration) (rows [][]string) {
	for _, m := range settings {
		rows = append(rows, []string{strings.ToUpper(m.Severity), m.Rule, m.Message, dash(m.Path)})
	}
	return rows
}

// billRows tells how a bill of materials differs from the image.
func billRows(d *sbom.Difference) (rows [][]string) {
	if d == nil {
		return nil
	}
	for _, p := range d.OnlyImage {
		rows = append(rows, []string{"not in it", p.Name, p.Version, "-"})
	}
	for _, p := range d.OnlyBill {
		rows = append(rows, []string{"only in it", p.Name, "-", dash(p.Version)})
	}
	for _, c := range d.Versions {
		rows = append(rows, []string{"other version", c.Name, strings.Join(c.Image, ", "), strings.Join(c.Bill, ", ")})
	}
	if len(rows) == 0 {
		rows = append(rows, []string{"agrees", fmt.Sprintf("%d packages", d.Same), "", ""})
	}
	return rows
}

func gapRows(gaps []inventory.Gap) (rows [][]string) {
	for _, g := range gaps {
		rows = append(rows, []string{string(g.Kind), g.Code, g.Detail})
	}
	return rows
}

func layerName(n int) string {
	if n < 0 {
		return "config"
	}
	return strconv.Itoa(n)
}

func printVerdict(w io.Writer, d scan.Document) error {
	word := "PASSED"
	if !d.Verdict.Passed {
		word = "REFUSED"
	}
	line := fmt.Sprintf("%s by policy %q (%s)", word, d.Verdict.Policy, d.Verdict.Action)
	if d.Kind != inventory.KindImage {
		line = word
	}
	if d.Verdict.Message != "" {
		line += ": " + d.Verdict.Message
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n", summary(d.Findings), line)
	return err
}

// summary counts findings by severity: "56 findings: 2 critical, 8 high, ...".
func summary(findings []finding.Finding) string {
	counts, total := map[finding.Severity]int{}, 0
	for _, f := range findings {
		if f.IsVulnerability() {
			counts[f.Severity]++
			total++
		}
	}
	var parts []string
	for s := finding.Critical; s >= finding.Unknown; s-- {
		if counts[s] > 0 {
			parts = append(parts, strconv.Itoa(counts[s])+" "+s.String())
		}
	}
	if len(parts) == 0 {
		return "no findings"
	}
	word := "findings"
	if total == 1 {
		word = "finding"
	}
	return fmt.Sprintf("%d %s: %s", total, word, strings.Join(parts, ", "))
}

func compact(all []string) []string {
	var kept []string
	for _, s := range all {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
