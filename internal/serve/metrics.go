package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are all figures that Pratique exposes. Its methods are safe for
// concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	verdicts *prometheus.CounterVec
	lookups  *prometheus.CounterVec
	analysis *prometheus.HistogramVec
	spooled  prometheus.Counter
	limited  *prometheus.CounterVec
	gaps     *prometheus.CounterVec
}

// NewMetrics makes the figures, all zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pratique_requests_total", Help: "Requests by door, operation and HTTP status."}, []string{"door", "operation", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pratique_request_seconds", Help: "Time from the first byte of a request to the last of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10)}, []string{"door", "operation"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pratique_bytes_total", Help: "Bytes of bodies, by door and direction (in: from clients, out: to clients)."}, []string{"door", "direction"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pratique_verdicts_total", Help: "Verdicts made, by action."}, []string{"action"}),
		lookups:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pratique_verdict_lookups_total", Help: "Look-ups of verdicts, by the tier that answered."}, []string{"tier"}),
		analysis: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pratique_analysis_seconds", Help: "Time to analyse one layer or to judge one image.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10)}, []string{"step"}),
		spooled: prometheus.NewCounter(prometheus.CounterOpts{Name: "pratique_spool_overflows_total", Help: "Uploads whose analysis could not keep up and has to read the layer again."}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pratique_limited_total", Help: "Requests, connections and transfers that a limit of the door turned away, held up or cut, by limit."}, []string{"door", "limit"}),
		gaps:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pratique_analysis_gaps_total", Help: "What could not be read of layers, by code and by how much it hides (blind, partial). Limits of the analysis end in one."}, []string{"code", "kind"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.bytes, m.verdicts, m.lookups, m.analysis, m.spooled, m.limited, m.gaps,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Register exposes figures that a door has beside these, once.
func (m *Metrics) Register(figures ...prometheus.Collector) { m.registry.MustRegister(figures...) }

// Request counts one answered request.
func (m *Metrics) Request(door, operation string, status int, took time.Duration, in, out int64) {
	m.requests.WithLabelValues(door, operation, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(door, operation).Observe(took.Seconds())
	m.bytes.WithLabelValues(door, "in").Add(float64(in))
	m.bytes.WithLabelValues(door, "out").Add(float64(out))
}

// Verdict counts one verdict that was made.
func (m *Metrics) Verdict(action string) { m.verdicts.WithLabelValues(action).Inc() }

// Lookup counts one look-up of a verdict by the tier that answered.
func (m *Metrics) Lookup(tier string) { m.lookups.WithLabelValues(tier).Inc() }

// Analysis notes how long a step took: "layer" or "image".
func (m *Metrics) Analysis(step string, took time.Duration) {
	m.analysis.WithLabelValues(step).Observe(took.Seconds())
}

// Gap counts something that could not be read of a layer.
func (m *Metrics) Gap(code, kind string) { m.gaps.WithLabelValues(code, kind).Inc() }

// Overflow counts one upload that its analysis could not follow.
func (m *Metrics) Overflow() { m.spooled.Inc() }

// Limited counts what a limit of a door turned away, held up or cut. Without
// figures, on nil, it does nothing.
func (m *Metrics) Limited(door, limit string) {
	if m != nil {
		m.limited.WithLabelValues(door, limit).Inc()
	}
}

// FeedAge exposes the age of every feed, in seconds since it was last brought
// up to date.
func (m *Metrics) FeedAge(ages func() map[string]time.Duration) {
	m.registry.MustRegister(feedAge(ages))
}

type feedAge func() map[string]time.Duration

var feedAgeDesc = prometheus.NewDesc("pratique_feed_age_seconds", "Seconds since the feed was last brought up to date.", []string{"feed"}, nil)

// Describe is part of prometheus.Collector.
func (f feedAge) Describe(ch chan<- *prometheus.Desc) { ch <- feedAgeDesc }

// Collect is part of prometheus.Collector.
func (f feedAge) Collect(ch chan<- prometheus.Metric) {
	for feed, age := range f() {
		ch <- prometheus.MustNewConstMetric(feedAgeDesc, prometheus.GaugeValue, age.Seconds(), feed)
	}
}

// Handler serves the figures in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
