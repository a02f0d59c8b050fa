package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/scan"
)

func printScan(w io.Writer, format string, documents []scan.Document) error {
	switch {
	case format == "json" && len(documents) == 1:
		return printJSON(w, documents[0])
	case format == "json":
		return printJSON(w, documents)
	case format != "table":
		return fmt.Errorf("--format %s: want table or json", format)
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

func printDocument(w io.Writer, d scan.Document) error {
	about := []string{d.Platform, d.Distro.Name, fmt.Sprintf("%d packages", len(d.Packages)), string(d.Digest)}
	if _, err := fmt.Fprintf(w, "%s  (%s)\n\n", d.Reference, strings.Join(compact(about), ", ")); err != nil {
		return err
	}
	if len(d.Findings) > 0 {
		var rows [][]string
		for _, f := range d.Findings {
			rows = append(rows, []string{strings.ToUpper(f.Severity.String()), f.CVE(), f.Package, f.Version, dash(f.Fixed), f.Locations[0]})
		}
		if err := table(w, []string{"SEVERITY", "ID", "PACKAGE", "INSTALLED", "FIXED IN", "WHERE"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if len(d.Gaps) > 0 {
		var rows [][]string
		for _, g := range d.Gaps {
			rows = append(rows, []string{string(g.Kind), g.Code, g.Detail})
		}
		if err := table(w, []string{"GAP", "CODE", "WHAT IS NOT KNOWN"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return printVerdict(w, d)
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
	counts := map[finding.Severity]int{}
	for _, f := range findings {
		counts[f.Severity]++
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
	if len(findings) == 1 {
		word = "finding"
	}
	return fmt.Sprintf("%d %s: %s", len(findings), word, strings.Join(parts, ", "))
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
