package gate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

// maxNamed is how many reasons a message spells out; the report has them all.
const maxNamed = 4

// stopMessage explains a refusal by policy in one line: which policy, which
// vulnerabilities, what to upgrade to, where to read more.
func stopMessage(report string, sel bundle.Selection, v *policy.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "refused by policy %q: ", sel.BundleName)
	if v.Reason == policy.ReasonBlacklisted {
		b.WriteString("the image is on the bundle's blacklist")
	} else {
		b.WriteString(stopReasons(v))
	}
	fmt.Fprintf(&b, "; report: %s", report)
	return b.String()
}

func stopReasons(v *policy.Verdict) string { return reasons(v, policy.Stop) }

func warnReasons(v *policy.Verdict) string { return reasons(v, policy.Warn) }

// reasons names the rows of one action.
func reasons(v *policy.Verdict, action policy.Action) string {
	vulnerable, other := splitRows(v.Rows, action)
	var parts []string
	if len(vulnerable) > 0 {
		parts = append(parts, vulnerabilities(vulnerable))
	}
	for i, r := range other {
		if i == maxNamed {
			parts = append(parts, fmt.Sprintf("and %d more", len(other)-i))
			break
		}
		parts = append(parts, clean(r.Message))
	}
	if len(parts) == 0 && len(v.Problems) > 0 {
		parts = append(parts, "the policy could not be evaluated: "+clean(v.Problems[0].Details))
	}
	return strings.Join(parts, "; ")
}

// vulnerability is one vulnerability in the packages that share version and fix:
// a source package often becomes several installed ones.
type vulnerability struct {
	policy.Row
	packages []string
}

// splitRows gives the rows of one action: those about vulnerabilities, the worst
// first and each once, and the others.
func splitRows(rows []policy.Row, action policy.Action) (vulnerable []vulnerability, other []policy.Row) {
	at := map[[3]string]int{}
	for _, r := range rows {
		if r.Action != action {
			continue
		}
		if r.CVE == "" {
			other = append(other, r)
			continue
		}
		k := [3]string{r.CVE, r.Version, r.Fixed}
		i, ok := at[k]
		if !ok {
			i = len(vulnerable)
			at[k] = i
			vulnerable = append(vulnerable, vulnerability{Row: r})
		}
		if !slices.Contains(vulnerable[i].packages, r.Package) {
			vulnerable[i].packages = append(vulnerable[i].packages, r.Package)
		}
	}
	slices.SortStableFunc(vulnerable, func(a, b vulnerability) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.packages[0], b.packages[0]), cmp.Compare(a.CVE, b.CVE))
	})
	return vulnerable, other
}

// vulnerabilities counts by severity and names the worst:
// "2 critical, 1 high vulnerabilities with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4), ...".
func vulnerabilities(all []vulnerability) string {
	var named []string
	for _, v := range all[:min(len(all), maxNamed)] {
		s := fmt.Sprintf("%s %s %s", clean(v.CVE), clean(strings.Join(v.packages, ", ")), clean(v.Version))
		if v.Fixed != "" {
			s += fmt.Sprintf(" (fixed in %s)", clean(v.Fixed))
		}
		named = append(named, s)
	}
	if rest := len(all) - len(named); rest > 0 {
		named = append(named, fmt.Sprintf("and %d more", rest))
	}
	return countVulnerabilities(all) + ": " + strings.Join(named, ", ")
}

func countVulnerabilities(all []vulnerability) string {
	counts, fixed := map[finding.Severity]int{}, 0
	for _, v := range all {
		counts[v.Severity]++
		if v.Fixed != "" {
			fixed++
		}
	}
	var kinds []string
	for s := finding.Critical; s >= finding.Unknown; s-- {
		if counts[s] > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	word := "vulnerabilities"
	if len(all) == 1 {
		word = "vulnerability"
	}
	head := strings.Join(kinds, ", ") + " " + word
	switch {
	case fixed == len(all):
		head += " with a fix"
	case fixed > 0:
		head += fmt.Sprintf(" (%d with a fix)", fixed)
	}
	return head
}

// gapMessage explains a refusal because something was not understood.
func gapMessage(report string, blind []inventory.Gap) string {
	var parts []string
	for i, gap := range blind {
		if i == maxNamed {
			parts = append(parts, fmt.Sprintf("and %d more", len(blind)-i))
			break
		}
		parts = append(parts, clean(gap.Detail))
	}
	return fmt.Sprintf("refused, because the image is not understood: %s (gate.on_gap is deny); report: %s", strings.Join(parts, "; "), report)
}

// Report is the address of the page about an image.
func (g *Gate) Report(d digest.Digest) string { return reportPage(g.ReportURL, d) }

func reportPage(pages string, d digest.Digest) string { return pages + "/report/" + d.String() }
