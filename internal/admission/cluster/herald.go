package cluster

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/pratique/pratique/internal/gate"
)

const (
	// eventRate is how many Events are made in a second, after a first burst:
	// new data can flip every image of a cluster at once.
	eventRate, eventBurst = 1, 100
	// maxEvent bounds the text of an Event, in bytes: API servers take 1 KiB.
	maxEvent = 1000
	// namedImages is how many images one Event names.
	namedImages = 3
)

// Reasons of Events, by what the image has come to.
var eventReasons = map[gate.State]string{
	gate.StateFail: "ImageVerdictFail", gate.StateWarn: "ImageVerdictWarn", gate.StatePass: "ImageVerdictPass",
}

// herald makes Events. client-go writes them: behind the caller's back, alike
// ones as one with a count, and no more than it should about one object.
type herald struct {
	recorder record.EventRecorder // nil: no Events
	cancel   context.CancelFunc
	pace     *rate.Limiter
	figures  *figures
}

func newHerald(ctx context.Context, i *Inventory) *herald {
	h := &herald{cancel: func() {}, pace: rate.NewLimiter(eventRate, eventBurst), figures: i.figures}
	if !i.config.Events {
		return h
	}
	ctx, h.cancel = context.WithCancel(ctx)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: i.client.CoreV1().Events("")})
	h.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: fieldManager})
	return h
}

// close ends what writes the Events.
func (h *herald) close() { h.cancel() }

// tell makes one Event for each way in which images of the workload flipped. An
// Event too many is dropped: reports and figures have it all the same.
func (h *herald) tell(w Workload, news []flip) {
	if h.recorder == nil {
		return
	}
	byState := map[gate.State][]flip{}
	for _, f := range news {
		byState[f.to] = append(byState[f.to], f)
	}
	for _, state := range []gate.State{gate.StateFail, gate.StateWarn, gate.StatePass} {
		if flips := byState[state]; len(flips) > 0 {
			h.event(w, state, story(flips))
		}
	}
}

func (h *herald) event(w Workload, state gate.State, text string) {
	if !h.pace.Allow() {
		h.figures.events.WithLabelValues("dropped").Inc()
		return
	}
	kind := corev1.EventTypeWarning
	if state == gate.StatePass {
		kind = corev1.EventTypeNormal
	}
	h.recorder.Event(w.reference(), kind, eventReasons[state], text)
	h.figures.events.WithLabelValues("made").Inc()
}

// evicted tells of a pod that was taken away.
func (h *herald) evicted(w Workload, pod, why string) {
	if h.recorder == nil {
		return
	}
	h.recorder.Event(w.reference(), corev1.EventTypeWarning, "ImageEvicted", cut("pod "+pod+" evicted: "+why, maxEvent))
	h.figures.events.WithLabelValues("made").Inc()
}

// story says what happened to images that have come to the same.
func story(flips []flip) string {
	var parts []string
	for _, f := range flips[:min(len(flips), namedImages)] {
		was := ""
		if f.from != "" {
			was = fmt.Sprintf(" (was %s)", f.from)
		}
		parts = append(parts, fmt.Sprintf("running image %s: %s%s: %s", f.subject, f.to, was, f.message))
	}
	if more := len(flips) - namedImages; more > 0 {
		// In front, where a cut does not take it.
		parts = append([]string{fmt.Sprintf("%d images", len(flips))}, parts...)
	}
	return cut(strings.Join(parts, "; "), maxEvent)
}

// cut shortens a text to so many bytes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("...")], "") + "..."
}
