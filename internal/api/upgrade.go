package api

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/pkgver"
	"github.com/pratique/pratique/engine/policy"
)

// upgrade is one package and the version that gets rid of its vulnerabilities.
type upgrade struct {
	Package   string `json:"package"`
	Type      string `json:"type"`
	Installed string `json:"installed"`
	// To is the highest of the versions that fix something; several, with commas
	// between, where their order is not known.
	To         string   `json:"upgrade_to"`
	Fixes      int      `json:"fixes"`    // vulnerabilities that To fixes
	Unfixed    int      `json:"unfixed"`  // vulnerabilities of the package without a fix
	Required   bool     `json:"required"` // one of those fixed is why the image is refused
	Severities []count  `json:"severities"`
	Locations  []string `json:"locations"`
	Layer      int      `json:"layer"`

	worst finding.Severity
}

// count is how many of one severity there are.
type count struct {
	Severity finding.Severity `json:"severity"`
	Count    int              `json:"count"`
}

// judged is a finding with what the policy makes of it.
type judged struct {
	finding.Finding
	CVE string `json:"cve"`
	// Decision is stop, warn or go (excepted, or not worth a warning); empty
	// when no rule speaks of it.
	Decision string `json:"decision,omitempty"`
	Excepted string `json:"excepted_by,omitempty"` // name of the whitelist
}

// judgeFindings marks the findings with the rows that they fired, the worst
// first, and errata that mend none behind the vulnerabilities.
func judgeFindings(findings []finding.Finding, v *policy.Verdict) []judged {
	type key struct{ cve, pkg, version string }
	strongest := map[key]policy.Row{}
	if v != nil {
		for _, r := range v.Rows {
			k := key{r.CVE, r.Package, r.Version}
			if old, ok := strongest[k]; r.CVE != "" && (!ok || r.Action > old.Action) {
				strongest[k] = r
			}
		}
	}
	all := make([]judged, 0, len(findings))
	for _, f := range findings {
		j := judged{Finding: f, CVE: f.CVE()}
		if r, ok := strongest[key{j.CVE, f.Package, f.Version}]; ok {
			j.Decision = r.Action.String()
			if r.Whitelist != nil {
				j.Excepted = cmp.Or(r.Whitelist.WhitelistName, r.Whitelist.WhitelistID)
			}
		}
		all = append(all, j)
	}
	slices.SortStableFunc(all, func(x, y judged) int {
		return cmp.Or(cmp.Compare(y.weight(), x.weight()), cmp.Compare(x.Class, y.Class), cmp.Compare(y.Severity, x.Severity), cmp.Compare(x.Package, y.Package), cmp.Compare(y.CVE, x.CVE))
	})
	return all
}

// weight puts what stops before what warns, and both before the rest.
func (j judged) weight() int {
	switch j.Decision {
	case policy.Stop.String():
		return 2
	case policy.Warn.String():
		return 1
	}
	return 0
}

// upgrades groups the vulnerabilities that have a fix by package, what is
// required first.
func upgrades(findings []judged) []upgrade {
	type key struct{ name, version, kind string }
	groups := map[key][]judged{}
	for _, f := range findings {
		if f.IsVulnerability() {
			k := key{f.Package, f.Version, f.Type}
			groups[k] = append(groups[k], f)
		}
	}
	all := []upgrade{}
	for k, group := range groups {
		u := upgrade{Package: k.name, Installed: k.version, Type: k.kind}
		u.add(group)
		if u.Fixes > 0 {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(x, y upgrade) int {
		if x.Required != y.Required {
			return cmp.Compare(y.required(), x.required())
		}
		return cmp.Or(cmp.Compare(y.worst, x.worst), cmp.Compare(y.Fixes, x.Fixes), cmp.Compare(x.Package, y.Package), cmp.Compare(x.Installed, y.Installed))
	})
	return all
}

func (u upgrade) required() int {
	if u.Required {
		return 1
	}
	return 0
}

func (u *upgrade) add(group []judged) {
	counts := map[finding.Severity]int{}
	var fixed []string
	for _, f := range group {
		u.Layer = f.Layer
		for _, l := range f.Locations {
			if !slices.Contains(u.Locations, l) {
				u.Locations = append(u.Locations, l)
			}
		}
		if f.Fixed == "" {
			u.Unfixed++
			continue
		}
		u.Fixes++
		counts[f.Severity]++
		u.worst = max(u.worst, f.Severity)
		u.Required = u.Required || f.Decision == policy.Stop.String()
		fixed = highest(fixed, f.Feed, f.Fixed)
	}
	u.To = strings.Join(fixed, ", ")
	for s := finding.Critical; s >= finding.Unknown; s-- {
		if counts[s] > 0 {
			u.Severities = append(u.Severities, count{s, counts[s]})
		}
	}
}

// highest keeps of the versions the highest, and those whose order is not known.
func highest(versions []string, ecosystem, v string) []string {
	for i, old := range versions {
		order, err := pkgver.Compare(ecosystem, v, old)
		if err != nil {
			continue
		}
		if order > 0 {
			versions[i] = v
		}
		return versions
	}
	return append(versions, v)
}
