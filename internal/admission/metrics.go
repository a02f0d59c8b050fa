package admission

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// figures are those of this door, beside what serve counts of every one.
type figures struct {
	reviews     *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	images      *prometheus.CounterVec
	perReview   prometheus.Histogram
	resolutions *prometheus.CounterVec
	calls       *prometheus.HistogramVec
	wants       *prometheus.CounterVec
	broken      prometheus.Counter
	forgotten   prometheus.Counter
	reloads     *prometheus.CounterVec
}

// newFigures makes the figures and exposes them with all others.
func newFigures(m *serve.Metrics, w *Webhook) *figures {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pratique_admission_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pratique_admission_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 3, 10)}, labels)
	}
	f := &figures{
		reviews:     counter("requests_total", "Reviews by endpoint, decision (allow, warn, deny, fail), kind, operation and dry run.", "endpoint", "decision", "kind", "operation", "dry_run"),
		duration:    histogram("request_seconds", "Time of a review, by endpoint and decision.", "endpoint", "decision"),
		images:      counter("images_total", "Images judged, by state, mode and answer.", "state", "mode", "answer"),
		perReview:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pratique_admission_images_per_request", Help: "Images that a review had to judge.", Buckets: []float64{0, 1, 2, 4, 8, 16, 32}}),
		resolutions: counter("resolutions_total", "Tags looked up, by whether the digest was remembered (hit, miss).", "result"),
		calls:       histogram("call_seconds", "Time of calls, by what was asked (resolve, standing, namespace) and result (ok, error).", "what", "result"),
		wants:       counter("analyses_total", "Analyses of unknown images, by whether they could be asked for (asked, failed).", "result"),
		broken:      prometheus.NewCounter(prometheus.CounterOpts{Name: "pratique_admission_break_glass_total", Help: "Refused images that were let in by a break-glass grant."}),
		forgotten:   prometheus.NewCounter(prometheus.CounterOpts{Name: "pratique_admission_unnoted_total", Help: "Admitted images that could not be noted, so that nobody can say of them when they run that they were admitted."}),
		reloads:     counter("config_loads_total", "Configurations loaded, by result (ok, error).", "result"),
	}
	certificate := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pratique_admission_certificate_expiry_seconds", Help: "When the certificate runs out, as a Unix time; 0 if there is none."}, func() float64 {
		if until, err := w.certified(); err == nil && !until.IsZero() {
			return float64(until.Unix())
		}
		return 0
	})
	grants := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pratique_admission_grants", Help: "Break-glass grants that are in force."}, w.liveGrants)
	m.Register(f.reviews, f.duration, f.images, f.perReview, f.resolutions, f.calls, f.wants, f.broken, f.forgotten, f.reloads, certificate, grants)
	return f
}

func (w *Webhook) liveGrants() float64 {
	rs := w.rules.Load()
	if rs == nil {
		return 0
	}
	live := 0
	for _, g := range w.allGrants(rs) {
		if w.now().Before(g.Until) {
			live++
		}
	}
	return float64(live)
}

// review counts one review of an API server. Kinds that it may send are as many
// as there are custom resources: those that are not ours are one.
func (f *figures) review(endpoint string, req *admissionv1.AdmissionRequest, res *admissionv1.AdmissionResponse, err error, took time.Duration) {
	kind := req.Kind.Kind
	if _, ours := kinds[req.Kind.Group+"/"+kind]; !ours {
		kind = "other"
	}
	verb := string(req.Operation)
	if !slices.Contains([]admissionv1.Operation{admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect}, req.Operation) {
		verb = "other"
	}
	decision := result(res, err)
	f.reviews.WithLabelValues(endpoint, decision, kind, verb, strconv.FormatBool(dryRun(req))).Inc()
	f.duration.WithLabelValues(endpoint, decision).Observe(took.Seconds())
}

// plain counts one request that tells nothing but images.
func (f *figures) plain(endpoint, decision string, took time.Duration) {
	f.reviews.WithLabelValues(endpoint, decision, "", "", "false").Inc()
	f.duration.WithLabelValues(endpoint, decision).Observe(took.Seconds())
}

func (f *figures) decided(d decision) {
	f.perReview.Observe(float64(len(d.outcomes)))
	for _, o := range d.outcomes {
		f.images.WithLabelValues(string(o.state), o.settings.mode, o.answer).Inc()
		if o.breach != nil && d.allowed() {
			f.broken.Inc()
		}
	}
}

func (f *figures) resolution(result string) { f.resolutions.WithLabelValues(result).Inc() }

func (f *figures) want(result string) { f.wants.WithLabelValues(result).Inc() }

func (f *figures) reloaded(err error) { f.reloads.WithLabelValues(okOrError(err)).Inc() }

func (f *figures) call(what string, took time.Duration, err error) {
	f.calls.WithLabelValues(what, okOrError(err)).Observe(took.Seconds())
}

func okOrError(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// errOfState makes an error of a standing that is one, for figures.
func errOfState(st gate.Standing) error {
	if st.State == gate.StateError {
		return errors.New(st.Message)
	}
	return nil
}
