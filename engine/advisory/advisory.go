// Package advisory holds vulnerability records and the immutable, memory-mapped
// file in which they are looked up by ecosystem and package.
//
// It knows the shape of OSV and NVD records but not where they come from (that
// is internal/feeds) nor how a version is compared (engine/pkgver,
// engine/match). Start with Advisory and Index.
package advisory

import "time"

// Advisory is one record about one package of one ecosystem: an OSV record cut
// down to what matching, policy and people need. An OSV record that names
// several packages becomes several Advisories.
type Advisory struct {
	ID        string   // "DEBIAN-CVE-2023-0286", "GHSA-...", "GO-2023-2102"
	Aliases   []string // OSV aliases and upstream, never related
	Ecosystem string   // with release suffix: "Debian:12", "Alpine:v3.20", "Go"
	Package   string   // name as the ecosystem's records use it (source package for Debian and Alpine)
	Summary   string   // one line, at most 200 bytes
	URL       string   // where a person reads more
	Published time.Time
	Modified  time.Time
	Ranges    []Range
	Versions  []string // versions that are affected by enumeration
	CVSS      []string // vectors, "CVSS:3.1/AV:N/..."; CVSS v2 without prefix
	// Rating is a severity word that the record itself gives, lower case in
	// Anchore's order (negligible low medium high critical), or "".
	Rating string
	// RatingSource names where Rating comes from ("GHSA", "Debian urgency").
	RatingSource string
	// VendorFinal means that Rating is the vendor's judgement of this package
	// in this release and beats any CVSS (Debian "unimportant").
	VendorFinal bool
	// WillNotFix: the vendor has said that this release gets no fix.
	WillNotFix bool
	// Related are the CVEs that an erratum is about, where the record does not
	// give them as other names of itself (AlmaLinux).
	Related []string
	// Kind is "" for a vulnerability; see the Kind constants for errata that mend
	// none.
	Kind string
	// Status is what the vendor says of the package in this release; "" when it
	// says no more than the ranges. See the Status constants.
	Status string
	// Module is the rpm module stream that the record is about, "nodejs:18"; ""
	// when it is about no module.
	Module string
}

// Kinds of errata that mend no vulnerability.
const (
	KindBugFix      = "bugfix"
	KindEnhancement = "enhancement"
)

// What vendors say of a package. A record with StatusNotAffected speaks of
// versions that the flaw does not concern.
const (
	StatusAffected           = "affected"
	StatusNotAffected        = "not-affected"
	StatusWillNotFix         = "will-not-fix"
	StatusFixDeferred        = "fix-deferred"
	StatusEndOfLife          = "end-of-life"
	StatusUnderInvestigation = "under-investigation"
)

// Range is one OSV range: half-open intervals of affected versions.
// https://ossf.github.io/osv-schema/#affectedranges-field
type Range struct {
	Type   string // "SEMVER", "ECOSYSTEM"; GIT ranges are left out of the index
	Events []Event
}

// Event is one event of a range; exactly one field is set. Introduced "0" means
// from the beginning.
type Event struct {
	Introduced   string
	Fixed        string
	LastAffected string
	Limit        string
}

// Score is what NVD says of one CVE.
type Score struct {
	CVE    string
	Vector string  // of the newest CVSS 3; where there is none, of CVSS 4, else of CVSS 2
	Base   float64 // base score of Vector
	Source string  // who scored: "nvd@nist.gov", ...
	// Modified is when NVD changed the entry; FromNVD alone tells it, no index
	// has it.
	Modified time.Time
}

// Revision names one state of the data. Sequence rises with every build on one
// installation; Digest is of the content, so equal data have equal digests.
type Revision struct {
	Sequence uint64    `json:"sequence"`
	Digest   string    `json:"digest"`
	Built    time.Time `json:"built"`
}

// Coverage says how much one ecosystem (with its release suffix) has.
type Coverage struct {
	Ecosystem string    `json:"ecosystem"`
	Source    string    `json:"source"` // name of the feed source
	Records   int       `json:"records"`
	Newest    time.Time `json:"newest"` // newest modification of a record
	Synced    time.Time `json:"synced"` // when the source was last asked with success
}
