package advisory

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pratique/pratique/engine/pkgver"
)

// ErrBadRecord means that a record of a feed cannot be used.
var ErrBadRecord = errors.New("unusable vulnerability record")

// Limits of one record.
const (
	// MaxRecord is the size of a record in bytes.
	MaxRecord   = 4 << 20
	maxAffected = 20_000 // entries of affected[]; the largest real ones have some 3,000
	maxID       = 128
	maxSummary  = 200
	maxURL      = 1024
	maxVersion  = 512
	maxVector   = 256
	maxAliases  = 1_000
	maxSeverity = 64 // entries of severity[]
)

// osvRecord is the part of an OSV record that is used.
// https://ossf.github.io/osv-schema/
type osvRecord struct {
	ID        string        `json:"id"`
	Modified  time.Time     `json:"modified"`
	Published time.Time     `json:"published"`
	Withdrawn string        `json:"withdrawn"`
	Aliases   []string      `json:"aliases"`
	Upstream  []string      `json:"upstream"`
	Related   []string      `json:"related"`
	Summary   string        `json:"summary"`
	Details   string        `json:"details"`
	Severity  []osvSeverity `json:"severity"`
	// Affected is decoded one by one: a record of empty objects would else take
	// a hundred times its size in memory.
	Affected   []json.RawMessage `json:"affected"`
	References []struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"references"`
	DatabaseSpecific json.RawMessage `json:"database_specific"`

	// Read from DatabaseSpecific once, not for each affected package.
	severityWord   string
	severitySource string
}

type osvSeverity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type osvAffected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity []osvSeverity `json:"severity"`
	Ranges   []struct {
		Type   string              `json:"type"`
		Events []map[string]string `json:"events"`
	} `json:"ranges"`
	Versions          []string        `json:"versions"`
	EcosystemSpecific json.RawMessage `json:"ecosystem_specific"`
	DatabaseSpecific  json.RawMessage `json:"database_specific"`
}

// FromOSV turns an OSV record into one Advisory for each affected package that
// can be matched. Withdrawn records give none; errata that mend no vulnerability
// are told apart by their Kind. Errors wrap ErrBadRecord.
func FromOSV(raw []byte) ([]Advisory, error) {
	if len(raw) > MaxRecord {
		return nil, fmt.Errorf("%w: %d bytes", ErrBadRecord, len(raw))
	}
	var rec osvRecord
	if err := json.Unmarshal(raw, &rec); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	if !plain(rec.ID, maxID) {
		return nil, fmt.Errorf("%w: id %.64q", ErrBadRecord, rec.ID)
	}
	if rec.Withdrawn != "" {
		return nil, nil
	}
	if len(rec.Affected) > maxAffected {
		return nil, fmt.Errorf("%w: %s names %d packages", ErrBadRecord, rec.ID, len(rec.Affected))
	}
	rec.severityWord = word(rec.DatabaseSpecific, "severity")
	rec.severitySource = word(rec.DatabaseSpecific, "severity_source")
	base, err := rec.common()
	if err != nil {
		return nil, err
	}
	var advisories []Advisory
	for _, raw := range rec.Affected {
		var affected osvAffected
		if err := json.Unmarshal(raw, &affected); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrBadRecord, rec.ID, err)
		}
		a, err := affected.advisory(&rec, base)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrBadRecord, rec.ID, err)
		}
		if len(a.Ranges) > 0 || len(a.Versions) > 0 {
			advisories = append(advisories, a)
		}
	}
	return advisories, nil
}

// common is what all advisories of a record share.
func (rec *osvRecord) common() (Advisory, error) {
	a := Advisory{ID: rec.ID, Published: seconds(rec.Published), Modified: seconds(rec.Modified), URL: rec.url(), Summary: line(rec.Summary)}
	if a.Summary == "" {
		a.Summary = line(rec.Details)
	}
	for _, alias := range append(slices.Clone(rec.Aliases), rec.Upstream...) {
		if !plain(alias, maxID) || len(a.Aliases) >= maxAliases {
			return a, fmt.Errorf("%w: %s: alias %.64q", ErrBadRecord, rec.ID, alias)
		}
		if alias != rec.ID && !slices.Contains(a.Aliases, alias) {
			a.Aliases = append(a.Aliases, alias)
		}
	}
	a.Kind = kindOf(rec.ID)
	for _, name := range rec.Related {
		if plain(name, maxID) && strings.HasPrefix(name, "CVE-") && len(a.Related) < maxAliases && !slices.Contains(a.Related, name) {
			a.Related = append(a.Related, name)
		}
	}
	return a, nil
}

// errata are the beginnings of the ids of errata that mend no vulnerability: of
// AlmaLinux, Red Hat, Rocky Linux and SUSE.
var errata = []struct{ prefix, kind string }{
	{"ALBA-", KindBugFix}, {"ALEA-", KindEnhancement}, {"RHBA-", KindBugFix}, {"RHEA-", KindEnhancement}, {"RLBA-", KindBugFix}, {"RLEA-", KindEnhancement},
	{"SUSE-RU-", KindBugFix}, {"SUSE-FU-", KindEnhancement}, {"SUSE-OU-", KindEnhancement}, {"openSUSE-RU-", KindBugFix},
}

func kindOf(id string) string {
	for _, e := range errata {
		if strings.HasPrefix(id, e.prefix) {
			return e.kind
		}
	}
	return ""
}

// moduleForm finds the stream in the summary of an erratum about a module:
// "Important: nodejs:18 security update", "Moderate: container-tools:rhel8 ...".
var moduleForm = regexp.MustCompile(`^\w+: ([a-z0-9][a-z0-9+_.-]*:[A-Za-z0-9][A-Za-z0-9+_.-]*) `)

// module tells the module stream that an erratum is about, if the fixed versions
// are of a module.
func module(summary string, ranges []Range) string {
	m := moduleForm.FindStringSubmatch(summary)
	if m == nil {
		return ""
	}
	for _, r := range ranges {
		for _, e := range r.Events {
			if strings.Contains(e.Fixed, ".module") {
				return m[1]
			}
		}
	}
	return ""
}

// advisory completes base with what is said of one package.
func (af *osvAffected) advisory(rec *osvRecord, base Advisory) (Advisory, error) {
	a := base
	a.Ecosystem, a.Package = af.Package.Ecosystem, af.Package.Name
	if a.Package == "" && a.Ecosystem == "" {
		return a, nil // about commits of a repository alone
	}
	if err := (Key{a.Ecosystem, a.Package}).check(); err != nil {
		return a, err
	}
	if a.Ecosystem == "" || !utf8.ValidString(a.Package) || strings.ContainsFunc(a.Package, unicode.IsControl) {
		return a, fmt.Errorf("package %.64q of ecosystem %.64q", a.Package, a.Ecosystem)
	}
	for _, v := range af.Versions {
		if v == "" || len(v) > maxVersion {
			return a, fmt.Errorf("version of %d bytes", len(v))
		}
	}
	a.Versions = af.Versions
	var err error
	if a.Ranges, err = af.ranges(); err != nil {
		return a, err
	}
	a.Module = module(rec.Summary, a.Ranges)
	severity := af.Severity
	if len(severity) == 0 {
		severity = rec.Severity
	}
	if len(severity) > maxSeverity {
		return a, fmt.Errorf("%d severities", len(severity))
	}
	a.CVSS = vectors(severity)
	af.rate(rec, &a)
	return a, nil
}

// ranges keeps those that a version order exists for.
func (af *osvAffected) ranges() ([]Range, error) {
	var ranges []Range
	for _, r := range af.Ranges {
		switch r.Type {
		case "GIT":
			continue
		case "SEMVER", "ECOSYSTEM":
		default:
			return nil, fmt.Errorf("range of type %.32q", r.Type)
		}
		if !pkgver.Known(af.Package.Ecosystem) {
			continue
		}
		kept := Range{Type: r.Type}
		for _, raw := range r.Events {
			events, err := split(raw)
			if err != nil {
				return nil, err
			}
			kept.Events = append(kept.Events, events...)
		}
		if len(kept.Events) > 0 {
			ranges = append(ranges, kept)
		}
	}
	return ranges, nil
}

// split makes one Event of each field; old records put introduced and fixed
// into one object.
func split(raw map[string]string) ([]Event, error) {
	var events []Event
	for _, version := range raw {
		if version == "" || len(version) > maxVersion {
			return nil, fmt.Errorf("event with a version of %d bytes", len(version))
		}
	}
	for _, ev := range []Event{
		{Introduced: raw["introduced"]}, {Fixed: raw["fixed"]}, {LastAffected: raw["last_affected"]}, {Limit: raw["limit"]},
	} {
		if ev != (Event{}) {
			events = append(events, ev)
		}
	}
	if len(events) != len(raw) || len(events) == 0 {
		return nil, fmt.Errorf("event of an unknown kind among %d", len(raw))
	}
	return events, nil
}

// url is where a person reads more: what the record calls its advisory, or the
// page that is known for records of its kind.
func (rec *osvRecord) url() string {
	for _, ref := range rec.References {
		if ref.Type == "ADVISORY" && plain(ref.URL, maxURL) && (strings.HasPrefix(ref.URL, "https://") || strings.HasPrefix(ref.URL, "http://")) {
			return ref.URL
		}
	}
	if cve, ok := strings.CutPrefix(rec.ID, "DEBIAN-"); ok && strings.HasPrefix(cve, "CVE-") {
		return "https://security-tracker.debian.org/tracker/" + cve
	}
	return "https://osv.dev/vulnerability/" + rec.ID
}

// seconds is what the index keeps of a time.
func seconds(t time.Time) time.Time { return time.Unix(t.Unix(), 0).UTC() }

// plain reports whether s is not empty and of printable ASCII without blanks.
func plain(s string, limit int) bool {
	return s != "" && len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// line makes one line of text without control characters, cut at maxSummary
// bytes.
func line(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = strings.TrimLeft(s, "# ")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError || unicode.Is(unicode.Cf, r):
			return -1
		case unicode.IsControl(r) || unicode.IsSpace(r):
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) <= maxSummary {
		return s
	}
	cut := maxSummary - len("...")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
