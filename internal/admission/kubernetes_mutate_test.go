package admission_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/pratique/pratique/internal/admission"
)

const pinnedGood = "proxy.example:5000/docker.io/library/good:1@"

func (a *apiServer) pinning(t *testing.T, namespace string, reg *registryStub) *scene {
	t.Helper()
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) {
		o.Resolver, o.Config.Mutation = reg, admission.Mutation{Pin: true, PullAlways: true, Rewrite: map[string]string{"docker.io": "proxy.example:5000/docker.io"}}
		o.Config.Resolutions = time.Millisecond
	})
	return a.scene(t, namespace, true, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
}

// pinned: in every kind; a pod that is updated with what was written before stays
// as it is.
func (a *apiServer) pinned(t *testing.T) {
	s := a.pinning(t, "pinned", &registryStub{})
	wanted := pinnedGood + digestOf(good).String()
	for _, o := range templated(corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "good:1"}}}) {
		made, err := s.create(o, metav1.CreateOptions{})
		done(t)(made, err)
		raw, err := made.MarshalJSON()
		done(t)(raw, err)
		if text := string(raw); !strings.Contains(text, `"image":"`+wanted+`"`) || !strings.Contains(text, `"imagePullPolicy":"Always"`) || !strings.Contains(text, "pratique.io/original-images") {
			t.Errorf("%T is %s", o, text)
		}
	}
	pods := s.alice.CoreV1().Pods(s.namespace)
	before, err := pods.Get(t.Context(), "web", metav1.GetOptions{})
	done(t)(before, err)
	again := before.DeepCopy()
	again.Spec.Containers[0].Image = "good:1"
	after, err := pods.Update(t.Context(), again, metav1.UpdateOptions{})
	done(t)(after, err)
	if after.ResourceVersion != before.ResourceVersion || after.Spec.Containers[0].Image != wanted {
		t.Errorf("updating a pod with the tag makes %s of it, version %s after %s", after.Spec.Containers[0].Image, after.ResourceVersion, before.ResourceVersion)
	}
	again.Spec.Containers[0].Image = "evil:1"
	if _, err := pods.Update(t.Context(), again, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("another image: %v", err)
	}
	if unchanged, err := pods.Get(t.Context(), "web", metav1.GetOptions{}); err != nil || unchanged.ResourceVersion != before.ResourceVersion {
		t.Errorf("the pod has changed: %v", err)
	}
}

// appliedAgain: a file with a tag, applied again, makes nothing start anew; a tag
// that has moved does.
func (a *apiServer) appliedAgain(t *testing.T) {
	reg := &registryStub{}
	s := a.pinning(t, "applied", reg)
	deployments := s.alice.AppsV1().Deployments(s.namespace)
	labels := map[string]string{"app": "web"}
	file := applyapps.Deployment("web", s.namespace).WithSpec(applyapps.DeploymentSpec().
		WithSelector(applymeta.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(applycore.PodTemplateSpec().WithLabels(labels).WithSpec(applycore.PodSpec().
			WithContainers(applycore.Container().WithName("c").WithImage("good:1")))))
	var d *appsv1.Deployment
	apply := func() {
		t.Helper()
		var err error
		d, err = deployments.Apply(t.Context(), file, metav1.ApplyOptions{FieldManager: "kubectl"})
		done(t)(d, err)
	}
	is := func(what, image string, generation int64) {
		t.Helper()
		if got := d.Spec.Template.Spec.Containers[0].Image; got != image || d.Generation != generation {
			t.Errorf("%s: image %s, generation %d; want %s, %d", what, got, d.Generation, image, generation)
		}
	}
	wanted := pinnedGood + digestOf(good).String()
	apply()
	is("made", wanted, 1)
	version := d.ResourceVersion
	apply()
	is("applied again", wanted, 1)
	if d.ResourceVersion != version {
		t.Error("applying the same again writes something")
	}
	// What docs/admission.md warns of.
	if _, err := deployments.Apply(t.Context(), file, metav1.ApplyOptions{FieldManager: "another"}); !apierrors.IsConflict(err) {
		t.Errorf("another manager: %v", err)
	}
	reg.move(good, digestOf(doubt))
	apply()
	is("applied after the tag has moved", pinnedGood+digestOf(doubt).String(), 2)
	reg.move(good, digestOf(evil))
	if _, err := deployments.Apply(t.Context(), file, metav1.ApplyOptions{FieldManager: "kubectl"}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "CVE-2023-0286") {
		t.Errorf("the tag has moved to what is refused: %v", err)
	}
}

// patchedAgain is the same with what kubectl apply does without --server-side: it
// finds that the image is not the one of the file, and sends that.
func (a *apiServer) patchedAgain(t *testing.T) {
	s := a.pinning(t, "patched", &registryStub{})
	for _, o := range templated(corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "good:1"}}}) {
		made, err := s.create(o, metav1.CreateOptions{})
		done(t)(made, err)
		place, at := s.alice.dynamic.Resource(resourceOf(made.GroupVersionKind())).Namespace(s.namespace), "spec.template.spec"
		switch made.GetKind() {
		case "Pod":
			at = "spec"
		case "CronJob":
			at = "spec.jobTemplate.spec.template.spec"
		}
		patch := encode(m{"spec": nested("", "", at, m{"containers": []any{m{"name": "a", "image": "good:1"}}})["spec"]})
		patched, err := place.Patch(t.Context(), "web", types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-client-side-apply"})
		done(t)(patched, err)
		if diff := cmp.Diff(made.Object["spec"], patched.Object["spec"]); diff != "" || patched.GetGeneration() != made.GetGeneration() {
			t.Errorf("%T, generation %d after %d: %s", o, patched.GetGeneration(), made.GetGeneration(), diff)
		}
	}
}
