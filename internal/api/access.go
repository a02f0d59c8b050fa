package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// visitor is who sends a request.
type visitor struct {
	name   string // of a user, a robot, or auth.Anonymous
	client string // address, without the port
}

type visitorKey struct{}

// open are the addresses that tell nothing but that, and how, Pratique runs:
// monitoring asks them without a password.
var open = map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true, "/health": true, "/v1/health": true}

// enter finds out who sends a request. While everybody on this machine may do
// everything, any password is as good as none.
func (a *API) enter(r *http.Request) (*http.Request, error) {
	v := visitor{name: auth.Anonymous}
	v.client, _, _ = net.SplitHostPort(r.RemoteAddr)
	user, password, given := r.BasicAuth()
	if given && !a.isOpen() {
		name, err := a.Auth.Login(r.Context(), user, password, v.client)
		var limited *auth.LimitedError
		switch {
		case errors.As(err, &limited):
			return nil, &refusal{http.StatusTooManyRequests, "too many attempts with wrong credentials: wait a moment", map[string]any{"retry_after": strconv.Itoa(int(limited.RetryAfter.Seconds()) + 1)}}
		case err != nil:
			return nil, errLogin
		}
		v.name = name
	}
	if !given && !a.isOpen() && !open[r.URL.Path] && a.Auth.Closed() {
		return nil, errLogin
	}
	return r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)), nil
}

// isOpen reports whether everybody on this machine may do everything, with any
// password or none.
func (a *API) isOpen() bool { return a.OpenLoopback && a.Auth.Open() }

// errLogin asks for a user name and a password.
var errLogin = refuse(http.StatusUnauthorized, "a user name and a password are needed here: those of the registry")

func who(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}

// may reports whether the sender may do something to a repository, by its
// canonical name; "" stands for everything.
func (a *API) may(ctx context.Context, action, repository string) bool {
	if a.isOpen() && action != auth.BreakGlass {
		return true
	}
	return a.Auth.May(who(ctx).name, action, repository)
}

// sees reports whether the sender may read of a repository.
func (a *API) sees(ctx context.Context, t gate.Target) bool { return a.may(ctx, auth.Pull, t.Name()) }

// need refuses who may not.
func (a *API) need(ctx context.Context, action, repository string) error {
	if a.may(ctx, action, repository) {
		return nil
	}
	v := who(ctx)
	if v.name == auth.Anonymous && !a.isOpen() {
		return errLogin
	}
	return &refusal{http.StatusForbidden, "Access Denied: " + v.name + " does not have the right " + strconv.Quote(action) + " for this (auth.rules)", map[string]any{"permission_required": action}}
}

// foreign reports whether a browser sends a changing request on behalf of
// another site.
func foreign(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}

// guard turns away what may not be asked, before any route looks at it, and
// tells browsers what they may do with the answers: nothing but show them.
func (a *API) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve.Note(r.Context(), "turned away")
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		switch {
		case a.isOpen() && !serve.LocalRequest(r):
			a.answerError(w, r, refuse(http.StatusForbidden, "open to this machine alone: the request names another host (Host, Origin or Forwarded header)"))
			return
		case foreign(r):
			a.answerError(w, r, refuse(http.StatusForbidden, "a browser sent this on behalf of another site"))
			return
		case len(r.URL.RawQuery) > maxParameters:
			a.answerError(w, r, refuse(http.StatusRequestURITooLong, "the query is too long"))
			return
		}
		entered, err := a.enter(r)
		if err != nil {
			a.answerError(w, r, err)
			return
		}
		next.ServeHTTP(w, entered)
	})
}

// note keeps an entry in the audit trail.
func (a *API) note(ctx context.Context, e catalog.AuditEntry) error {
	v := who(ctx)
	e.Principal, e.Client = v.name, v.client
	return a.Audit.Add(ctx, e)
}

const (
	defaultAudit = 100 // entries of one answer
	maxAudit     = 1000
)

// auditTrail answers entries of the audit trail, newest first. Whoever may read
// it sees all of it.
func (a *API) auditTrail(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Admin, ""); err != nil {
		return err
	}
	q := r.URL.Query()
	f := catalog.AuditFilter{Kind: q.Get("kind"), Principal: q.Get("principal"), Repository: q.Get("repository"), Limit: defaultAudit}
	var err error
	if text := q.Get("since"); text != "" {
		if f.Since, err = time.Parse(time.RFC3339, text); err != nil {
			return refuse(http.StatusBadRequest, "since: want a time like 2027-01-31T12:00:00Z")
		}
	}
	if text := q.Get("limit"); text != "" {
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 1 || f.Limit > maxAudit {
			return refuse(http.StatusBadRequest, "limit: want a number from 1 to %d", maxAudit)
		}
	}
	if text := q.Get("before"); text != "" {
		if f.Before, err = strconv.ParseInt(text, 10, 64); err != nil || f.Before < 1 {
			return refuse(http.StatusBadRequest, "before: want the id of an entry")
		}
	}
	entries, err := a.Catalog.Audit(r.Context(), f)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"entries": entries})
	return nil
}

// policyChanged notes a change of policy.
func (a *API) policyChanged(ctx context.Context, id, what string) error {
	return a.note(ctx, catalog.AuditEntry{Kind: audit.Policy, Reference: id, Message: what})
}
