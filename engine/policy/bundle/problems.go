package bundle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/policy"
)

// Severities of a problem.
const (
	severityError = "error"
	severityWarn  = "warn"
)

// Problem types, with Anchore's names where Anchore has one.
const (
	problemFormat         = "ValidationError"
	problemVersion        = "UnsupportedVersionError"
	problemGate           = "GateNotFoundError"
	problemTrigger        = "TriggerNotFoundError"
	problemParameter      = "InvalidParameterError"
	problemRequired       = "RequiredParameterNotSetError"
	problemValue          = "ParameterValueInvalidError"
	problemAction         = "InvalidGateAction"
	problemReference      = "ReferencedObjectNotFoundError"
	problemDuplicate      = "DuplicateIdentifierFoundError"
	problemEndOfLife      = "EndOfLifedError"
	problemNotSupported   = "TriggerNotSupported"
	problemEvaluation     = "PolicyEvaluationError"
	problemUnknownField   = "UnknownField"
	problemNotJudged      = "ParameterNotEvaluated"
	problemTooMany        = "TooManyProblems"
	problemNothingApplied = "EmptyMapping"
)

// problems collects what is wrong with a document while it is read.
type problems struct {
	list   []policy.Problem
	errors int
	left   int  // problems beyond maxProblems
	lesser bool // what is read now can do no harm: its errors are warnings
}

// add notes an error.
func (p *problems) add(kind, format string, args ...any) {
	if p.lesser {
		p.warn(kind, format, args...)
		return
	}
	p.errors++
	p.note(severityError, kind, fmt.Sprintf(format, args...))
}

// warn notes a warning.
func (p *problems) warn(kind, format string, args ...any) {
	p.note(severityWarn, kind, fmt.Sprintf(format, args...))
}

func (p *problems) note(severity, kind, details string) {
	if len(p.list) >= maxProblems {
		p.left++
		return
	}
	p.list = append(p.list, policy.Problem{Severity: severity, ProblemType: kind, Details: details})
}

// all gives the problems, and how many more there were.
func (p *problems) all() []policy.Problem {
	if p.left == 0 {
		return p.list
	}
	return append(p.list, policy.Problem{
		Severity: severityWarn, ProblemType: problemTooMany, Details: fmt.Sprintf("%d more problems are not listed", p.left),
	})
}

// err makes the error of a document that is not accepted.
func (p *problems) err() error {
	list := p.all()
	if !slices.ContainsFunc(list, func(q policy.Problem) bool { return q.Severity == severityError }) {
		// Warnings alone filled the list before the first error came.
		list = append(list, policy.Problem{Severity: severityError, ProblemType: problemTooMany, Details: "errors are among the problems that are not listed"})
	}
	return &ValidationError{Problems: list}
}

// object is a JSON object at a path of the document, read field by field.
type object struct {
	p      *problems
	path   string
	fields map[string]any
}

// object takes a value for an object; anything else is a problem and reads as
// an empty one.
func (p *problems) object(v any, path string) object {
	m, ok := v.(map[string]any)
	if !ok {
		p.add(problemFormat, "%s: must be an object", path)
	}
	return object{p, path, m}
}

// get finds a field by any of its names, of which only one may be used.
func (o object) get(names ...string) (v any, name string) {
	for _, n := range names {
		x, ok := o.fields[n]
		if !ok {
			continue
		}
		if name != "" {
			o.p.add(problemFormat, "%s: %s and %s are the same thing: only one may be given", o.path, name, n)
			continue
		}
		v, name = x, n
	}
	return v, name
}

// text reads an optional string; absent or null reads as "".
func (o object) text(names ...string) string {
	v, name := o.get(names...)
	s, ok := v.(string)
	if !ok && v != nil {
		o.p.add(problemFormat, "%s.%s: must be a string", o.path, name)
	}
	return s
}

// required reads a string that must be there and not be empty.
func (o object) required(names ...string) string {
	v, _ := o.get(names...)
	if s, ok := v.(string); ok && s != "" {
		return s
	}
	o.p.add(problemFormat, "%s.%s: must be a string and is required", o.path, names[0])
	return ""
}

// flag reads an optional boolean.
func (o object) flag(name string) bool {
	v := o.fields[name]
	b, ok := v.(bool)
	if !ok && v != nil {
		o.p.add(problemFormat, "%s.%s: must be true or false", o.path, name)
	}
	return b
}

// list reads an array; absent or null reads as an empty one.
func (o object) list(names ...string) (items []any, path string) {
	v, name := o.get(names...)
	if name == "" {
		name = names[0]
	}
	items, ok := v.([]any)
	if !ok && v != nil {
		o.p.add(problemFormat, "%s.%s: must be an array", o.path, name)
	}
	return items, o.path + "." + name
}

// requiredList reads an array that must be there; it may be empty.
func (o object) requiredList(names ...string) (items []any, path string) {
	items, path = o.list(names...)
	if !slices.ContainsFunc(names, func(n string) bool { return o.fields[n] != nil }) {
		o.p.add(problemFormat, "%s: is required", path)
	}
	return items, path
}

// texts reads an array of strings.
func (o object) texts(names ...string) []string {
	items, path := o.list(names...)
	var texts []string
	for i, item := range items {
		s, ok := item.(string)
		if !ok {
			o.p.add(problemFormat, "%s[%d]: must be a string", path, i)
			continue
		}
		texts = append(texts, s)
	}
	return texts
}

// known warns of fields that mean nothing here, such as a misspelt one.
func (o object) known(names string) {
	known := strings.Fields(names)
	var unknown []string
	for name := range o.fields {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		o.p.warn(problemUnknownField, "%s.%s: is not a field that this version knows and has no effect", o.path, name)
	}
}
