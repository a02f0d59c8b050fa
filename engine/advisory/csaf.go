package advisory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/pkgver"
)

// Limits of one CSAF document. The number of objects and elements bounds the
// memory that decoding takes; the largest real documents have a tenth of it.
const (
	MaxCSAF         = 64 << 20 // bytes
	maxCSAFObjects  = 1 << 20
	maxCSAFElements = 4 << 20
)

// CSAFDocument is what a document says of packages of the distributions that
// are compared: one Advisory for each package, module stream and status, all
// with the document's ID.
type CSAFDocument struct {
	ID         string
	Modified   time.Time
	Advisories []Advisory
	// Unclear counts the product ids that could not be understood, whose
	// statements are lost; Example is one of them.
	Unclear int
	Example string
}

// csafDocument is the part of a CSAF document that is used.
// https://docs.oasis-open.org/csaf/csaf/v2.0/os/csaf-v2.0-os.html
type csafDocument struct {
	Document struct {
		Severity struct {
			Text string `json:"text"`
		} `json:"aggregate_severity"`
		Notes      []*csafNote      `json:"notes"`
		References []*csafReference `json:"references"`
		Title      string           `json:"title"`
		Tracking   struct {
			ID       string `json:"id"`
			Status   string `json:"status"`
			Modified string `json:"current_release_date"`
			Released string `json:"initial_release_date"`
		} `json:"tracking"`
	} `json:"document"`
	Tree            csafTree             `json:"product_tree"`
	Vulnerabilities []*csafVulnerability `json:"vulnerabilities"`
}

type csafNote struct {
	Category string `json:"category"`
	Text     string `json:"text"`
}

type csafReference struct {
	Category string `json:"category"`
	URL      string `json:"url"`
}

// FromCSAF reads a CSAF 2.0 document, VEX or security advisory, of Red Hat or
// SUSE. A document that was withdrawn gives no Advisory. Errors wrap
// ErrBadRecord.
func FromCSAF(raw []byte) (CSAFDocument, error) {
	if len(raw) > MaxCSAF || bytes.Count(raw, []byte{'{'}) > maxCSAFObjects || bytes.Count(raw, []byte{','}) > maxCSAFElements {
		return CSAFDocument{}, fmt.Errorf("%w: CSAF document of %d bytes, or of too many parts", ErrBadRecord, len(raw))
	}
	var doc csafDocument
	if err := json.Unmarshal(raw, &doc); err != nil {
		return CSAFDocument{}, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	tracking := doc.Document.Tracking
	modified, err := time.Parse(time.RFC3339, tracking.Modified)
	if err != nil || !plain(tracking.ID, maxID) {
		return CSAFDocument{}, fmt.Errorf("%w: CSAF document %.64q of %.32q", ErrBadRecord, tracking.ID, tracking.Modified)
	}
	out := CSAFDocument{ID: tracking.ID, Modified: seconds(modified)}
	if tracking.Status == "deleted" || doc.rejected() {
		return out, nil
	}
	products, err := doc.Tree.index()
	if err != nil {
		return CSAFDocument{}, fmt.Errorf("%w: %s: %w", ErrBadRecord, tracking.ID, err)
	}
	r := csafReader{doc: &doc, products: products, found: map[csafFound]*csafEntry{}, unclear: map[string]bool{}}
	for _, v := range doc.Vulnerabilities {
		if v != nil && plain(v.CVE, maxID) {
			r.vulnerability(v)
		}
	}
	out.Advisories = r.advisories(out)
	out.Unclear = len(r.unclear)
	if out.Unclear > 0 {
		out.Example = line(slices.Min(slices.Collect(maps.Keys(r.unclear))))
	}
	return out, nil
}

// rejections are MITRE's ways to say that a CVE is none, which vendors repeat
// as prose: CSAF has no field for it.
var rejections = []string{"** REJECT **", "DO NOT USE THIS CANDIDATE NUMBER", "DO NOT USE THIS CVE RECORD", "HAS BEEN REJECTED OR WITHDRAWN"}

func (d *csafDocument) rejected() bool {
	for _, n := range d.Document.Notes {
		if n == nil || n.Category != "description" {
			continue
		}
		text := strings.ToUpper(n.Text[:min(len(n.Text), 4096)])
		if slices.ContainsFunc(rejections, func(r string) bool { return strings.Contains(text, r) }) {
			return true
		}
	}
	return false
}

// csafReader collects what a document says.
type csafReader struct {
	doc      *csafDocument
	products *csafProducts
	found    map[csafFound]*csafEntry
	unclear  map[string]bool // product ids
}

// csafSubject is what a statement is about, as the index is asked for it.
type csafSubject struct {
	ecosystem string
	name      string
	module    string
}

// csafFound is a subject with one kind of statement about it.
type csafFound struct {
	csafSubject
	class  csafClass
	status string
}

// csafEntry is what is said of a subject.
type csafEntry struct {
	cves    []string
	fixed   string // latest of the versions with the fix
	status  string // of what is open
	class   csafClass
	rating  string
	vectors []string
	url     string
	summary string
}

// csafClass is a kind of statement. Of several about one subject the one with
// the greatest class counts: a fix says more than "affected", and "affected"
// must not be hidden by "not affected".
type csafClass int

const (
	csafClear csafClass = iota + 1
	csafInvestigated
	csafOpen
	csafFixed
)

// csafStatuses are the lists of product_status, in the order in which they are
// read.
var csafStatuses = []struct {
	name  string
	class csafClass
}{
	{"fixed", csafFixed}, {"first_fixed", csafFixed}, {"recommended", csafFixed},
	{"known_affected", csafOpen}, {"first_affected", csafOpen}, {"last_affected", csafOpen},
	{"under_investigation", csafInvestigated}, {"known_not_affected", csafClear},
}

// vulnerability reads one vulnerability of the document.
func (r *csafReader) vulnerability(v *csafVulnerability) {
	said := v.said(r.products)
	subjects := map[csafSubject]*csafEntry{}
	for _, list := range csafStatuses {
		for _, id := range v.Status[list.name] {
			c, known := r.products.component(id)
			switch {
			case known == csafUnclear || known == csafKnown && list.class == csafFixed && c.version == "":
				r.unclear[id] = true
			case known == csafKnown:
				for _, s := range c.subjects(list.class) {
					e := subjects[s]
					if e == nil {
						e = &csafEntry{}
						subjects[s] = e
					}
					e.add(s.ecosystem, list.class, c.version, said[id])
				}
			}
		}
	}
	summary := v.summary(r.doc)
	for s, e := range subjects {
		e.summary, e.cves = summary, []string{v.CVE}
		if e.url == "" || e.class != csafFixed {
			e.url = v.url(r.doc)
		}
		r.merge(csafFound{s, e.class, e.status}, e)
	}
}

// add takes one more statement about the subject.
func (e *csafEntry) add(ecosystem string, class csafClass, version string, said *csafSaid) {
	if said == nil {
		said = &csafSaid{}
	}
	if class > e.class {
		e.class, e.status = class, ""
	}
	switch {
	case class != e.class:
		return
	case class == csafFixed:
		e.fixed = laterFix(ecosystem, e.fixed, version)
		e.url = cmp.Or(e.url, said.url)
	case class == csafOpen:
		e.status = cmp.Or(e.status, said.status, StatusAffected)
	case class == csafInvestigated:
		e.status = StatusUnderInvestigation
	case class == csafClear:
		e.status = StatusNotAffected
	}
	e.rating = higherRating(e.rating, said.rating)
	e.vectors = union(e.vectors, said.vectors)
}

// merge puts what one vulnerability says beside what others of the document do.
func (r *csafReader) merge(key csafFound, e *csafEntry) {
	known := r.found[key]
	if known == nil {
		r.found[key] = e
		return
	}
	known.cves = union(known.cves, e.cves)
	known.fixed = laterFix(key.ecosystem, known.fixed, e.fixed)
	known.rating = higherRating(known.rating, e.rating)
	known.vectors = union(known.vectors, e.vectors)
}

// advisories gives what was collected, in one order.
func (r *csafReader) advisories(out CSAFDocument) []Advisory {
	released, _ := time.Parse(time.RFC3339, r.doc.Document.Tracking.Released)
	list := make([]Advisory, 0, len(r.found))
	for key, e := range r.found {
		a := Advisory{
			ID: out.ID, Modified: out.Modified, Published: seconds(released), Ecosystem: key.ecosystem, Package: key.name, Module: key.module, Status: key.status,
		}
		events := []Event{{Introduced: "0"}}
		if e.fixed != "" {
			events = append(events, Event{Fixed: e.fixed})
		}
		a.Ranges = []Range{{Type: "ECOSYSTEM", Events: events}}
		for _, cve := range e.cves {
			if cve != a.ID {
				a.Aliases = append(a.Aliases, cve)
			}
		}
		slices.Sort(a.Aliases)
		// What does not affect is never shown: the names are all that counts.
		if key.class != csafClear {
			a.WillNotFix = key.status == StatusWillNotFix || key.status == StatusEndOfLife
			a.Summary, a.URL, a.CVSS = e.summary, e.url, e.vectors
			r.rate(&a, e.rating)
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(x, y Advisory) int {
		return cmp.Or(strings.Compare(x.Ecosystem, y.Ecosystem), strings.Compare(x.Package, y.Package), strings.Compare(x.Module, y.Module), strings.Compare(x.Status, y.Status))
	})
	return list
}

// rate sets the severity word. An impact is the vendor's judgement of these
// products; the document's own severity is a word like that of other records.
func (r *csafReader) rate(a *Advisory, impact string) {
	source := pkgver.Base(a.Ecosystem)
	if impact != "" {
		a.Rating, a.RatingSource, a.VendorFinal = impact, source, true
		return
	}
	if rating, ok := ratings[strings.ToLower(r.doc.Document.Severity.Text)]; ok {
		a.Rating, a.RatingSource = rating, source
	}
}

// ratingOrder is Anchore's scale.
var ratingOrder = []string{"", "negligible", "low", "medium", "high", "critical"}

func higherRating(a, b string) string {
	if slices.Index(ratingOrder, b) > slices.Index(ratingOrder, a) {
		return b
	}
	return a
}

// laterFix keeps the later of two fixes: a release has several builds with the
// fix, one for each minor release, and only from the last on is it sure to be in.
func laterFix(ecosystem, a, b string) string {
	switch {
	case a == "":
		return b
	case b == "" || a == b:
		return a
	}
	if c, err := pkgver.Compare(ecosystem, a, b); err == nil && c < 0 {
		return b
	}
	return a
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) && len(a) < maxAliases {
			a = append(a, s)
		}
	}
	return a
}
