// Package proxy is the door for registry clients: the OCI distribution API in
// front of the upstream registries. It turns requests into questions to the
// gate and the gate's decisions into answers.
//
// It decides nothing about images itself and knows no policy. Start with
// Handler for the routes, pull.go for one pull, push.go for one push.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// Proxy is safe for concurrent use. Run sweeps uploads that nobody goes on with.
type Proxy struct {
	Gate      *gate.Gate
	Upstreams gate.Upstreams
	Catalog   *catalog.Catalog
	Auth      *auth.Service
	// OpenLoopback: it listens on loopback alone. While everybody on this machine
	// may do everything (Auth.Open), requests that come from elsewhere by way of a
	// browser or another proxy are turned away.
	OpenLoopback bool
	Audit        *audit.Trail
	// MaxBlob bounds one blob that is pushed, in bytes; 0 for no bound.
	MaxBlob int64
	Log     *slog.Logger
	Now     func() time.Time

	uploads uploads
	stones  tombstones
}

// Handler returns the routes of the distribution specification, section
// "Endpoints", and the token service.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints
func (p *Proxy) Handler() http.Handler {
	p.stones = newTombstones()
	router := mux.NewRouter().SkipClean(true)
	router.HandleFunc("/v2/", p.ping).Methods(http.MethodGet, http.MethodHead)
	router.HandleFunc("/v2", p.ping).Methods(http.MethodGet, http.MethodHead)
	router.Handle("/auth/token", note("token", p.Auth))
	const name = "/v2/{name:.+}"
	for _, route := range []struct {
		path, method, operation string
		action                  string
		serve                   func(http.ResponseWriter, *http.Request, request) error
	}{
		{name + "/tags/list", "GET HEAD", "list tags", auth.Pull, p.listTags},
		{name + "/referrers/{digest}", "GET HEAD", "list referrers", auth.Pull, p.listReferrers},
		{name + "/manifests/{reference}", "GET HEAD", "pull manifest", auth.Pull, p.pullManifest},
		{name + "/manifests/{reference}", "PUT", "push manifest", auth.Push, p.pushManifest},
		{name + "/manifests/{reference}", "DELETE", "delete manifest", auth.Delete, p.deleteManifest},
		{name + "/blobs/uploads/", "POST", "start upload", auth.Push, p.startUpload},
		{name + "/blobs/uploads/{upload}", "PATCH", "upload chunk", auth.Push, p.uploadChunk},
		{name + "/blobs/uploads/{upload}", "PUT", "finish upload", auth.Push, p.finishUpload},
		{name + "/blobs/uploads/{upload}", "GET HEAD", "upload status", auth.Push, p.uploadStatus},
		{name + "/blobs/uploads/{upload}", "DELETE", "cancel upload", auth.Push, p.cancelUpload},
		{name + "/blobs/{digest}", "GET HEAD", "pull blob", auth.Pull, p.pullBlob},
		{name + "/blobs/{digest}", "DELETE", "delete blob", auth.Delete, p.deleteBlob},
	} {
		router.HandleFunc(route.path, p.route(route.operation, route.action, route.serve)).Methods(strings.Fields(route.method)...)
	}
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.answerError(w, r, refuse(http.StatusNotFound, "UNSUPPORTED", "this is no address of the registry API, or not in this form; pages and the API for people are on the other port"))
	})
	router.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(allowed(router, r), ", "))
		p.answerError(w, r, refuse(http.StatusMethodNotAllowed, "UNSUPPORTED", "the registry does not do "+r.Method+" here"))
	})
	return p.guard(router)
}

// allowed lists the methods that an address takes.
func allowed(router *mux.Router, r *http.Request) []string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		var match mux.RouteMatch
		if router.Match(other, &match) && match.MatchErr == nil {
			methods = append(methods, method)
		}
	}
	return methods
}

// Run gives up uploads that nobody goes on with, until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	tick := time.NewTicker(uploadParked)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return p.uploads.abandon(context.WithoutCancel(ctx), func(*upload) bool { return true })
		case now := <-tick.C:
			p.uploads.parkIdle(now)
			err := p.uploads.abandon(ctx, func(u *upload) bool { return now.Sub(u.touched) > uploadIdle })
			if err != nil {
				p.Log.Warn("abandoned upload not cancelled upstream", "error", err)
			}
		}
	}
}

// request is a parsed request: who wants to do what with which repository.
type request struct {
	caller    auth.Caller
	client    string // address that the request came from, without the port
	target    gate.Target
	name      string // of the repository, as the client wrote it: for addresses in answers
	namespace string // containerd's ns parameter
	vars      map[string]string
}

// may reports whether the caller may do this to the repository: its token speaks
// of the name as the client wrote it, the rules of what that stands for.
func (q request) may(action string) bool {
	return q.caller.Can(action, q.name, q.target.Name())
}

func (q request) question(tag string) gate.Question {
	return gate.Question{Target: q.target, Tag: tag, Principal: q.caller.Name}
}

// route parses a request, checks who asks, and answers errors by the one table.
func (p *Proxy) route(operation, action string, serveIt func(http.ResponseWriter, *http.Request, request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		serve.Note(r.Context(), operation)
		q, err := p.parse(r, action)
		if q.namespace != "" && err == nil {
			w.Header().Set("OCI-Namespace", q.namespace)
		}
		if err == nil {
			err = serveIt(w, r, q)
		}
		if err != nil {
			err = errors.Join(err, p.noteRefusal(r.Context(), q, err))
			p.answerError(w, r, err)
		}
	}
}

func (p *Proxy) parse(r *http.Request, action string) (request, error) {
	q := request{vars: mux.Vars(r), namespace: r.URL.Query().Get("ns")}
	q.client, _, _ = net.SplitHostPort(r.RemoteAddr)
	q.name = q.vars["name"]
	if len(q.name) > 2*image.MaxRepositoryLength {
		return q, refuse(http.StatusBadRequest, "NAME_INVALID", "the repository name is too long")
	}
	var err error
	if q.caller, err = p.Auth.Caller(r); err != nil {
		return q, &challenge{scopes: scopesFor(action, q.name)}
	}
	ask := &challenge{scopes: scopesFor(action, q.name), known: q.caller.Token}
	target, err := p.Upstreams.Lookup(q.name, q.namespace)
	if err != nil && q.caller.Asked(action, q.name) && (q.caller.Token || !p.Auth.Closed()) {
		return q, err
	}
	if err != nil { // which registries there are is not for everybody
		return q, ask
	}
	q.target = target
	switch {
	case q.may(action):
		return q, nil
	case q.caller.Anonymous() || p.Auth.May(q.caller.Name, action, target.Name()):
		return q, ask
	}
	return q, &failure{status: http.StatusForbidden, code: "DENIED", audit: audit.Forbidden,
		message: fmt.Sprintf("pratique: %s has no right to %s %s: whoever runs this registry grants it (auth.rules)", q.caller.Name, action, target.Name())}
}

func scopesFor(action, name string) []auth.Scope {
	actions := []string{action}
	if action == auth.Push {
		actions = []string{auth.Pull, auth.Push}
	}
	return []auth.Scope{{Type: "repository", Name: name, Actions: actions}}
}

// ping answers the version check. Without a token it sends the client to the
// token service, so that a pull asks for pull alone and can be told from a push.
func (p *Proxy) ping(w http.ResponseWriter, r *http.Request) {
	serve.Note(r.Context(), "ping")
	c, err := p.Auth.Caller(r)
	if err != nil || !c.Token {
		p.answerError(w, r, &challenge{})
		return
	}
	writeJSON(w, http.StatusOK, "application/json", struct{}{})
}

func parseDigest(text string) (digest.Digest, error) {
	d, err := digest.Parse(text)
	if err != nil {
		return "", refuse(http.StatusBadRequest, "DIGEST_INVALID", "the digest cannot be read")
	}
	if image.SupportedDigest(d) != nil {
		return "", refuse(http.StatusBadRequest, "DIGEST_INVALID", "the digest is neither sha256 nor sha512")
	}
	return d, nil
}

// parseReference tells a digest from a tag.
func parseReference(text string) (d digest.Digest, tag string, err error) {
	if strings.Contains(text, ":") {
		d, err = parseDigest(text)
		return d, "", err
	}
	if !image.ValidTag(text) {
		return "", "", refuse(http.StatusBadRequest, "TAG_INVALID", "the tag is not one that the specification allows")
	}
	return "", text, nil
}

func note(operation string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve.Note(r.Context(), operation)
		next.ServeHTTP(w, r)
	})
}

// notFound reports whether an error says that content is not there.
func notFound(err error) bool {
	return errors.Is(err, image.ErrBlobUnknown) || errors.Is(err, image.ErrManifestUnknown) || errors.Is(err, image.ErrNameUnknown)
}
