package advisory

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/pkgver"
)

// ratings brings the words of all databases onto Anchore's scale.
var ratings = map[string]string{
	"negligible":  "negligible",
	"unimportant": "negligible",
	"low":         "low",
	"minor":       "low",
	"medium":      "medium",
	"moderate":    "medium",
	"high":        "high",
	"important":   "high",
	"critical":    "critical",
}

// DebianUrgency is the RatingSource of a rating that is Debian's urgency of the
// fix and says little of the flaw: a last resort.
const DebianUrgency = "Debian urgency"

// vectors returns the CVSS vectors, each once.
func vectors(severity []osvSeverity) []string {
	var out []string
	for _, s := range severity {
		if strings.HasPrefix(s.Type, "CVSS_") && plain(s.Score, maxVector) && !slices.Contains(out, s.Score) {
			out = append(out, s.Score)
		}
	}
	return out
}

// rate sets the severity word. What is said of the package goes before what is
// said of the record; Debian's urgency comes last.
func (af *osvAffected) rate(rec *osvRecord, a *Advisory) {
	urgency := ""
	if pkgver.Base(a.Ecosystem) == "Debian" {
		urgency = strings.TrimRight(word(af.EcosystemSpecific, "urgency"), "*")
	}
	switch {
	case urgency == "unimportant":
		// Debian's verdict that the flaw is none in the package as Debian builds
		// it. https://security-team.debian.org/security_tracker.html#severity-levels
		a.Rating, a.RatingSource, a.VendorFinal = "negligible", DebianUrgency, true
		return
	case urgency == "end-of-life":
		a.WillNotFix, a.Status = true, StatusEndOfLife
	}
	if strings.HasPrefix(rec.ID, "MAL-") {
		// The package itself is malware. https://github.com/ossf/malicious-packages
		a.Rating, a.RatingSource = "critical", "OSV malware"
		return
	}
	for _, said := range []struct{ word, source string }{
		{word(af.EcosystemSpecific, "severity"), rec.source(a)},
		{word(af.DatabaseSpecific, "severity"), rec.source(a)},
		{typed(af.Severity, "Ubuntu"), "Ubuntu"},
		{rec.severityWord, rec.source(a)},
		{typed(rec.Severity, "Ubuntu"), "Ubuntu"},
		{erratum(rec), "AlmaLinux"},
		{urgency, DebianUrgency},
	} {
		if rating, ok := ratings[strings.ToLower(said.word)]; ok {
			a.Rating, a.RatingSource = rating, said.source
			return
		}
	}
}

// source names who rates: what the record names itself, else the database that
// its ID tells, else the ecosystem.
func (rec *osvRecord) source(a *Advisory) string {
	if rec.severitySource != "" {
		return rec.severitySource
	}
	if strings.HasPrefix(rec.ID, "GHSA-") {
		return "GHSA"
	}
	return pkgver.Base(a.Ecosystem)
}

// typed returns the score of a severity type that is not CVSS.
func typed(severity []osvSeverity, kind string) string {
	for _, s := range severity {
		if s.Type == kind {
			return s.Score
		}
	}
	return ""
}

// erratum returns AlmaLinux's rating, the first word of the summary:
// "Important: mysql:8.0 security update".
func erratum(rec *osvRecord) string {
	if !strings.HasPrefix(rec.ID, "ALSA-") {
		return ""
	}
	first, _, _ := strings.Cut(rec.Summary, ":")
	return first
}

// word reads one short text from an object of which nothing else is known.
func word(object json.RawMessage, key string) string {
	var fields map[string]json.RawMessage
	if len(object) == 0 || json.Unmarshal(object, &fields) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(fields[key], &text) != nil || len(text) > 64 {
		return ""
	}
	return line(text)
}
