package advisory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// debianReleases are the numbers of Debian's releases by their names.
var debianReleases = map[string]string{
	"jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14",
}

// trackerEntry is what Debian's security tracker says of one package and flaw.
// https://security-tracker.debian.org/tracker/data/json
type trackerEntry struct {
	Description string `json:"description"`
	Releases    map[string]struct {
		Status       string `json:"status"` // open, resolved, undetermined
		FixedVersion string `json:"fixed_version"`
		Urgency      string `json:"urgency"`
		NoDSA        string `json:"nodsa"`
		NoDSAReason  string `json:"nodsa_reason"` // "", ignored, postponed
	} `json:"releases"`
}

// FromDebianTracker reads what the tracker says of one source package: raw is an
// object by the names of flaws. One Advisory for each flaw and release. Errors
// wrap ErrBadRecord.
func FromDebianTracker(pkg string, raw []byte) ([]Advisory, error) {
	if len(raw) > MaxRecord {
		return nil, fmt.Errorf("%w: %d bytes", ErrBadRecord, len(raw))
	}
	var entries map[string]trackerEntry
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("%w: %.64q: %w", ErrBadRecord, pkg, err)
	}
	if err := (Key{"Debian", pkg}).check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	var all []Advisory
	for id, entry := range entries {
		if !plain(id, maxID) {
			return nil, fmt.Errorf("%w: %.64q: id %.64q", ErrBadRecord, pkg, id)
		}
		for name, r := range entry.Releases {
			number := debianReleases[name]
			if number == "" || len(r.FixedVersion) > maxVersion {
				continue
			}
			a := Advisory{
				ID: id, Ecosystem: "Debian:" + number, Package: pkg, Summary: line(entry.Description),
				URL: "https://security-tracker.debian.org/tracker/" + id,
			}
			events := []Event{{Introduced: "0"}}
			switch {
			case r.Status == "resolved" && r.FixedVersion == "0":
				a.Status = StatusNotAffected
			case r.Status == "resolved" && r.FixedVersion != "":
				events = append(events, Event{Fixed: r.FixedVersion})
			case r.Status == "undetermined":
				a.Status = StatusUnderInvestigation
			case r.NoDSAReason == "ignored":
				a.Status, a.WillNotFix = StatusWillNotFix, true
			case r.NoDSAReason == "postponed":
				a.Status = StatusFixDeferred
			}
			a.Ranges = []Range{{Type: "ECOSYSTEM", Events: events}}
			a.urgency(strings.TrimRight(r.Urgency, "*"))
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(x, y Advisory) int {
		return strings.Compare(x.Ecosystem+x.ID, y.Ecosystem+y.ID)
	})
	return all, nil
}

// urgency sets what Debian's urgency says.
func (a *Advisory) urgency(word string) {
	switch word {
	case "unimportant":
		a.Rating, a.RatingSource, a.VendorFinal = "negligible", DebianUrgency, true
	case "end-of-life":
		a.WillNotFix, a.Status = true, StatusEndOfLife
	default:
		if rating, ok := ratings[word]; ok {
			a.Rating, a.RatingSource = rating, DebianUrgency
		}
	}
}
