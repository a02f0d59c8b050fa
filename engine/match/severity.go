package match

import (
	"slices"

	"github.com/pratique/pratique/engine/finding"
)

// SourceNVD is the SeveritySource of a severity that NVD gave.
const SourceNVD = "NVD"

// rate gives a finding its severity and score. In this order: what the vendor
// says of this package in this release, the CVSS of the records, NVD's of the
// CVE, a severity word of the records, unknown.
func (m *matcher) rate(f *finding.Finding, group []hit) {
	own, source := ownCVSS(group)
	for _, c := range own {
		if c.Version == 3 {
			f.Score = max(f.Score, c.Base)
		}
	}
	nvd, hasNVD := CVSS{}, false
	if f.Score == 0 {
		if nvd, f.NVD, hasNVD = m.nvd(f); nvd.Version == 3 {
			f.Score = nvd.Base
		}
	}
	if severity, from, ok := rating(group, true); ok && ratesAll(group) {
		f.Severity, f.SeveritySource = severity, from
		return
	}
	if len(own) > 0 {
		for _, c := range own {
			f.Severity = max(f.Severity, c.Severity())
		}
		f.SeveritySource = "CVSS of " + source
		return
	}
	if hasNVD {
		f.Severity, f.SeveritySource = nvd.Severity(), SourceNVD
		return
	}
	if severity, from, ok := rating(group, false); ok {
		f.Severity, f.SeveritySource = severity, from
	}
}

// ownCVSS reads the vectors of the records, newest generations first: version 2
// counts only where there is nothing newer. source names the record with the
// highest score. A vector that cannot be read is passed over.
func ownCVSS(group []hit) (scores []CVSS, source string) {
	var old []CVSS
	var oldSource string
	best, bestOld := -1.0, -1.0
	for _, h := range group {
		for _, vector := range h.advisory.CVSS {
			c, ok := ParseCVSS(vector)
			switch {
			case !ok:
			case c.Version == 2:
				old = append(old, c)
				if c.Base > bestOld {
					bestOld, oldSource = c.Base, h.advisory.ID
				}
			default:
				scores = append(scores, c)
				if c.Base > best {
					best, source = c.Base, h.advisory.ID
				}
			}
		}
	}
	if len(scores) == 0 {
		return old, oldSource
	}
	return scores, source
}

// nvd asks for NVD's judgement of the finding's CVEs and gives the highest. A
// score that cannot be read from the index counts as none: the severity stays
// unknown, which policies can tell from low.
func (m *matcher) nvd(f *finding.Finding) (best CVSS, vector string, ok bool) {
	for _, name := range append([]string{f.ID}, f.Aliases...) {
		if !isCVE(name) {
			continue
		}
		score, found, err := m.ix.Score(name)
		if err != nil || !found {
			continue
		}
		c, parsed := ParseCVSS(score.Vector)
		switch {
		case parsed:
		case score.Base > 0: // the number alone can be read
			c = CVSS{Version: 3, Base: score.Base}
		default:
			continue
		}
		if !ok || c.Base > best.Base {
			best, vector, ok = c, score.Vector, true
		}
	}
	return best, vector, ok
}

// ratesAll reports whether the vendor's last word is said of every CVE of the
// finding: of an erratum it may be known for some alone.
func ratesAll(group []hit) bool {
	said := map[string]bool{}
	for _, h := range group {
		if h.advisory.VendorFinal && h.advisory.Rating != "" {
			for _, name := range h.names {
				said[name] = true
			}
		}
	}
	for _, h := range group {
		for _, name := range slices.Concat(h.names, h.advisory.Related) {
			if isCVE(name) && !said[name] {
				return false
			}
		}
	}
	return true
}

// rating gives the highest severity word of the records; final asks for those
// that are the vendor's last word.
func rating(group []hit, final bool) (severity finding.Severity, source string, ok bool) {
	for _, h := range group {
		a := h.advisory
		if a.VendorFinal != final || a.Rating == "" {
			continue
		}
		if s, known := finding.ParseSeverity(a.Rating); known && (!ok || s > severity) {
			severity, source, ok = s, a.RatingSource, true
		}
	}
	return severity, source, ok
}
