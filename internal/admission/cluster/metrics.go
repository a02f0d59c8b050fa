package cluster

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pratique/pratique/internal/gate"
)

// descs are the figures about certificates.
var (
	expiryDesc = prometheus.NewDesc("pratique_admission_certificate_expiry_timestamp_seconds",
		"When the webhook's certificate, or its authority, expires.", []string{"certificate"}, nil)
	staleDesc = prometheus.NewDesc("pratique_admission_ca_bundle_stale",
		"1 if the caBundle of the webhook configuration is not known to be current.", []string{"kind", "name"}, nil)
)

func describeCertificate(ch chan<- *prometheus.Desc) {
	ch <- expiryDesc
	ch <- staleDesc
}

func collectExpiry(ch chan<- prometheus.Metric, certificate string, at time.Time) {
	ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(at.Unix()), certificate)
}

func collectStale(ch chan<- prometheus.Metric, kind, name string, stale bool) {
	value := 0.0
	if stale {
		value = 1
	}
	ch <- prometheus.MustNewConstMetric(staleDesc, prometheus.GaugeValue, value, kind, name)
}

// atomicTime is a time that may be read while it is written. The zero value is
// long ago.
type atomicTime struct{ nanos atomic.Int64 }

func (t *atomicTime) Store(at time.Time) { t.nanos.Store(at.UnixNano()) }
func (t *atomicTime) Load() time.Time    { return time.Unix(0, t.nanos.Load()) }

// figures are those of an inventory.
type figures struct {
	flips, events, reports, evictions *prometheus.CounterVec
}

func newFigures() *figures {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &figures{
		flips:     counter("pratique_running_image_flips_total", "Running images that came to stand differently. From is empty for one that policy stopped at first sight.", "from", "to"),
		events:    counter("pratique_inventory_events_total", "Kubernetes Events about running images: made, or dropped because there were too many.", "result"),
		reports:   counter("pratique_inventory_reports_total", "Reports on workloads: written or failed.", "result"),
		evictions: counter("pratique_evictions_total", "Evictions: evicted, held by a disruption budget, gone before, or failed.", "result"),
	}
}

var (
	runningDesc  = prometheus.NewDesc("pratique_running_images", "Images that run in the cluster, by how they stand.", []string{"state"}, nil)
	comparedDesc = prometheus.NewDesc("pratique_running_images_by_admission", "Images that run in the cluster, by how they came in: this very image was admitted, another one under its name, none, or unknown.", []string{"admission"}, nil)
	podsDesc     = prometheus.NewDesc("pratique_running_pods", "Pods that the inventory knows.", nil, nil)
	leaderDesc   = prometheus.NewDesc("pratique_inventory_leader", "1 if this replica writes Events and reports.", nil, nil)
)

// states are all that an image can have; "" is one that has not been asked about.
var states = []gate.State{gate.StatePass, gate.StateWarn, gate.StateFail, gate.StatePending, gate.StateUnknown, gate.StateUnmapped, gate.StateError, ""}

func (f *figures) counters() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{f.flips, f.events, f.reports, f.evictions}
}

func (f *figures) describe(ch chan<- *prometheus.Desc) {
	for _, c := range f.counters() {
		c.Describe(ch)
	}
	ch <- runningDesc
	ch <- comparedDesc
	ch <- podsDesc
	ch <- leaderDesc
}

func (f *figures) collect(ch chan<- prometheus.Metric, byState map[gate.State]int, byAdmission map[string]int, pods int, leads bool) {
	for _, c := range f.counters() {
		c.Collect(ch)
	}
	for _, s := range states {
		ch <- prometheus.MustNewConstMetric(runningDesc, prometheus.GaugeValue, float64(byState[s]), cmp.Or(string(s), "new"))
	}
	for _, how := range []string{AdmittedSame, AdmittedOther, AdmittedNone, ""} {
		ch <- prometheus.MustNewConstMetric(comparedDesc, prometheus.GaugeValue, float64(byAdmission[how]), cmp.Or(how, "unknown"))
	}
	ch <- prometheus.MustNewConstMetric(podsDesc, prometheus.GaugeValue, float64(pods))
	lead := 0.0
	if leads {
		lead = 1
	}
	ch <- prometheus.MustNewConstMetric(leaderDesc, prometheus.GaugeValue, lead)
}
