// Package policy holds the words that every policy language shares: what a
// policy looks at (Input), what a rule says (Row) and what comes of it all
// (Verdict).
//
// It knows no policy language: those are policy/bundle (Anchore's JSON) and,
// later, Rego. Start with Input and Verdict.
package policy

import (
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
)

// Action is what a rule or a policy asks for. The zero value is Unknown: a
// verdict that nobody made allows nothing.
type Action int

const (
	Unknown Action = iota
	Go
	Warn
	Stop
)

var actionNames = [...]string{"unknown", "go", "warn", "stop"}

// String gives Anchore's lower-case word.
func (a Action) String() string {
	if a < Unknown || a > Stop {
		return actionNames[Unknown]
	}
	return actionNames[a]
}

// MarshalText writes Anchore's lower-case word.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads Anchore's word; any other text is Unknown.
func (a *Action) UnmarshalText(text []byte) error {
	*a = Unknown
	for i, name := range actionNames {
		if name == string(text) {
			*a = Action(i)
		}
	}
	return nil
}

// Data tells which vulnerability data an evaluation rests on.
type Data struct {
	Revision advisory.Revision
	// Synced is when the data of the image's distribution were last brought up
	// to date; zero when they never were or the image has no distribution.
	Synced time.Time
	// Covered is false when the image has system packages and the data have
	// nothing for its distribution and release.
	Covered bool
}

// Input is everything a policy may look at. It is never changed by evaluation.
type Input struct {
	Image    *inventory.Image
	Findings []finding.Finding
	Data     Data
	Now      time.Time
}

// Row is one fired trigger: one line of Anchore's result table.
type Row struct {
	Gate      string  `json:"gate"`
	Trigger   string  `json:"trigger"`
	TriggerID string  `json:"trigger_id"`
	Message   string  `json:"message"` // Anchore's check_output, byte for byte
	Action    Action  `json:"action"`  // go when Whitelist is set
	PolicyID  string  `json:"policy_id"`
	RuleID    string  `json:"rule_id,omitempty"`
	Whitelist *Exempt `json:"whitelist,omitempty"`
	// Finding is the index of the finding in the Input that fired the trigger;
	// -1 when the row is about something else.
	Finding int `json:"-"`
	// Facts of that finding, kept so that a refusal can be explained without
	// the input: CVE, package, version, fixed version, severity.
	CVE      string           `json:"cve,omitempty"`
	Package  string           `json:"package,omitempty"`
	Version  string           `json:"version,omitempty"`
	Fixed    string           `json:"fixed,omitempty"`
	Severity finding.Severity `json:"severity,omitempty"`
}

// Exempt names the item of a whitelist, or the exception beside the bundle, that
// excepted a row.
type Exempt struct {
	WhitelistName string `json:"whitelist_name"`
	WhitelistID   string `json:"whitelist_id"`
	MatchedRuleID string `json:"matched_rule_id"`
	// Expires is when the item runs out; zero: never.
	Expires time.Time `json:"expires,omitzero"`
}

// Reasons for a verdict's final action, with Anchore's words.
const (
	ReasonEvaluation  = "policy_evaluation"
	ReasonWhitelisted = "whitelisted"
	ReasonBlacklisted = "blacklisted"
)

// Problem is something in the policy that could not be evaluated. A rule with a
// problem counts as stop.
type Problem struct {
	Severity    string `json:"severity"` // "error", "warn"
	ProblemType string `json:"problem_type"`
	Details     string `json:"details"`
}

// Verdict is what a policy says of one image under one selection.
type Verdict struct {
	Manifest  digest.Digest `json:"manifest"`
	Selection string        `json:"selection"` // hash of the rules that applied
	Action    Action        `json:"action"`
	Reason    string        `json:"reason"`
	// PolicyAction is the action of the rules alone, before image lists.
	PolicyAction Action          `json:"policy_action"`
	BundleID     string          `json:"bundle_id"`
	BundleName   string          `json:"bundle_name"`
	Mapping      string          `json:"mapping"` // name of the mapping that matched
	DryRun       bool            `json:"dry_run,omitempty"`
	Rows         []Row           `json:"rows"`
	Problems     []Problem       `json:"problems,omitempty"`
	Gaps         []inventory.Gap `json:"gaps,omitempty"`
	// Feeds are the ecosystems whose data the image was judged by: a reader
	// checks their age.
	Feeds       []string          `json:"feeds,omitempty"`
	Data        advisory.Revision `json:"data"`
	Engine      int               `json:"engine"`
	EvaluatedAt time.Time         `json:"evaluated_at"`
	ValidUntil  time.Time         `json:"valid_until,omitzero"` // zero: until something changes
}

// Older reports whether v rests on an older engine, or on the same engine and
// older data, than w. An older verdict never replaces a newer one.
func (v *Verdict) Older(w *Verdict) bool {
	if v.Engine != w.Engine {
		return v.Engine < w.Engine
	}
	return v.Data.Sequence < w.Data.Sequence
}
