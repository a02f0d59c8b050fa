package admission

import (
	"encoding/json"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Refusal is an object that was not let in.
type Refusal struct {
	Object     corev1.ObjectReference // without uid where it is not there yet
	Controller *metav1.OwnerReference // nil: nobody made it but who asked
	Message    string
}

// tellRefusal hands a refusal on. Dry runs are nobody's news.
func (w *Webhook) tellRefusal(req *admissionv1.AdmissionRequest, d decision) {
	if w.refused == nil || d.answer != Deny || dryRun(req) {
		return
	}
	var o metav1.PartialObjectMetadata
	if json.Unmarshal(req.Object.Raw, &o) != nil {
		return // who asked has the answer
	}
	r := Refusal{Message: strings.TrimPrefix(d.message(Deny), "pratique: "), Controller: metav1.GetControllerOf(&o), Object: corev1.ObjectReference{
		APIVersion: o.APIVersion, Kind: req.Kind.Kind, Namespace: req.Namespace, Name: o.Name, UID: o.UID,
	}}
	if r.Object.Name == "" {
		r.Object.Name = o.GenerateName
	}
	w.refused(r)
}
