package match

import (
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/pkgver"
)

// statements are the distributions that publish errata and, beside them, what
// they state of single CVEs (CSAF, VEX): not affected, will not be fixed, fixed.
// With each the suffix of names that statements alone have: of source packages
// where errata are about binary ones, of binary packages where it is the other
// way round.
var statements = map[string]string{
	"Red Hat":  advisory.SourceSuffix,
	"SUSE":     advisory.BinarySuffix,
	"openSUSE": advisory.BinarySuffix,
}

// isStatement reports whether a record is what a vendor states of a single CVE.
func isStatement(a *advisory.Advisory) bool {
	return isCVE(a.ID) && statements[pkgver.Base(a.Ecosystem)] != ""
}

// packageName is the name of a lookup without the suffix of statements.
func (l *lookup) packageName() string {
	if suffix := statements[pkgver.Base(l.ecosystem)]; suffix != "" {
		return strings.TrimSuffix(l.name, suffix)
	}
	return l.name
}

// ofSource reports whether a lookup is for what a vendor says of the source
// package, where it speaks of binary packages too.
func (l *lookup) ofSource() bool {
	switch suffix := statements[pkgver.Base(l.ecosystem)]; suffix {
	case advisory.SourceSuffix:
		return strings.HasSuffix(l.name, suffix)
	case advisory.BinarySuffix:
		return !strings.HasSuffix(l.name, suffix)
	}
	return false
}

// settled tells of CVEs who has said which version of the target is free of
// them.
type settled map[string]settlement

type settlement int

const (
	byStatement settlement = iota + 1
	byErratum
)

// note takes a record of a distribution that publishes statements, whether the
// target is affected or has the fix.
func (s settled) note(a *advisory.Advisory) {
	if statements[pkgver.Base(a.Ecosystem)] == "" || !hasFix(a) {
		return
	}
	by := byErratum
	if isStatement(a) {
		by = byStatement
	}
	for _, name := range slices.Concat(names(a), a.Related) {
		if isCVE(name) {
			s[name] = max(s[name], by)
		}
	}
}

func hasFix(a *advisory.Advisory) bool {
	for _, r := range a.Ranges {
		if slices.ContainsFunc(r.Events, func(e advisory.Event) bool { return e.Fixed != "" }) {
			return true
		}
	}
	return false
}

// addStatements adds what a vendor states of single CVEs to the groups of errata
// that name them, where it only rates: id and fix are the erratum's. One that is
// in no group becomes a finding, unless a fix is known and the target has it: the
// statement that a package is affected is often about all its versions, and
// stays where only one package of a source has got the fix.
func addStatements(groups [][]hit, stated []hit, done settled) [][]hit {
	var alone []hit
	for _, h := range stated {
		found := false
		for i, g := range groups {
			if slices.ContainsFunc(g, func(other hit) bool { return speaksOf(&other, h.advisory.ID) }) {
				aside := h
				aside.aside = true
				groups[i], found = append(groups[i], aside), true
			}
		}
		by := done[h.advisory.ID]
		if !found && by != byErratum && (by == 0 || hasFix(h.advisory)) {
			alone = append(alone, h)
		}
	}
	lone, _ := joinByName(alone)
	return append(groups, lone...)
}

// speaksOf reports whether an erratum in a group is about a CVE.
func speaksOf(h *hit, cve string) bool {
	return !h.aside && (slices.Contains(h.names, cve) || slices.Contains(h.advisory.Related, cve))
}
