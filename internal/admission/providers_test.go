package admission_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	imagepolicy "k8s.io/api/imagepolicy/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique/pratique/internal/admission"
)

// TestImageReview: what the plug-in ImagePolicyWebhook is told.
func TestImageReview(t *testing.T) {
	w := start(t, nil)
	for _, tt := range []struct {
		images    []string
		namespace string
		status    int
		allowed   bool
		says      string
	}{
		{[]string{good, doubt}, "shop", 200, true, ""},
		{[]string{good, evil}, "shop", 200, false, "CVE-2023-0286"},
		{[]string{evil}, "kube-system", 200, true, ""},
		{[]string{broken}, "shop", 500, false, ""},
	} {
		ask := imagepolicy.ImageReview{TypeMeta: metav1.TypeMeta{APIVersion: "imagepolicy.k8s.io/v1alpha1", Kind: "ImageReview"}, Spec: imagepolicy.ImageReviewSpec{Namespace: tt.namespace}}
		for _, im := range tt.images {
			ask.Spec.Containers = append(ask.Spec.Containers, imagepolicy.ImageReviewContainerSpec{Image: im})
		}
		rec := post(t, w, "/image-review", ask)
		var got imagepolicy.ImageReview
		if rec.Code == http.StatusOK {
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got.Kind != "ImageReview" || got.APIVersion != ask.APIVersion {
				t.Fatalf("%v: %s", err, rec.Body)
			}
		}
		if rec.Code != tt.status || got.Status.Allowed != tt.allowed || !strings.Contains(got.Status.Reason, tt.says) || (tt.says == "") != (got.Status.Reason == "") {
			t.Errorf("%v in %s: %d %s", tt.images, tt.namespace, rec.Code, rec.Body)
		}
	}
	if rec := post(t, w, "/image-review", m{"kind": "AdmissionReview"}); rec.Code != http.StatusBadRequest {
		t.Errorf("%d", rec.Code)
	}
}

// TestGatekeeper: an answer for each key, in their order.
func TestGatekeeper(t *testing.T) {
	w := start(t, func(o *admission.Options) {
		o.Config.Selectors = []admission.Selector{
			{Match: admission.Match{Type: "namespace", Key: "name", Value: ".*"}, Mode: "passive"}, // nothing is known of namespaces here
			{Match: admission.Match{Type: "image", Value: ".*"}},
		}
	})
	rec := post(t, w, "/gatekeeper", m{"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": m{"keys": []string{evil, good, broken, "no reference", good}}})
	type value struct{ Digest, State, Answer, Message string }
	var got struct {
		APIVersion, Kind string
		Response         struct {
			Idempotent  bool
			SystemError string
			Items       []struct {
				Key, Error string
				Value      *value
			}
		}
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("%v: %s", err, rec.Body)
	}
	if got.Kind != "ProviderResponse" || got.APIVersion != "externaldata.gatekeeper.sh/v1beta1" || !got.Response.Idempotent || got.Response.SystemError != "" {
		t.Errorf("%s", rec.Body)
	}
	var lines []string
	for _, item := range got.Response.Items {
		line := item.Key + " " + item.Error
		if v := item.Value; v != nil {
			line = item.Key + " " + v.Answer + " " + v.State + " " + v.Digest
		}
		lines = append(lines, line)
	}
	wanted := []string{
		evil + " deny fail " + digestOf(evil).String(), good + " allow pass " + digestOf(good).String(),
		broken + " the vulnerability data are too old", "no reference deny unknown ",
	}
	if diff := cmp.Diff(wanted, lines); diff != "" {
		t.Error(diff)
	}
	if rec := post(t, w, "/gatekeeper", m{"apiVersion": "externaldata.gatekeeper.sh/v1alpha1", "kind": "ProviderRequest"}); rec.Code != http.StatusBadRequest {
		t.Errorf("%d", rec.Code)
	}
}
