package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	kjson "k8s.io/apimachinery/pkg/util/json"

	"github.com/pratique/pratique/internal/serve"
)

const (
	// maxReview holds an object and the one before it, each as large as an API
	// server takes one (3 MiB), and the words around them.
	maxReview = 8 << 20
	// reviewTime is what an API server waits when it does not say how long.
	reviewTime = 10 * time.Second
	// longestReview is the most that an API server can wait.
	longestReview = 30 * time.Second
	// The margin between our own deadline and the API server's: a fifth of the
	// time, within these.
	leastMargin, mostMargin = 100 * time.Millisecond, 500 * time.Millisecond
)

// badRequest is what a client did wrong.
type badRequest struct {
	status  int
	message string
}

func (e *badRequest) Error() string { return e.message }

func bad(status int, format string, args ...any) error {
	return &badRequest{status, fmt.Sprintf(format, args...)}
}

// errUndecided: the webhook could not do its work. It is not a refusal, and is
// answered as HTTP 500: API servers show the text of no other failure.
var errUndecided = errors.New("not decided")

// validate answers /validate: may the object be?
func (w *Webhook) validate(rw http.ResponseWriter, r *http.Request) error {
	return w.review(rw, r, "validate", func(ctx context.Context, rs *rules, req *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
		d := w.decideOn(ctx, rs, req)
		w.noted(r.Context(), d)
		w.remember(rs, req, d)
		w.tellRefusal(req, d)
		if err := d.failure(); err != nil {
			return nil, err
		}
		res := &admissionv1.AdmissionResponse{Allowed: d.allowed(), Warnings: d.warnings(), AuditAnnotations: d.audit()}
		if !res.Allowed {
			res.Result = d.status()
		}
		return res, nil
	})
}

type reviewer func(context.Context, *rules, *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error)

// review reads an AdmissionReview, answers it within the time of the API server,
// and counts it.
func (w *Webhook) review(rw http.ResponseWriter, r *http.Request, endpoint string, answer reviewer) error {
	begun := time.Now()
	ctx, cancel, err := deadline(r)
	if err != nil {
		return err
	}
	defer cancel()
	var review admissionv1.AdmissionReview
	if err := readJSON(rw, r, &review); err != nil {
		return err
	}
	if review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != "AdmissionReview" {
		return bad(http.StatusBadRequest, "want an AdmissionReview of %s, this is %q of %q", admissionv1.SchemeGroupVersion, review.Kind, review.APIVersion)
	}
	req := review.Request
	if req == nil || req.UID == "" {
		return bad(http.StatusBadRequest, "the AdmissionReview has no request, or a request without uid")
	}
	serve.Note(r.Context(), "", slog.String("uid", string(req.UID)), slog.String("namespace", req.Namespace), slog.String("kind", req.Kind.Kind),
		slog.String("name", req.Name), slog.String("verb", string(req.Operation)), slog.String("user", req.UserInfo.Username), slog.Bool("dry_run", dryRun(req)))
	res, err := answer(ctx, w.rules.Load(), req)
	w.figures.review(endpoint, req, res, err, time.Since(begun))
	if err != nil {
		return err
	}
	res.UID = req.UID
	writeJSON(rw, http.StatusOK, admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: res})
	return nil
}

func dryRun(req *admissionv1.AdmissionRequest) bool { return req.DryRun != nil && *req.DryRun }

// deadline reads when the API server stops waiting, and ends a little earlier.
func deadline(r *http.Request) (context.Context, context.CancelFunc, error) {
	limit := reviewTime
	if text := r.URL.Query().Get("timeout"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil || limit <= 0 {
			return nil, nil, bad(http.StatusBadRequest, "timeout: %q is no duration", text)
		}
	}
	limit = min(limit, longestReview)
	limit -= min(max(limit/5, leastMargin), mostMargin)
	ctx, cancel := context.WithTimeout(r.Context(), max(limit, 0))
	return ctx, cancel, nil
}

// readJSON decodes a body as an API server would: keys have one spelling, and
// nothing follows.
func readJSON(rw http.ResponseWriter, r *http.Request, into any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return bad(http.StatusUnsupportedMediaType, "want application/json")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxReview))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return bad(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", large.Limit)
	case err != nil:
		return bad(http.StatusBadRequest, "the body could not be read")
	}
	if err := kjson.Unmarshal(raw, into); err != nil {
		return bad(http.StatusBadRequest, "the body is not the JSON that is wanted: %v", err)
	}
	return nil
}

// decideOn judges the object of a request.
func (w *Webhook) decideOn(ctx context.Context, rs *rules, req *admissionv1.AdmissionRequest) decision {
	o, images, err := rs.look(req)
	if err != nil {
		return rs.unread(req, err)
	}
	if len(images) == 0 {
		return decision{answer: Allow, note: "no image in it is new"}
	}
	q := &question{subject: w.subjectOf(req, o), images: images, dryRun: dryRun(req), soft: mirror(req, o)}
	return w.decide(ctx, rs, q)
}

// look reads the object of a request, and finds the images in it that are new.
// Where there is nothing to look at, the object is nil.
func (rs *rules) look(req *admissionv1.AdmissionRequest) (*object, []slot, error) {
	created, updated := req.Operation == admissionv1.Create, req.Operation == admissionv1.Update
	if !created && !updated || slices.Contains(imageless, req.SubResource) {
		return nil, nil, nil
	}
	o, err := rs.read(req.Kind.Group, req.Kind.Kind, req.Object.Raw)
	if err != nil {
		return nil, nil, err
	}
	if updated {
		// Without a readable object to compare with, every image is new.
		if old, err := rs.read(req.Kind.Group, req.Kind.Kind, req.OldObject.Raw); err == nil {
			return o, changed(o, old), nil
		}
	}
	return o, o.images, nil
}

// unread answers for an object that could not be read.
func (rs *rules) unread(req *admissionv1.AdmissionRequest, err error) decision {
	d := decision{answer: Deny, note: clean(err.Error())}
	if rs.exempt(req.Namespace) {
		d.answer = Allow
	} else if errors.Is(err, errUnreadKind) {
		d.answer = rs.UnreadKinds
	}
	return d
}

func (w *Webhook) subjectOf(req *admissionv1.AdmissionRequest, o *object) subject {
	s := subject{
		name: o.name, namespace: req.Namespace, labels: o.labels, annotations: o.annotations,
		user: user{req.UserInfo.Username, req.UserInfo.Groups}, lookUp: w.lookUp(req.Namespace),
	}
	if s.name == "" {
		s.name = req.Name
	}
	return s
}

// mirror reports whether a kubelet tells of a pod that it runs by its own files.
// From anybody else the annotation means nothing.
func mirror(req *admissionv1.AdmissionRequest, o *object) bool {
	_, annotated := o.annotations[annotationMirror]
	return annotated && req.Kind.Kind == "Pod" && slices.Contains(req.UserInfo.Groups, "system:nodes")
}

// noted adds a decision to the log line of the request. Broken glass has a line
// of its own: it is what somebody will look for.
func (w *Webhook) noted(ctx context.Context, d decision) {
	w.figures.decided(d)
	attrs := []slog.Attr{slog.String("decision", d.answer)}
	if d.note != "" {
		attrs = append(attrs, slog.String("note", d.note))
	}
	if len(d.outcomes) > 0 {
		var images []entry
		for _, o := range d.outcomes {
			images = append(images, o.entry())
		}
		attrs = append(attrs, slog.Any("images", images))
	}
	for _, o := range d.outcomes {
		if o.breach != nil && d.allowed() {
			w.log.Warn("break-glass used", "image", o.full, "digest", o.digest, "grant", o.breach.id, "by", o.breach.by, "until", o.breach.until, "reason", clean(o.breach.reason), "refusal", o.standing.Message)
		}
	}
	serve.Note(ctx, "", attrs...)
}

// writeJSON answers with a document. A client that has gone away is no error.
func writeJSON(rw http.ResponseWriter, status int, doc any) {
	raw, err := json.Marshal(doc)
	if err != nil {
		http.Error(rw, "pratique: the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = rw.Write(raw)
}

// result names what became of a review, for figures.
func result(res *admissionv1.AdmissionResponse, err error) string {
	switch {
	case err != nil:
		return Fail
	case !res.Allowed:
		return Deny
	case len(res.Warnings) > 0:
		return Warn
	}
	return Allow
}
