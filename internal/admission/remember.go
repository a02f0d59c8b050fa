package admission

import (
	"context"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pratique/pratique/internal/gate"
)

// Bounds of what is remembered of images that were let in.
const (
	maxRemembered   = 10_000 // that wait to be written; more are dropped
	rememberBatch   = 500
	rememberPause   = 200 * time.Millisecond // for a batch to fill
	rememberTimeout = 5 * time.Second
)

// remember notes the images of a pod that was let in, so that what runs can be
// held against it. It does not wait: an image that is not noted is one that
// nobody can say was admitted.
func (w *Webhook) remember(rs *rules, req *admissionv1.AdmissionRequest, d decision) {
	if w.admissions == nil || req.Kind.Kind != "Pod" || dryRun(req) || !d.allowed() {
		return
	}
	for _, o := range d.outcomes {
		if o.digest == "" || o.err != nil {
			continue
		}
		a := gate.Admitted{Cluster: rs.Cluster, Namespace: req.Namespace, Reference: o.ref.String(), Digest: o.digest, State: o.state, Answer: o.answer, At: w.now().UTC()}
		select {
		case w.remembered <- a:
		default:
			w.figures.forgotten.Inc()
		}
	}
}

// write writes down what is remembered until ctx ends, and then what is left.
func (w *Webhook) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for len(w.remembered) > 0 {
				w.writeBatch(nil)
			}
			return
		case a := <-w.remembered:
			select { // others come with it
			case <-ctx.Done():
			case <-time.After(rememberPause):
			}
			w.writeBatch([]gate.Admitted{a})
		}
	}
}

func (w *Webhook) writeBatch(batch []gate.Admitted) {
	for len(batch) < rememberBatch {
		select {
		case a := <-w.remembered:
			batch = append(batch, a)
			continue
		default:
		}
		break
	}
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rememberTimeout)
	defer cancel()
	if err := w.admissions.NoteAdmitted(ctx, batch); err != nil {
		w.figures.forgotten.Add(float64(len(batch)))
		w.log.Warn("what was admitted is not noted", "images", len(batch), "error", err)
	}
}
