// Package match compares what is in an image with what the advisories say and
// gives the findings: one for each installed package and vulnerability.
//
// It knows no policy, and not how advisories are stored or fetched: it asks an
// Index. What cannot be compared, and what no data cover, is a gap in the
// result, never "not affected". Start with Match; affected.go holds the rule of
// one advisory, join.go makes findings of the advisories that hit.
package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/pkgver"
)

// Index answers for one revision of the vulnerability data. All methods are
// safe for concurrent use and do not block on a network.
type Index interface {
	// Lookup gives the advisories about one package of one ecosystem; none is
	// an empty answer and no error. The name is normalised by the index.
	Lookup(ecosystem, pkg string) ([]advisory.Advisory, error)
	// Score gives NVD's judgement of a CVE; false when there is none.
	Score(cve string) (advisory.Score, bool, error)
	// CVE gives what is known of a CVE beyond the advisories: exploitation and
	// its probability; false when nothing is.
	CVE(cve string) (advisory.CVEFacts, bool, error)
	// Covers says how much the data have for an ecosystem with its release
	// suffix; false when they have nothing.
	Covers(ecosystem string) (advisory.Coverage, bool)
}

// Key is what an image was judged by: a package of an ecosystem.
type Key = advisory.Key

// Result is what the data say of one image.
type Result struct {
	Findings []finding.Finding // vulnerabilities before other errata, by severity, greatest first, then package, then CVE
	Gaps     []inventory.Gap   // what could not be compared or has no data
	// Keys is everything that was looked up, sorted, without repetition: a change
	// of the advisories of one of them can change the findings.
	Keys []Key
	// Covered is false when the image has system packages and the data have
	// nothing for its distribution and release.
	Covered bool
	// Distro tells how much the data have for the image's distribution; zero
	// when they have nothing.
	Distro advisory.Coverage
}

// Vulnerabilities are the findings without errata that mend none.
func (r *Result) Vulnerabilities() []finding.Finding {
	n := slices.IndexFunc(r.Findings, func(f finding.Finding) bool { return !f.IsVulnerability() })
	if n < 0 {
		n = len(r.Findings)
	}
	return r.Findings[:n]
}

// Codes of the gaps that matching makes.
const (
	GapNoDistroData    = "no-data-for-distribution"
	GapNoEcosystemData = "no-data-for-ecosystem"
	GapIncomparable    = "version-incomparable"
	GapUnreadable      = "data-unreadable"
	GapEndOfLife       = "distribution-end-of-life"
)

// Unsupported gives a gap when the vendor has ended the support of the image's
// distribution: newer vulnerabilities are in no data.
func Unsupported(d inventory.Distro, now time.Time) []inventory.Gap {
	end, known := d.EndOfLife()
	if !known || now.Before(end) {
		return nil
	}
	return []inventory.Gap{{
		Kind: inventory.Partial, Code: GapEndOfLife, Layer: -1,
		Detail: fmt.Sprintf("the vendor's support of %s ended on %s: vulnerabilities that were found later are in no data", distroName(d), end.Format(time.DateOnly)),
	}}
}

// Match judges an inventory by the advisories of an index. It changes neither.
func Match(im *inventory.Image, ix Index) Result {
	m := &matcher{im: im, ix: ix, compare: pkgver.Compare, uncovered: map[string]int{}}
	m.coverage()
	for _, t := range m.targets() {
		m.match(t)
	}
	m.reportUncovered()
	m.sort()
	return m.res
}

// matcher is the state of one call of Match.
type matcher struct {
	im      *inventory.Image
	ix      Index
	compare func(ecosystem, a, b string) (int, error)
	res     Result

	distroCovered bool           // the data have something for the image's release
	uncovered     map[string]int // packages by ecosystem that no data cover
	unserved      int            // system packages that the distribution's data do not speak of
}

// coverage finds out what the data have for the image's distribution.
func (m *matcher) coverage() {
	d := m.im.Distro
	for _, ecosystem := range append([]string{d.Ecosystem}, d.Also...) {
		if ecosystem == "" || m.distroCovered {
			continue
		}
		m.res.Distro, m.distroCovered = m.ix.Covers(ecosystem)
	}
	m.res.Covered = m.distroCovered || !slices.ContainsFunc(m.im.Packages, func(p inventory.Package) bool {
		return inventory.IsSystem(p.Type)
	})
}

// match looks one target up and adds its findings and gaps.
func (m *matcher) match(t *target) {
	m.count(t)
	var hits []hit
	var unclear []string
	denied := denials{}
	done := settled{}
	for i := range t.lookups {
		l := &t.lookups[i]
		m.res.Keys = append(m.res.Keys, Key{Ecosystem: l.ecosystem, Package: advisory.NormalizeName(l.ecosystem, l.name)})
		advisories, err := m.ix.Lookup(l.ecosystem, l.name)
		if err != nil {
			m.gap(inventory.Blind, GapUnreadable, t, fmt.Sprintf("the advisories of %s package %q could not be read", l.ecosystem, l.name))
			return
		}
		for i := range advisories {
			a := &advisories[i]
			if otherModule(a, t) {
				continue
			}
			fixed, affected, err := m.affected(a, l)
			if err == nil {
				done.note(a)
			}
			switch {
			case err != nil:
				unclear = append(unclear, a.ID)
			case affected && a.Status == advisory.StatusNotAffected:
				// Of a stream, or of none: a package of another one is not meant.
				if a.Module == t.pkg.Module {
					deny(denied, names(a), !l.ofSource())
				}
			case affected:
				hits = append(hits, hit{advisory: a, as: l, fixed: fixed, names: names(a)})
			}
		}
	}
	if len(unclear) > 0 {
		slices.Sort(unclear)
		m.gap(inventory.Partial, GapIncomparable, t, fmt.Sprintf("version %q of %s package %q cannot be compared with %s",
			t.lookups[0].version, t.lookups[0].ecosystem, t.lookups[0].name, abridge(slices.Compact(unclear))))
	}
	for _, group := range join(admitted(hits, denied), done) {
		m.res.Findings = append(m.res.Findings, m.finding(t, group))
	}
}

// otherModule reports whether an advisory is about another module stream than
// the package is of. A package that is of some stream, and does not say of
// which, is taken to be of any.
func otherModule(a *advisory.Advisory, t *target) bool {
	if a.Module == "" || a.Module == t.pkg.Module {
		return false
	}
	return t.pkg.Module != "" || !strings.Contains(t.pkg.Version, ".module")
}

// denials are the names of what the vendor says does not affect the package; true
// when it says so of the package itself, not of its source package alone.
type denials map[string]bool

// deny notes the CVEs among names; of a record without any, all its names.
func deny(denied denials, names []string, itself bool) {
	hasCVE := slices.ContainsFunc(names, isCVE)
	for _, name := range names {
		if !hasCVE || isCVE(name) {
			denied[name] = denied[name] || itself
		}
	}
}

// admitted drops the hits of which every CVE is denied by the vendor. What is
// said of the source package does not deny what is said of the package itself.
func admitted(hits []hit, denied denials) []hit {
	if len(denied) == 0 {
		return hits
	}
	return slices.DeleteFunc(hits, func(h hit) bool {
		some := false
		for _, name := range h.names {
			itself, is := denied[name]
			is = is && (itself || h.as.ofSource())
			if isCVE(name) && !is {
				return false
			}
			some = some || is
		}
		return some
	})
}

// count counts a target that no data speak of. An ecosystem without data is
// still looked up, so that its key is known when data come.
func (m *matcher) count(t *target) {
	switch {
	case t.system:
		if len(t.lookups) == 0 || !m.distroCovered {
			m.unserved++
		}
	case len(t.lookups) == 0:
		m.uncovered[t.pkg.Type]++
	default:
		if _, ok := m.ix.Covers(t.lookups[0].ecosystem); !ok {
			m.uncovered[t.lookups[0].ecosystem]++
		}
	}
}

// gap adds a gap about one target.
func (m *matcher) gap(kind inventory.GapKind, code string, t *target, detail string) {
	m.res.Gaps = append(m.res.Gaps, inventory.Gap{
		Kind: kind, Code: code, Path: t.locations[0], Layer: t.pkg.Layer, Detail: detail,
	})
}

// reportUncovered makes one gap for the distribution and one for each
// ecosystem that the data have nothing for.
func (m *matcher) reportUncovered() {
	if m.unserved > 0 {
		m.res.Gaps = append(m.res.Gaps, inventory.Gap{
			Kind: inventory.Blind, Code: GapNoDistroData, Layer: -1,
			Detail: fmt.Sprintf("there are no vulnerability data for %d system packages of %s", m.unserved, distroName(m.im.Distro)),
		})
	}
	for ecosystem, n := range m.uncovered {
		kind := inventory.Blind
		if ecosystem == ecosystemOf[inventory.TypeBinary] {
			kind = inventory.Partial // more than most scanners see at all; no package manager has promised a list of them
		}
		m.res.Gaps = append(m.res.Gaps, inventory.Gap{
			Kind: kind, Code: GapNoEcosystemData, Layer: -1,
			Detail: fmt.Sprintf("there are no vulnerability data for %d %s packages", n, ecosystem),
		})
	}
}

// distroName says for a person which distribution an image has.
func distroName(d inventory.Distro) string {
	switch {
	case d.ID == "":
		return "an unknown distribution"
	case d.Ecosystem != "":
		return fmt.Sprintf("%s %s (%s)", d.ID, d.VersionID, d.Ecosystem)
	}
	return strings.TrimSpace(fmt.Sprintf("%q %q", d.ID, d.VersionID))
}

// abridge lists the first few names and counts the rest.
func abridge(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more advisories", strings.Join(names[:shown], ", "), len(names)-shown)
}

// sort brings the result into its one order.
func (m *matcher) sort() {
	slices.SortFunc(m.res.Findings, func(a, b finding.Finding) int {
		return cmp.Or(
			cmp.Compare(a.Class, b.Class),
			cmp.Compare(b.Severity, a.Severity),
			cmp.Compare(a.Package, b.Package),
			cmp.Compare(a.CVE(), b.CVE()),
			cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Type, b.Type),
			cmp.Compare(a.MatchedAs, b.MatchedAs),
			cmp.Compare(a.Locations[0], b.Locations[0]),
		)
	})
	slices.SortFunc(m.res.Gaps, func(a, b inventory.Gap) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Detail, b.Detail))
	})
	slices.SortFunc(m.res.Keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Package, b.Package))
	})
	m.res.Keys = slices.Compact(m.res.Keys)
}
