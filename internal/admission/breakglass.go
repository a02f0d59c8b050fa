package admission

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/internal/gate"
)

// Annotations of objects and namespaces.
const (
	annotationReason    = "pratique.io/break-glass-reason"
	annotationUntil     = "pratique.io/break-glass-until"
	annotationOriginals = "pratique.io/original-images"
	annotationMutation  = "pratique.io/mutation"
	annotationMirror    = "kubernetes.io/config.mirror"

	disabled = "disabled" // value of annotationMutation
)

// minReason is how many characters a reason has at least.
const minReason = 10

// user is who sends a request, as the API server has found out.
type user struct {
	name   string
	groups []string
}

// permits reports whether the user is one of those listed, or in a group of
// those. Nobody is listed by an empty list.
func permits(users, groups []string, u user) bool {
	return u.name != "" && slices.Contains(users, u.name) || slices.ContainsFunc(u.groups, func(g string) bool { return slices.Contains(groups, g) })
}

// breach is a grant in use.
type breach struct {
	id, by, reason string
	until          time.Time
}

func (b *breach) String() string {
	return fmt.Sprintf("break-glass %s by %s until %s: %s", b.id, b.by, b.until.UTC().Format(time.RFC3339), clean(b.reason))
}

// granted finds the live grant for an image in a namespace, nil for none.
func granted(grants []Grant, namespace, full string, now time.Time) *breach {
	for _, g := range grants {
		live := now.Before(g.Until) && g.Validate() == nil && matchesAny(g.Namespaces, namespace)
		if live && (len(g.Images) == 0 || slices.ContainsFunc(g.Images, func(p string) bool { return gate.Wildcard(p, full) })) {
			return &breach{id: g.ID, by: g.By, reason: g.Reason, until: g.Until}
		}
	}
	return nil
}

// annotated reads the annotations by which an object breaks glass. What they
// lack is the second result; both are empty where there are none.
func (b BreakGlass) annotated(annotations map[string]string, u user, now time.Time) (*breach, string) {
	reason, asked := annotations[annotationReason]
	end, ended := annotations[annotationUntil]
	if !asked && !ended {
		return nil, ""
	}
	until, err := time.Parse(time.RFC3339, end)
	switch {
	case !permits(b.Users, b.Groups, u):
		return nil, fmt.Sprintf("user %q may not break glass by annotation (admission.break_glass)", u.name)
	case len(strings.TrimSpace(reason)) < minReason:
		return nil, fmt.Sprintf("%s: at least %d characters: it is kept", annotationReason, minReason)
	case err != nil:
		return nil, annotationUntil + ": want a time like 2027-01-31T12:00:00Z"
	case !now.Before(until):
		return nil, annotationUntil + ": is over"
	case until.Sub(now) > b.Longest:
		return nil, fmt.Sprintf("%s: further away than %s", annotationUntil, b.Longest)
	}
	return &breach{id: "annotation", by: u.name, reason: reason, until: until}, ""
}

// clean keeps what others wrote on one line, and printable.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
