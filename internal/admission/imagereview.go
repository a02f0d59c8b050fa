package admission

import (
	"net/http"
	"strconv"
	"time"

	imagepolicy "k8s.io/api/imagepolicy/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// imageReview answers /image-review, for the admission plug-in ImagePolicyWebhook
// of API servers. It tells of the pod its images, its namespace and those of its
// annotations that have image-policy.k8s.io in their key, and nothing of who
// asks.
func (w *Webhook) imageReview(rw http.ResponseWriter, r *http.Request) error {
	begun := time.Now()
	ctx, cancel, err := deadline(r)
	if err != nil {
		return err
	}
	defer cancel()
	var review imagepolicy.ImageReview
	if err := readJSON(rw, r, &review); err != nil {
		return err
	}
	if review.APIVersion != imagepolicy.SchemeGroupVersion.String() || review.Kind != "ImageReview" {
		return bad(http.StatusBadRequest, "want an ImageReview of %s", imagepolicy.SchemeGroupVersion)
	}
	if len(review.Spec.Containers) > maxImages {
		return bad(http.StatusBadRequest, "more than %d containers", maxImages)
	}
	d := w.decide(ctx, w.rules.Load(), w.askedBy(review.Spec))
	w.noted(r.Context(), d)
	w.figures.plain("image-review", d.answer, time.Since(begun))
	if err := d.failure(); err != nil {
		return err
	}
	status := imagepolicy.ImageReviewStatus{Allowed: d.allowed(), AuditAnnotations: d.audit()}
	if !status.Allowed {
		status.Reason = d.message(Deny)
	}
	writeJSON(rw, http.StatusOK, imagepolicy.ImageReview{
		TypeMeta: metav1.TypeMeta{APIVersion: review.APIVersion, Kind: review.Kind}, Status: status,
	})
	return nil
}

func (w *Webhook) askedBy(spec imagepolicy.ImageReviewSpec) *question {
	q := &question{subject: subject{namespace: spec.Namespace, annotations: spec.Annotations, lookUp: w.lookUp(spec.Namespace)}}
	for i, c := range spec.Containers {
		q.images = append(q.images, slot{path: "spec.containers[" + strconv.Itoa(i) + "].image", image: c.Image, from: pullFrom{serviceAccount: "default"}})
	}
	return q
}
