package admission

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique/pratique/internal/gate"
)

// What an API server and its clients show.
const (
	maxMessage  = 1024 // bytes; the rest stands behind the link
	maxWarning  = 256  // bytes; API servers cut at as many characters
	maxWarnings = 4096 // bytes, of all together
	maxAudit    = 4096 // bytes of one audit annotation
	maxCauses   = 32
)

func (d decision) allowed() bool { return d.answer == Allow || d.answer == Warn }

// failure is the error that a decision is when it is neither a refusal nor lets
// the object in.
func (d decision) failure() error {
	if d.allowed() || d.answer == Deny {
		return nil
	}
	return fmt.Errorf("%w: %s", errUndecided, strings.TrimPrefix(d.message(Fail), "pratique: "))
}

// status is a refusal as the API server hands it to the person.
func (d decision) status() *metav1.Status {
	s := &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: d.message(Deny)}
	var causes []metav1.StatusCause
	for _, o := range d.outcomes {
		for _, path := range o.paths {
			if o.answer == Deny && len(causes) < maxCauses {
				causes = append(causes, metav1.StatusCause{Type: metav1.CauseTypeForbidden, Field: path, Message: o.words(maxMessage)})
			}
		}
	}
	if len(causes) > 0 {
		s.Details = &metav1.StatusDetails{Causes: causes}
	}
	return s
}

// message tells about all images with an answer, the first ones in full if there
// is room.
func (d decision) message(answer string) string {
	var those []outcome
	for _, o := range d.outcomes {
		if o.answer == answer {
			those = append(those, o)
		}
	}
	var b strings.Builder
	b.WriteString("pratique: ")
	if len(those) == 0 {
		b.WriteString(d.note)
		return cut(b.String(), maxMessage)
	}
	if len(d.outcomes) > 1 {
		fmt.Fprintf(&b, "%d of %d images: ", len(those), len(d.outcomes))
	}
	const more = " (and %d more)"
	for i, o := range those {
		room := maxMessage - b.Len() - len(more) - 8 - len(d.note)
		if i > 0 && room < maxWarning {
			fmt.Fprintf(&b, more, len(those)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(o.words(room))
	}
	if d.note != "" {
		b.WriteString("; " + d.note)
	}
	return cut(b.String(), maxMessage)
}

// words say what is the matter with an image in at most so many bytes. What is
// cut is the middle: the name stays, and the link to the report.
func (o outcome) words(most int) string {
	head := o.written
	if o.digest != "" {
		head += " (" + shown(o.digest, most) + ")"
	}
	tail := ""
	if o.hint != "" {
		tail += "; " + o.hint
	}
	if o.settings.mode != "" && most > maxWarning {
		tail += "; mode " + o.settings.mode
	}
	body := strings.TrimPrefix(o.standing.Message, "pratique: ")
	if report := o.standing.Report; report != "" {
		body = strings.TrimSuffix(body, "; report: "+report)
		tail += "; report: " + report
	}
	head = cut(clean(head), most/2) + ": "
	tail = cut(clean(tail), max(most-len(head), 0))
	return head + cut(clean(body), max(most-len(head)-len(tail), 0)) + tail
}

// shown is a digest, or its beginning where there is little room: the link to the
// report has it whole.
func shown(d digest.Digest, most int) string {
	const brief = len("sha256:") + 12
	if most > maxWarning || len(d) <= brief {
		return d.String()
	}
	return d.String()[:brief]
}

// warnings are for the person whose object is let in all the same, or not.
func (d decision) warnings() []string {
	var all []string
	left := maxWarnings
	add := func(text string) {
		switch left -= len(text); {
		case left >= maxWarning:
			all = append(all, text)
		case left+len(text) >= maxWarning: // the first for which there is no room
			all = append(all, "pratique: there are more warnings than can be shown")
		}
	}
	for _, o := range d.outcomes {
		if o.ending && d.allowed() {
			add(o.end())
		}
		if o.answer != Warn {
			continue
		}
		prefix := "pratique: "
		switch {
		case o.breach != nil:
			prefix += o.breach.String() + ": "
		case worse(o.by, Warn):
			prefix += "would be refused: "
		}
		prefix = cut(prefix, maxWarning/2)
		add(prefix + o.words(maxWarning-len(prefix)))
	}
	if d.note != "" && (d.answer == Warn || d.answer == Allow && len(d.outcomes) > 0) {
		all = append(all, cut("pratique: "+d.note, maxWarning))
	}
	return all
}

// end says when the exception runs out by which an image is let in.
func (o outcome) end() string {
	at := o.standing.Expires.UTC().Format(time.RFC3339)
	return cut("pratique: "+cut(clean(o.written), maxWarning/2)+" passes by an exception that runs out at "+at+"; then policy holds again", maxWarning)
}

// entry is what logs keep of an outcome.
type entry struct {
	Image    string        `json:"image"`
	Digest   digest.Digest `json:"digest,omitempty"`
	Answer   string        `json:"answer"`
	State    gate.State    `json:"state,omitempty"`
	Selector string        `json:"selector"`
	Mode     string        `json:"mode,omitempty"`
	Policy   string        `json:"policy,omitempty"`
	Age      string        `json:"age,omitempty"` // of the verdict
	// Excepted is until when it is let in by exceptions.
	Excepted *time.Time `json:"excepted_until,omitempty"`
}

func (o outcome) entry() entry {
	e := entry{Image: o.written, Digest: o.digest, Answer: o.answer, State: o.state, Selector: o.settings.selector, Mode: o.settings.mode, Policy: o.standing.Policy}
	if !o.standing.Evaluated.IsZero() {
		e.Age = time.Since(o.standing.Evaluated).Round(time.Second).String()
	}
	if end := o.standing.Expires; !end.IsZero() {
		e.Excepted = &end
	}
	return e
}

// audit is what the audit log of the API server keeps of the decision.
func (d decision) audit() map[string]string {
	notes := map[string]string{"decision": d.answer}
	if d.note != "" {
		notes["note"] = cut(d.note, maxAudit)
	}
	var entries []json.RawMessage
	size := 0
	for _, o := range d.outcomes {
		raw, err := json.Marshal(o.entry())
		if size += len(raw) + 1; err == nil && size < maxAudit {
			entries = append(entries, raw)
		}
		if o.breach != nil && d.allowed() {
			notes["break-glass"] = cut(o.breach.String(), maxAudit)
		}
		if o.answer == Warn && worse(o.by, Warn) {
			notes["would-be"] = o.by
		}
	}
	if raw, err := json.Marshal(entries); err == nil && len(entries) > 0 {
		notes["images"] = string(raw)
	}
	return notes
}

// cut shortens a text to so many bytes, between characters.
func cut(s string, most int) string {
	const dots = "…"
	if len(s) <= most {
		return s
	}
	if most < len(dots) {
		return ""
	}
	most -= len(dots)
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + dots
}
