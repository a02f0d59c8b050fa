package bundle

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/policy"
)

// check is the compiled trigger of one rule: it gives what fires. An error
// means that the rule could not be judged.
type check func(e *evaluation) ([]fired, error)

// fired is one thing that a trigger found.
type fired struct {
	// ids are the trigger id and every other id under which an exception may
	// know the same thing; the first is shown.
	ids     []string
	message string
	finding int // index in the input; -1 when it is about something else
}

// evaluation is the state of one call of Evaluate.
type evaluation struct {
	in      *policy.Input
	classes []vulnerability // of the findings, made when first asked for
	expires time.Time       // first instant at which time alone changes a rule's answer
}

// Evaluate judges an image by the rules of the selection. It changes nothing
// and depends on nothing but the selection and the input; in.Image must not be
// nil. An image that no mapping chooses is go, as in Anchore, because no rule
// speaks of it: whoever decides by the verdict must look at Mapped first.
func (s Selection) Evaluate(in policy.Input) policy.Verdict {
	e := &evaluation{in: &in}
	v := policy.Verdict{
		Manifest: in.Image.Manifest, Selection: s.Hash, Reason: policy.ReasonEvaluation,
		BundleID: s.BundleID, BundleName: s.BundleName, Mapping: s.Mapping.Name, DryRun: s.DryRun,
		Rows: []policy.Row{}, Gaps: in.Image.Gaps, Data: in.Data.Revision, Engine: in.Image.Engine, EvaluatedAt: in.Now,
		PolicyAction: policy.Go,
	}
	for _, set := range s.ruleSets {
		for i := range set.rules {
			s.apply(e, &v, set, &set.rules[i])
		}
	}
	v.Action = v.PolicyAction
	switch s.Listed {
	case Whitelisted:
		v.Action, v.Reason = policy.Go, policy.ReasonWhitelisted
	case Blacklisted:
		v.Action, v.Reason = policy.Stop, policy.ReasonBlacklisted
	}
	v.ValidUntil = e.expires
	for _, w := range s.whitelists {
		v.ValidUntil = earlier(v.ValidUntil, w.nextExpiry(in.Now), in.Now)
	}
	return v
}

// apply adds what one rule says. A rule that this version cannot evaluate
// counts as fired; one whose evaluation goes wrong counts as stop.
func (s Selection) apply(e *evaluation, v *policy.Verdict, set *ruleSet, r *rule) {
	if r.check == nil {
		p := policy.Problem{Severity: severityWarn, ProblemType: problemNotSupported}
		if r.action == policy.Stop {
			p.Severity = severityError
		}
		p.Details = fmt.Sprintf("%s is not evaluated by this version (%s): %s", r.name(set), r.reason, consequence(r.action))
		v.Problems = append(v.Problems, p)
		v.PolicyAction = max(v.PolicyAction, r.action)
		return
	}
	list, err := r.check(e)
	if err != nil {
		v.Problems = append(v.Problems, policy.Problem{
			Severity: severityError, ProblemType: problemEvaluation,
			Details: fmt.Sprintf("%s cannot be evaluated (%v): the rule counts as stop", r.name(set), err),
		})
		v.PolicyAction = policy.Stop
		return
	}
	for _, f := range list {
		row := s.row(e, set, r, f)
		v.Rows = append(v.Rows, row)
		v.PolicyAction = max(v.PolicyAction, row.Action)
	}
}

// name says for a person which rule it is.
func (r *rule) name(set *ruleSet) string {
	return fmt.Sprintf("rule %q of policy %q, %s.%s,", r.id, set.id, r.gate, r.trigger)
}

// row makes the line of the result table for what fired.
func (s Selection) row(e *evaluation, set *ruleSet, r *rule, f fired) policy.Row {
	row := policy.Row{
		Gate: r.gate, Trigger: r.trigger, TriggerID: f.ids[0], Message: f.message,
		Action: r.action, PolicyID: set.id, RuleID: r.id, Finding: f.finding,
	}
	if f.finding >= 0 {
		found := &e.in.Findings[f.finding]
		row.CVE, row.Package, row.Version = found.CVE(), found.Package, found.Version
		row.Fixed, row.Severity = found.Fixed, found.Severity
	}
	for _, w := range s.whitelists {
		if exempt, ok := w.except(r.gate, f, e.in); ok {
			row.Whitelist, row.Action = exempt, policy.Go
			break
		}
	}
	return row
}

// hashed is the trigger id of a trigger without ids of its own: the md5 of gate,
// trigger and message. The message is part of the identity.
func hashed(gate, trigger, message string) string {
	sum := md5.Sum([]byte(gate + trigger + message))
	return hex.EncodeToString(sum[:])
}

// once makes the answer of a trigger that fires at most once and is about no
// finding.
func once(gate, trigger, message string) []fired {
	return []fired{{ids: []string{hashed(gate, trigger, message)}, message: message, finding: -1}}
}

// flips notes an instant at which time alone changes the answer.
func (e *evaluation) flips(at time.Time) {
	e.expires = earlier(e.expires, at, e.in.Now)
}

// vulnerabilities gives what the vulnerability triggers derive of the findings,
// in the order of the input.
func (e *evaluation) vulnerabilities() []vulnerability {
	if e.classes == nil {
		e.classes = make([]vulnerability, len(e.in.Findings))
		for i := range e.in.Findings {
			e.classes[i] = newVulnerability(&e.in.Findings[i])
		}
	}
	return e.classes
}

// severityOf reads a parameter's word; the word was checked.
func severityOf(word string) finding.Severity {
	s, _ := finding.ParseSeverity(word)
	return s
}
