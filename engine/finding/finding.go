// Package finding holds what is wrong with an image: one Finding for each
// package and group of advisories that are the same vulnerability.
//
// It knows neither feeds nor policy. Start with Finding.
package finding

import "time"

// Severity is Anchore's scale; the zero value is unknown.
type Severity int

const (
	Unknown Severity = iota
	Negligible
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"unknown", "negligible", "low", "medium", "high", "critical"}

// String gives the lower-case word.
func (s Severity) String() string {
	if s < Unknown || s > Critical {
		return severityNames[Unknown]
	}
	return severityNames[s]
}

// MarshalText writes the lower-case word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the lower-case word; any other text is Unknown.
func (s *Severity) UnmarshalText(text []byte) error {
	*s, _ = ParseSeverity(string(text))
	return nil
}

// ParseSeverity reads a lower-case word of the scale.
func ParseSeverity(word string) (Severity, bool) {
	for i, name := range severityNames {
		if name == word {
			return Severity(i), true
		}
	}
	return Unknown, false
}

// Finding is one vulnerability of one installed package.
type Finding struct {
	ID      string   `json:"id"`      // of the advisory; see Aliases for the CVE
	Aliases []string `json:"aliases"` // every other name: CVE, GHSA, records joined into this finding
	Package string   `json:"package"` // as installed
	Version string   `json:"version"`
	Type    string   `json:"type"`
	PURL    string   `json:"purl,omitempty"`
	// MatchedAs is the name under which the advisory knows the package, when it
	// is not Package (the source package of Debian, the origin of Alpine, the CPE
	// where only NVD knows the product: the least exact of all matches).
	MatchedAs      string    `json:"matched_as,omitempty"`
	Fixed          string    `json:"fixed,omitempty"` // smallest version that is free of it; empty when there is none
	WillNotFix     bool      `json:"will_not_fix,omitempty"`
	Severity       Severity  `json:"severity"`
	SeveritySource string    `json:"severity_source,omitempty"`
	CVSS           []string  `json:"cvss,omitempty"`  // vectors of the advisories themselves
	NVD            string    `json:"nvd,omitempty"`   // NVD's vector, where the advisories have no CVSS 3
	Score          float64   `json:"score,omitempty"` // highest CVSS v3 base score; 0 when there is none
	Feed           string    `json:"feed"`            // ecosystem of the advisory
	URL            string    `json:"url,omitempty"`
	Summary        string    `json:"summary,omitempty"`
	Published      time.Time `json:"published,omitzero"`
	Locations      []string  `json:"locations"`
	Layer          int       `json:"layer"`
	// LayerDigest and Instruction are of the layer that brought the package.
	LayerDigest string `json:"layer_digest,omitempty"`
	Instruction string `json:"instruction,omitempty"`
	// Class is "" for a vulnerability, "bugfix" or "enhancement" for an erratum
	// that mends no vulnerability. Policies speak of vulnerabilities alone.
	Class string `json:"class,omitempty"`
	// Related are the CVEs that an erratum is about, where its record does not
	// say that it is the same as one of them.
	Related []string `json:"related,omitempty"`
	// VendorStatus is what the vendor says: "affected", "will-not-fix",
	// "fix-deferred", "end-of-life", "under-investigation", ...
	VendorStatus string `json:"vendor_status,omitempty"`
	// KEV: it is known to be used in attacks; nil when CISA does not list it.
	KEV *KEV `json:"kev,omitempty"`
	// EPSS is the probability of an attack in the next 30 days, 0 to 1, and
	// EPSSPercentile the share of all CVEs with a lower one. FIRST's model.
	EPSS           float64 `json:"epss,omitempty"`
	EPSSPercentile float64 `json:"epss_percentile,omitempty"`
}

// KEV is an entry of CISA's catalogue of known exploited vulnerabilities.
type KEV struct {
	CVE        string    `json:"cve"`
	Added      time.Time `json:"added,omitzero"`
	Due        time.Time `json:"due,omitzero"`
	Ransomware bool      `json:"ransomware,omitempty"`
}

// IsVulnerability is false for errata that mend none.
func (f *Finding) IsVulnerability() bool { return f.Class == "" }

// CVE returns the name that people know the vulnerability by: the first CVE
// among ID and Aliases, else ID.
func (f *Finding) CVE() string {
	for _, name := range append([]string{f.ID}, f.Aliases...) {
		if len(name) > 4 && name[:4] == "CVE-" {
			return name
		}
	}
	return f.ID
}
