// Package admission is the door for clusters: what they want to run is judged by
// the digest that will run, by the verdicts of the gate, within the time that an
// API server gives.
//
// It decides nothing about images: gate.Standings does, and this package turns
// how an image stands into an answer by configuration. It analyses nothing and
// waits for no analysis. How tags are resolved, and what a cluster knows of
// namespaces and secrets, it is told through Resolver, Namespaces and
// PullSecrets.
//
// Start with Webhook.Handler for the routes; review.go reads what an API server
// sends, pods.go finds the images in it, rules.go chooses how each is judged,
// decide.go judges them, answer.go puts the decision into words.
package admission

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// Options are what a Webhook is made of. Standings, Resolver, Metrics and Log
// must be set.
type Options struct {
	Config    Config
	Standings gate.Standings
	Resolver  Resolver
	// Namespaces is nil for NamesOnly, PullSecrets for NoPullSecrets.
	Namespaces  Namespaces
	PullSecrets PullSecrets
	// Grants gives break-glass grants beside those of the configuration; nil for
	// none. It is called for refusals and must not block.
	Grants func() []Grant
	// Platforms gives those of the cluster's nodes; nil for none. The
	// configuration comes first. It is called for each image and must not block.
	Platforms func() []string
	// Admissions remembers what was let in; nil for nobody.
	Admissions gate.Admissions
	// Refused is told of objects that were not let in; nil for nobody. It must not
	// block.
	Refused func(Refusal)
	// GetCertificate gives the certificate in force; nil for the files of
	// Config.TLS. It is called with an empty hello too.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Ready tells what else keeps API servers from calling, such as an authority
	// that they do not know yet; nil for nothing. It must not block.
	Ready   func() error
	Metrics *serve.Metrics
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Webhook answers clusters. It is safe for concurrent use.
type Webhook struct {
	standings   gate.Standings
	admissions  gate.Admissions
	refused     func(Refusal)
	remembered  chan gate.Admitted // for Run to write down
	namespaces  Namespaces
	grants      func() []Grant
	platforms   func() []string
	callable    func() error // what Options.Ready says
	resolutions *resolutions
	figures     *figures
	metrics     *serve.Metrics
	log         *slog.Logger
	now         func() time.Time
	server      *serve.Server

	rules    atomic.Pointer[rules]
	reload   sync.Mutex // held while rules are made and put in force
	failed   string     // what was wrong with changed files; owned by Run
	draining atomic.Bool

	flights *flights[gate.Standing]
}

// drain is how long requests that are under way may take at the end.
const drain = longestReview

// New makes a webhook. What is wrong with the configuration, or with the files
// that it names, is an error: it names all of it.
func New(o Options) (*Webhook, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Namespaces == nil {
		o.Namespaces = NamesOnly{}
	}
	if o.PullSecrets == nil {
		o.PullSecrets = NoPullSecrets{}
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	w := &Webhook{
		standings: o.Standings, admissions: o.Admissions, refused: o.Refused, remembered: make(chan gate.Admitted, maxRemembered), namespaces: o.Namespaces, grants: o.Grants, platforms: o.Platforms,
		callable: o.Ready, metrics: o.Metrics, log: o.Log, now: o.Now,
	}
	w.figures = newFigures(o.Metrics, w)
	w.resolutions, w.flights = newResolutions(o, w.figures), newFlights[gate.Standing](standingTime, o.Log)
	// An API server that creates hundreds of pods at once sends them over one
	// connection by HTTP/2, instead of making hundreds; and it is told before the
	// connection ends, so that no request is lost between two replicas.
	w.server = &serve.Server{
		Name: "admission", Listen: o.Config.Listen, TLS: o.Config.TLS, GetCertificate: o.GetCertificate, HTTP2: true, Limits: o.Config.Limits,
		Handler: w.Handler(), Drain: drain, Metrics: o.Metrics, Log: o.Log,
	}
	if err := w.Reload(o.Config); err != nil {
		return nil, err
	}
	return w, nil
}

// Reload puts another configuration in force, from the next request on. One that
// is wrong is an error, and the one in force stays. Listen, TLS and Limits are
// those of the start.
func (w *Webhook) Reload(c Config) error {
	w.reload.Lock()
	defer w.reload.Unlock()
	rs, warnings, err := compile(c)
	if err == nil {
		err = rs.possible(w.namespaces)
	}
	w.figures.reloaded(err)
	if err != nil {
		return fmt.Errorf("configuration of admission: %w", err)
	}
	for _, text := range warnings {
		w.log.Warn("doubtful admission setting", "problem", text)
	}
	w.rules.Store(rs)
	return nil
}

// possible refuses selectors for which there is nobody to ask.
func (r *rules) possible(n Namespaces) error {
	if _, blind := n.(NamesOnly); !blind {
		return nil
	}
	for _, s := range r.selectors {
		if s.Type == MatchNamespace && !s.byName && s.Key != "kubernetes.io/metadata.name" {
			return fmt.Errorf("selector %q looks at labels of namespaces, and there is no access to a cluster: only the key \"name\" can be matched", s.settings.selector)
		}
	}
	return nil
}

// Handler returns all routes.
func (w *Webhook) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range []struct {
		pattern, operation string
		serve              func(http.ResponseWriter, *http.Request) error
	}{
		{"POST /validate", "validate", w.validate},
		{"POST /mutate", "mutate", w.mutate},
		{"POST /image-review", "image review", w.imageReview},
		{"POST /gatekeeper", "gatekeeper", w.gatekeeper},
		{"GET /healthz", "alive", w.alive},
		{"GET /readyz", "ready", w.ready},
	} {
		mux.HandleFunc(route.pattern, w.route(route.operation, route.serve))
	}
	mux.Handle("GET /metrics", w.metrics.Handler())
	quiet := map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true}
	return serve.Recorded("admission", w.log, w.metrics, quiet, mux)
}

// route names the operation, and answers errors by the one table.
func (w *Webhook) route(operation string, handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		serve.Note(r.Context(), operation)
		if w.draining.Load() {
			rw.Header().Set("Connection", "close") // the next request goes to somebody who stays
		}
		err := handle(rw, r)
		var wrong *badRequest
		switch {
		case err == nil:
		case errors.As(err, &wrong):
			http.Error(rw, "pratique: "+wrong.message, wrong.status)
		case errors.Is(err, errUndecided):
			serve.Note(r.Context(), "", slog.String("error", err.Error()))
			http.Error(rw, cut("pratique: this is no refusal, the check itself failed: "+clean(err.Error()), maxMessage), http.StatusInternalServerError)
		default:
			serve.Note(r.Context(), "", slog.String("error", err.Error()))
			http.Error(rw, "pratique: this is no refusal, something went wrong inside", http.StatusInternalServerError)
		}
	}
}
