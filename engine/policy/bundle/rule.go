package bundle

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pratique/pratique/engine/policy"
)

// rule reads one rule and compiles its trigger.
func (r parser) rule(o object) rule {
	o.known("id gate trigger action params recommendation description comment")
	out := rule{
		id: o.text("id"), gate: strings.ToLower(o.required("gate")), trigger: strings.ToLower(o.required("trigger")),
		action: r.action(o),
	}
	params := r.params(o)
	t, ok := r.trigger(o, &out)
	if !ok {
		return out
	}
	v, ok := r.values(o, t, params)
	if !ok {
		return out
	}
	r.compile(o, t, v, &out)
	return out
}

func (r parser) action(o object) policy.Action {
	word := o.required("action")
	var a policy.Action
	if err := a.UnmarshalText([]byte(strings.ToLower(word))); (err != nil || a == policy.Unknown) && word != "" {
		r.p.add(problemAction, "%s.action: must be STOP, WARN or GO, not %q", o.path, word)
	}
	return a
}

// parameter is a name and value as a rule gives them.
type parameter struct{ name, value string }

// params reads the parameters of a rule. Values are strings; a number or a
// boolean is taken for its text.
func (r parser) params(o object) []parameter {
	items, path := o.list("params")
	var list []parameter
	for i, item := range items {
		po := r.p.object(item, fmt.Sprintf("%s[%d]", path, i))
		po.known("name value")
		name := strings.ToLower(po.required("name"))
		var value string
		switch v := po.fields["value"].(type) {
		case string:
			value = v
		case json.Number:
			value = v.String()
		case bool:
			value = fmt.Sprint(v)
		default:
			r.p.add(problemFormat, "%s.value: must be a string", po.path)
		}
		list = append(list, parameter{name, value})
	}
	return list
}

// trigger finds the trigger that a rule names.
func (r parser) trigger(o object, ru *rule) (*trigger, bool) {
	if ru.gate == "" || ru.trigger == "" {
		return nil, false
	}
	if now, old := endOfLife[ru.gate]; old {
		r.p.add(problemEndOfLife, "%s: the gate %q has come to its end of life%s", o.path, ru.gate, now)
		return nil, false
	}
	g, ok := findGate(ru.gate)
	if !ok {
		r.p.add(problemGate, "%s: there is no gate %q; the gates are: %s", o.path, ru.gate, strings.Join(gateNames(), ", "))
		return nil, false
	}
	t, ok := g.find(ru.trigger)
	if !ok {
		r.p.add(problemTrigger, "%s: the gate %q has no trigger %q; its triggers are: %s", o.path, g.name, ru.trigger, strings.Join(g.triggerNames(), ", "))
		return nil, false
	}
	return t, true
}

// values checks the parameters of a rule against its trigger's.
func (r parser) values(o object, t *trigger, params []parameter) (values, bool) {
	v, good := values{}, true
	for _, given := range params {
		p, ok := t.param(given.name)
		if !ok {
			r.p.add(problemParameter, "%s: the trigger %q has no parameter %q; it has: %s", o.path, t.name, given.name, strings.Join(t.paramNames(), ", "))
			good = false
			continue
		}
		if err := p.check(given.value); err != nil {
			r.p.add(problemValue, "%s: the parameter %q cannot be %q: %v", o.path, given.name, given.value, err)
			good = false
			continue
		}
		v[p.name] = given.value // given twice: the last wins
	}
	for _, p := range t.params {
		if _, ok := v[p.name]; p.required && !ok && good {
			r.p.add(problemRequired, "%s: the trigger %q needs the parameter %q", o.path, t.name, p.name)
			good = false
		}
	}
	return v, good
}

// compile makes the rule's check, or notes why this version has none.
func (r parser) compile(o object, t *trigger, v values, ru *rule) {
	note := "no check for it is written yet"
	if t.compile != nil {
		ru.check, note = t.compile(v)
	}
	name := ru.gate + "." + ru.trigger
	switch {
	case ru.check == nil:
		ru.reason = note
		r.p.warn(problemNotSupported, "%s: %s is not evaluated by this version (%s): %s", o.path, name, note, consequence(ru.action))
	case note != "":
		r.p.warn(problemNotJudged, "%s: %s: %s", o.path, name, note)
	}
}

// consequence says what a rule that cannot be evaluated does to the verdict: as
// much as it could do if it fired.
func consequence(a policy.Action) string {
	return fmt.Sprintf("the rule counts as fired, with the action %s", a)
}
