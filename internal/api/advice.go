package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
)

// banner is what the gate says, with all the names under which it says so.
type banner struct {
	Names []string
	standing
}

// Banners tells each thing once that the gate says under several names.
func (rep *imageReport) Banners() []banner {
	var all []banner
	for _, s := range rep.Standings {
		i := slices.IndexFunc(all, func(b banner) bool {
			same := b.Outcome == s.Outcome && b.Message == s.Message && b.Warning == s.Warning && b.Mode == s.Mode
			return same && (b.Policy == s.Policy || (b.Policy != nil && s.Policy != nil && *b.Policy == *s.Policy))
		})
		if i < 0 {
			all, i = append(all, banner{standing: s}), len(all)
		}
		all[i].Names = append(all[i].Names, s.Reference)
	}
	return all
}

// Blind reports whether something was not understood that hides packages.
func (rep *imageReport) Blind() bool {
	return len((&inventory.Image{Gaps: rep.Gaps}).Blind()) > 0
}

// Vulnerabilities counts the findings that are some.
func (rep *imageReport) Vulnerabilities() int {
	n := 0
	for _, f := range rep.Findings {
		if f.IsVulnerability() {
			n++
		}
	}
	return n
}

// Errata counts the findings that mend no vulnerability.
func (rep *imageReport) Errata() int { return len(rep.Findings) - rep.Vulnerabilities() }

// GapRule is the configuration that serves the image although it is not
// understood; empty when that is not why it is refused.
func (rep *imageReport) GapRule() string {
	if s := rep.lead; s == nil || s.Outcome != refused || s.verdict == nil || s.verdict.Action == policy.Stop || !rep.Blind() {
		return ""
	}
	return fmt.Sprintf("gate:\n  rules:\n    - {match: {repository: %q}, on_gap: allow}", rep.lead.repository)
}

// exception is how to ask that one reason be excepted.
type exception struct {
	Item       whitelistItem `json:"item"`
	PolicyID   string        `json:"policy_id"`
	Mapping    string        `json:"mapping"`
	Whitelists []string      `json:"whitelists"` // ids of the whitelists that the mapping names
}

// whitelistItem is an item of a bundle's whitelist.
type whitelistItem struct {
	ID        string `json:"id"`
	Gate      string `json:"gate"`
	TriggerID string `json:"trigger_id"`
	Comment   string `json:"comment"`
	ExpiresOn string `json:"expires_on"`
}

// exceptionTerm is for how long the example asks.
const exceptionTerm = 30 * 24 * time.Hour

// exception is an example for the first reason that stops; nil when none does.
func (a *API) exception(s *standing, rows []policy.Row) *exception {
	if len(rows) == 0 || rows[0].Action != policy.Stop || s.Policy == nil {
		return nil
	}
	row := rows[0]
	return &exception{
		Item: whitelistItem{
			ID: "exception-" + strings.ToLower(row.TriggerID), Gate: row.Gate, TriggerID: row.TriggerID,
			Comment: "why this is acceptable, and who decided", ExpiresOn: a.now().Add(exceptionTerm).UTC().Format("2006-01-02") + "T00:00:00Z",
		},
		PolicyID: s.Policy.ID, Mapping: s.Policy.Mapping, Whitelists: s.whitelists,
	}
}

// JSON is the item as it is written into the bundle.
func (e *exception) JSON() (string, error) {
	raw, err := json.MarshalIndent(e.Item, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write the example: %w", err)
	}
	return string(raw), nil
}
