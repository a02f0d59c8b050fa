// Package api is the door for people and their tools: the pages that explain
// why an image was refused, Anchore's API as far as its clients need it, and
// what the command line asks.
//
// It decides nothing about images: the gate does, and this package puts its
// decisions into words, tables and JSON. Start with Handler for the routes;
// access.go says who may ask what, report.go gathers what is known of an image,
// page.go draws it, anchore.go, policies.go and evaluation.go speak Anchore's API,
// breakglass.go, check.go, clusters.go and status.go our own.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// API is safe for concurrent use. All fields but Feeds and Now must be set.
type API struct {
	Gate    *gate.Gate
	Catalog *catalog.Catalog
	Metrics *serve.Metrics
	// Feeds tells the state of every feed as of its last sync; nil when there
	// are none.
	Feeds   func() ([]advisory.FeedStatus, error)
	Version string
	// RegistryHost is the address of the proxy as people type it before an
	// image's name: "127.0.0.1:5000".
	RegistryHost string
	// OpenLoopback: it listens on loopback alone. While everybody on this machine
	// may do everything that needs no name (Auth.Open), with any password or none,
	// requests that come from elsewhere by way of a browser or another proxy are
	// turned away.
	OpenLoopback bool
	Auth         *auth.Service
	Audit        *audit.Trail
	// Collect runs a garbage collection and tells what it has removed.
	Collect func(context.Context) (any, error)
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Limits of one request. A check may wait for the first analysis of an image.
const (
	maxHeld       = 2 * time.Minute
	maxParameters = 8 << 10 // bytes of the query
)

// Handler returns all routes. Anchore's stand under /v1 and, because people
// configure its clients with the bare host, without it too.
func (a *API) Handler() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	for _, route := range []struct {
		path, methods, operation string
		serve                    func(http.ResponseWriter, *http.Request) error
	}{
		{"/healthz", "GET HEAD", "alive", a.alive},
		{"/readyz", "GET HEAD", "ready", a.ready},
		{"/", "GET HEAD", "home", a.home},
		{"/report/{digest}", "GET HEAD", "report", a.report},
		{"/v1/pratique/check", "GET HEAD", "check", a.check},
		{"/v1/pratique/standing", "POST", "standing", a.inquire},
		{"/v1/pratique/status", "GET HEAD", "status", a.status},
		{"/v1/pratique/audit", "GET HEAD", "audit trail", a.auditTrail},
		{"/v1/pratique/break-glass", "GET HEAD", "list grants", a.listPasses},
		{"/v1/pratique/break-glass", "POST", "break glass", a.grantPass},
		{"/v1/pratique/break-glass/{id}", "DELETE", "end grant", a.endPass},
		{"/v1/pratique/quarantine", "GET HEAD", "list quarantine", a.listHolds},
		{"/v1/pratique/quarantine/{what:release|drop}", "POST", "end quarantine", a.endHold},
		{"/v1/pratique/exceptions", "GET HEAD", "list exceptions", a.listExceptions},
		{"/v1/pratique/exceptions/{cluster}", "PUT", "put exceptions", a.putExceptions},
		{"/v1/pratique/running", "GET HEAD", "list what runs", a.listRunning},
		{"/v1/pratique/running/{cluster}", "PUT", "put what runs", a.putRunning},
		{"/v1/pratique/collect", "POST", "collect garbage", a.collect},
		{"/v1/events", "GET HEAD", "events", a.events},
		{"/v1", "GET HEAD", "anchore root", a.anchoreRoot},
		{"/v1/", "GET HEAD", "anchore root", a.anchoreRoot},
	} {
		r.HandleFunc(route.path, a.route(route.operation, route.serve)).Methods(strings.Fields(route.methods)...)
	}
	for _, prefix := range []string{"", "/v1"} {
		a.anchoreRoutes(r, prefix)
	}
	r.Handle("/metrics", named("metrics", a.Metrics.Handler())).Methods(http.MethodGet)
	r.NotFoundHandler = a.route("unknown address", func(http.ResponseWriter, *http.Request) error {
		return refuse(http.StatusNotFound, "there is nothing at this address")
	})
	r.MethodNotAllowedHandler = a.route("unknown method", func(http.ResponseWriter, *http.Request) error {
		return refuse(http.StatusMethodNotAllowed, "this address does not take this method")
	})
	return a.guard(r)
}

func (a *API) anchoreRoutes(r *mux.Router, prefix string) {
	for _, route := range []struct {
		path, methods, operation string
		serve                    func(http.ResponseWriter, *http.Request) error
	}{
		{"/health", "GET HEAD", "health", a.alive},
		{"/version", "GET HEAD", "version", a.version},
		{"/swagger.json", "GET HEAD", "api version", a.swagger},
		{"/status", "GET HEAD", "anchore status", a.anchoreStatus},
		{"/system", "GET HEAD", "anchore system", a.anchoreSystem},
		{"/system/feeds", "GET HEAD", "anchore feeds", a.anchoreFeeds},
		{"/policies", "GET HEAD", "list policies", a.listPolicies},
		{"/policies", "POST", "add policy", a.addPolicy},
		{"/policies/{id}", "GET HEAD", "get policy", a.getPolicy},
		{"/policies/{id}", "PUT", "change policy", a.changePolicy},
		{"/images/{digest}/check", "GET HEAD", "anchore check", a.evaluate},
	} {
		r.HandleFunc(prefix+route.path, a.route(route.operation, route.serve)).Methods(strings.Fields(route.methods)...)
	}
}

// route names the operation, bounds the time of the request, and answers errors
// by the one table.
func (a *API) route(operation string, handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		serve.Note(r.Context(), operation)
		ctx, cancel := context.WithTimeout(r.Context(), maxHeld)
		defer cancel()
		r = r.WithContext(ctx)
		if err := handle(w, r); err != nil {
			a.answerError(w, r, err)
		}
	}
}

func named(operation string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve.Note(r.Context(), operation)
		next.ServeHTTP(w, r)
	})
}

func (a *API) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}
