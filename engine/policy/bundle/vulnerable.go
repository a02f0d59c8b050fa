package bundle

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"github.com/pratique/pratique/engine/finding"
)

// packageRule is a rule of vulnerabilities.package. A finding fires when all of
// it holds.
type packageRule struct {
	class      string // "all", "os", "non-os"
	comparison string
	severity   finding.Severity
	exclude    *regexp.Regexp // nil: nothing is excluded
	vendorOnly bool
	fix        *bool // nil: not tested
	scores     []scoreTest
}

// scoreTest compares one CVSS score.
type scoreTest struct {
	param      string
	vendor     bool
	comparison string
	limit      float64
	of         func(scores) float64
}

var scoreParams = []struct {
	name   string
	vendor bool
	of     func(scores) float64
}{
	{"cvss_v3_base_score", false, func(s scores) float64 { return s.base }},
	{"cvss_v3_exploitability_score", false, func(s scores) float64 { return s.exploitability }},
	{"cvss_v3_impact_score", false, func(s scores) float64 { return s.impact }},
	{"vendor_cvss_v3_base_score", true, func(s scores) float64 { return s.base }},
	{"vendor_cvss_v3_exploitability_score", true, func(s scores) float64 { return s.exploitability }},
	{"vendor_cvss_v3_impact_score", true, func(s scores) float64 { return s.impact }},
}

// noteTimes is told at upload of a rule that counts days.
const noteTimes = "when a vulnerability or its fix was first seen is not known to this version, " +
	"and a time that is not known is taken to be long ago: the days do not hold the rule back"

// compilePackage: vulnerabilities.package.
func compilePackage(v values) (check, string) {
	r := &packageRule{
		class:      v["package_type"],
		comparison: cmp.Or(v["severity_comparison"], ">"),
		severity:   severityOf(v["severity"]),
		vendorOnly: v.boolean("vendor_only", true),
	}
	if v.has("package_path_exclude") {
		r.exclude, _ = compileStart(v["package_path_exclude"]) // checked with the other parameters
	}
	if v.has("fix_available") {
		fix := v.boolean("fix_available", false)
		r.fix = &fix
	}
	for _, p := range scoreParams {
		if v.has(p.name) {
			r.scores = append(r.scores, scoreTest{
				param: p.name, vendor: p.vendor, of: p.of,
				comparison: cmp.Or(v[p.name+"_comparison"], ">="), limit: v.float(p.name),
			})
		}
	}
	note := ""
	if v.has("max_days_since_creation") || v.has("max_days_since_fix") {
		note = noteTimes
	}
	return r.check, note
}

func (r *packageRule) check(e *evaluation) ([]fired, error) {
	var list []fired
	for i, u := range e.vulnerabilities() {
		at, ok := r.fires(&u)
		if !ok {
			continue
		}
		list = append(list, fired{ids: u.triggerIDs(at), message: r.message(&u, at), finding: i})
	}
	return list, nil
}

// fires reports whether a finding is what the rule asks for, and at which of
// its places.
func (r *packageRule) fires(u *vulnerability) (at string, ok bool) {
	f := u.finding
	if r.class != "all" && r.class != u.class() {
		return "", false
	}
	if !compare(int(f.Severity), r.comparison, int(r.severity)) {
		return "", false
	}
	if at, ok = r.place(u); !ok {
		return "", false
	}
	if r.vendorOnly && f.WillNotFix {
		return "", false
	}
	if r.fix != nil && *r.fix != (f.Fixed != "") {
		return "", false
	}
	for _, t := range r.scores {
		if !compare(t.of(u.scores(t.vendor)), t.comparison, t.limit) {
			return "", false
		}
	}
	return at, true
}

// place gives the first place of the finding that is not excluded; only those
// of language packages can be.
func (r *packageRule) place(u *vulnerability) (string, bool) {
	for _, location := range u.finding.Locations {
		at := "/" + strings.TrimPrefix(location, "/")
		if r.exclude == nil || u.os || !r.exclude.MatchString(at) {
			return at, true
		}
	}
	return "", len(u.finding.Locations) == 0
}

// message is Anchore's text for a finding.
func (r *packageRule) message(u *vulnerability, at string) string {
	f := u.finding
	var b strings.Builder
	b.WriteString(strings.ToUpper(f.Severity.String()))
	b.WriteString(" Vulnerability found in " + u.class() + " package type (" + u.typ + ") - ")
	if u.os || at == "" {
		b.WriteString(f.Package + " ")
	} else {
		b.WriteString(at + " ")
	}
	if f.Fixed != "" {
		b.WriteString("(fixed in: " + f.Fixed + ")")
	}
	b.WriteString(r.scorePart(u, false))
	b.WriteString(r.scorePart(u, true))
	b.WriteString("(" + u.id + " - " + f.URL + ")")
	return b.String()
}

// scorePart lists the scores that the rule asked for.
func (r *packageRule) scorePart(u *vulnerability, vendor bool) string {
	var parts []string
	for _, t := range r.scores {
		if score := t.of(u.scores(vendor)); t.vendor == vendor && score != 0 {
			parts = append(parts, t.param+"="+pythonFloat(score))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "(" + strings.Join(parts, " ") + ")"
}

// pythonFloat writes a number as Python prints a float: "7.5", "10.0".
func pythonFloat(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func compare[T int | float64](a T, op string, b T) bool {
	switch op {
	case "=":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case ">":
		return a > b
	case "<=":
		return a <= b
	}
	return a >= b
}
