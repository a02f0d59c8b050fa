package doctor

import (
	"fmt"
	"strings"
)

// Result is how a check ended.
type Result string

// The results. There is no fourth: what could not be found out is not fine.
const (
	OK         Result = "ok"
	Failed     Result = "failed"
	NotChecked Result = "not checked"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"check"`
	Result Result `json:"result"`
	// Asked is false for what was left out because nobody asked for it. It is not
	// fine, but no reason to complain either.
	Asked bool `json:"asked"`
	// Detail is what was seen.
	Detail string `json:"detail"`
	// Next is what to do about it; "" if there is nothing to do.
	Next string `json:"next,omitempty"`
}

// Report is everything that was looked at, in order.
type Report struct {
	Proxy  string  `json:"proxy"`
	Checks []Check `json:"checks"`
}

// Count tells how many checks ended so, of those that were asked for.
func (r *Report) Count(result Result) int {
	n := 0
	for _, c := range r.Checks {
		if c.Asked && c.Result == result {
			n++
		}
	}
	return n
}

// Unasked tells how many checks nobody asked for.
func (r *Report) Unasked() int {
	n := 0
	for _, c := range r.Checks {
		if !c.Asked {
			n++
		}
	}
	return n
}

// ok notes a check that ended well; next is what might be better still.
func (r *Report) ok(name, next, format string, args ...any) {
	r.add(Check{Name: name, Result: OK, Asked: true, Next: next, Detail: fmt.Sprintf(format, args...)})
}

func (r *Report) failed(name, next, format string, args ...any) {
	r.add(Check{Name: name, Result: Failed, Asked: true, Next: next, Detail: fmt.Sprintf(format, args...)})
}

// gap notes what was to be checked and could not be.
func (r *Report) gap(name, next, format string, args ...any) {
	r.add(Check{Name: name, Result: NotChecked, Asked: true, Next: next, Detail: fmt.Sprintf(format, args...)})
}

// unasked notes what could have been checked.
func (r *Report) unasked(name, format string, args ...any) {
	r.add(Check{Name: name, Result: NotChecked, Detail: fmt.Sprintf(format, args...)})
}

func (r *Report) add(c Check) {
	c.Detail = strings.TrimSpace(c.Detail)
	r.Checks = append(r.Checks, c)
}

// judgement is what a check of one thing comes to, before it has a name.
type judgement struct {
	problems []string // each is a failure
	gaps     []string // what could not be found out
	notes    []string // what might be better
	fine     string   // what to say if there are neither problems nor gaps
	next     string   // what to do about problems and gaps
}

func (j *judgement) problem(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

func (j *judgement) gap(format string, args ...any) {
	j.gaps = append(j.gaps, fmt.Sprintf(format, args...))
}

func (j *judgement) note(format string, args ...any) {
	j.notes = append(j.notes, fmt.Sprintf(format, args...))
}

func (j *judgement) passed() bool { return len(j.problems) == 0 && len(j.gaps) == 0 }

// judge notes what a judgement comes to.
func (r *Report) judge(name string, j judgement) {
	switch {
	case len(j.problems) > 0:
		r.failed(name, j.next, "%s", strings.Join(append(j.problems, j.gaps...), "; "))
	case len(j.gaps) > 0:
		r.gap(name, j.next, "%s", strings.Join(j.gaps, "; "))
	default:
		r.ok(name, strings.Join(j.notes, "; "), "%s", j.fine)
	}
}
