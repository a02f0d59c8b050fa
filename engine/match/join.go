package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
)

// hit is an advisory that affects a target, the version that ends it, and the
// names that it gives to the finding it becomes part of.
type hit struct {
	advisory *advisory.Advisory
	as       *lookup
	fixed    string
	names    []string
	// aside: another record decides, this one only rates.
	aside bool
}

// join groups the hits of one target: advisories that share a name are one
// vulnerability. The preferred record comes first in its group.
//
// A distribution's erratum (DSA, DLA) names many vulnerabilities that one
// update fixes. It joins none of them, nor gives one the name of another: it is
// added to the groups of its CVEs, and stands alone only for those that have no
// record of their own. What a vendor states of single CVEs beside its errata is
// added last; see addStatements.
func join(hits []hit, done settled) [][]hit {
	var single, errata, stated []hit
	for _, h := range hits {
		switch {
		case isStatement(h.advisory):
			stated = append(stated, h)
		case isErratum(h.advisory):
			errata = append(errata, h)
		default:
			single = append(single, h)
		}
	}
	groups, owner := joinByName(single)
	for _, h := range errata {
		alone := h
		h.names = []string{h.advisory.ID}
		alone.names = h.names
		for _, name := range h.advisory.Aliases {
			if g, ok := owner[name]; ok {
				groups[g] = append(groups[g], h)
			} else {
				alone.names = append(alone.names, name)
			}
		}
		if slices.ContainsFunc(alone.names, isCVE) {
			groups = append(groups, []hit{alone})
		}
	}
	groups = addStatements(groups, stated, done)
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b hit) int { return preference(a.advisory, b.advisory) })
	}
	return groups
}

// joinByName unites hits that share an id or alias, by union-find. owner maps
// each name to the index of its group.
func joinByName(hits []hit) (groups [][]hit, owner map[string]int) {
	parent := make([]int, len(hits))
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	first := map[string]int{}
	for i, h := range hits {
		for _, name := range h.names {
			if j, ok := first[name]; ok {
				parent[root(i)] = root(j)
			} else {
				first[name] = i
			}
		}
	}
	index := map[int]int{}
	for i, h := range hits {
		g, ok := index[root(i)]
		if !ok {
			g = len(groups)
			index[root(i)] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], h)
	}
	owner = map[string]int{}
	for name, i := range first {
		owner[name] = index[root(i)]
	}
	return groups, owner
}

// names lists what an advisory calls a vulnerability, with the CVE that a
// distribution's own id is made of.
func names(a *advisory.Advisory) []string {
	list := append([]string{a.ID}, a.Aliases...)
	if cve, ok := embeddedCVE(a.ID); ok {
		list = append(list, cve)
	}
	return list
}

// embeddedCVE finds the CVE in the id of a distribution's record:
// "DEBIAN-CVE-2023-0286", "ALPINE-CVE-...", "UBUNTU-CVE-...".
func embeddedCVE(id string) (string, bool) {
	i := strings.Index(id, "-CVE-")
	if i <= 0 {
		return "", false
	}
	return id[i+1:], true
}

func isCVE(name string) bool { return strings.HasPrefix(name, "CVE-") }

// isDistro reports whether a record is of a distribution.
func isDistro(a *advisory.Advisory) bool {
	name, _, _ := strings.Cut(a.Ecosystem, ":")
	for _, distros := range distroOf {
		if slices.Contains(distros, name) {
			return true
		}
	}
	return false
}

// isErratum reports whether a distribution's record speaks of an update that
// fixes several vulnerabilities.
func isErratum(a *advisory.Advisory) bool {
	if !isDistro(a) {
		return false
	}
	n := 0
	for _, name := range a.Aliases {
		if isCVE(name) {
			n++
		}
	}
	return n > 1
}

// preference orders records by how well they name a vulnerability: the
// distribution's own, GitHub's, the language's, others.
func preference(a, b *advisory.Advisory) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.ID, b.ID))
}

func rank(a *advisory.Advisory) int {
	switch {
	case isStatement(a):
		return 6
	case isErratum(a):
		return 1
	case isDistro(a):
		return 0
	case strings.HasPrefix(a.ID, "GHSA-"):
		return 2
	case strings.HasPrefix(a.ID, "GO-"):
		return 3
	case strings.HasPrefix(a.ID, "PYSEC-"):
		return 4
	}
	return 5
}

// finding makes one finding of a target and the records that are the same
// vulnerability, the preferred one first.
func (m *matcher) finding(t *target, group []hit) finding.Finding {
	first := group[0].advisory
	f := finding.Finding{
		ID: first.ID, Package: t.pkg.Name, Version: t.pkg.Version, Type: t.pkg.Type, PURL: t.pkg.PURL,
		Feed: first.Ecosystem, Locations: t.locations, Layer: t.pkg.Layer,
	}
	if name := group[0].as.packageName(); name != t.pkg.Name {
		f.MatchedAs = name
	}
	m.origin(&f, t.pkg.Layer)
	for _, h := range group {
		a := h.advisory
		f.Aliases = append(f.Aliases, h.names...)
		if !h.aside {
			f.Fixed = m.laterOr(h.as.ecosystem, f.Fixed, h.fixed)
			f.WillNotFix = f.WillNotFix || a.WillNotFix
			f.VendorStatus = cmp.Or(f.VendorStatus, a.Status)
		}
		f.Class = cmp.Or(f.Class, a.Kind)
		f.Related = append(f.Related, a.Related...)
		f.URL = cmp.Or(f.URL, a.URL)
		f.Summary = cmp.Or(f.Summary, a.Summary)
		if f.Published.IsZero() {
			f.Published = a.Published
		}
		for _, v := range a.CVSS {
			if !slices.Contains(f.CVSS, v) {
				f.CVSS = append(f.CVSS, v)
			}
		}
	}
	f.WillNotFix = f.WillNotFix && f.Fixed == ""
	slices.Sort(f.Aliases)
	f.Aliases = slices.DeleteFunc(slices.Compact(f.Aliases), func(name string) bool { return name == f.ID })
	slices.Sort(f.Related)
	f.Related = slices.Compact(f.Related)
	m.rate(&f, group)
	m.exploited(&f)
	return f
}

// origin tells where the package came from.
func (m *matcher) origin(f *finding.Finding, layer int) {
	if layer >= 0 && layer < len(m.im.Layers) {
		f.LayerDigest = m.im.Layers[layer].String()
	}
	if layer >= 0 && layer < len(m.im.Instructions) {
		f.Instruction = m.im.Instructions[layer]
	}
}

// exploited adds what is known of attacks: of an erratum, those on any of the
// vulnerabilities that it fixes.
func (m *matcher) exploited(f *finding.Finding) {
	for _, name := range slices.Concat([]string{f.ID}, f.Aliases, f.Related) {
		if !isCVE(name) {
			continue
		}
		facts, ok, err := m.ix.CVE(name)
		if err != nil || !ok {
			continue
		}
		if facts.KEV != nil && f.KEV == nil {
			f.KEV = &finding.KEV{CVE: name, Added: facts.KEV.Added, Due: facts.KEV.Due, Ransomware: facts.KEV.Ransomware}
		}
		if facts.EPSS > f.EPSS {
			f.EPSS, f.EPSSPercentile = facts.EPSS, facts.Percentile
		}
	}
}

// laterOr gives the later of two fixes; where they cannot be compared the one
// of the preferred record stands.
func (m *matcher) laterOr(ecosystem, a, b string) string {
	v, err := m.later(ecosystem, a, b)
	if err != nil {
		return a
	}
	return v
}
