package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pratique/pratique/internal/catalog"
)

// MaxPass is how long a break-glass grant may last.
const MaxPass = 4 * time.Hour

// Errors of break-glass grants, written for the one who asks.
var (
	ErrPassReason    = errors.New("a break-glass grant needs a reason, of at least ten characters: it is kept")
	ErrPassDuration  = fmt.Errorf("a break-glass grant lasts longer than nothing and at most %s", MaxPass)
	ErrPassPrincipal = errors.New("a break-glass grant is for a user or robot by name: what everybody has is no exception")
)

// GrantPass lets one principal pull what is refused in one repository, for a
// while. It gives nothing to others and lifts nothing from pushes.
func (g *Gate) GrantPass(ctx context.Context, t Target, principal, by, reason string, lasting time.Duration) (catalog.Pass, error) {
	switch {
	case len(strings.TrimSpace(reason)) < 10:
		return catalog.Pass{}, ErrPassReason
	case lasting <= 0 || lasting > MaxPass:
		return catalog.Pass{}, ErrPassDuration
	case principal == "" || principal == g.Nobody:
		return catalog.Pass{}, ErrPassPrincipal
	}
	now := g.Now().UTC()
	p := catalog.Pass{ID: rand.Text(), Principal: principal, Repository: t.Key(), Reason: reason, GrantedBy: by, Granted: now, Until: now.Add(lasting)}
	return p, g.Catalog.PutPass(ctx, p)
}

// breakGlass turns a refusal into an answer for a principal with a live grant. A
// grant that cannot be looked up is none.
func (g *Gate) breakGlass(ctx context.Context, q Question, d Decision) Decision {
	if d.Outcome == Served || q.Principal == "" || q.Principal == g.Nobody {
		return d
	}
	pass, err := g.Catalog.LivePass(ctx, q.Principal, q.Target.Key(), g.Now())
	if err != nil {
		g.Log.Error("break-glass grant not looked up", "error", err)
	}
	if pass == nil {
		return d
	}
	return Decision{Outcome: Served, Verdict: d.Verdict, Pass: pass,
		Warning: fmt.Sprintf("break-glass grant until %s (%s): else refused: %s", pass.Until.Format(time.RFC3339), clean(pass.Reason), d.Message)}
}
