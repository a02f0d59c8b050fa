package admission_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pratique/pratique/internal/admission"
)

// In this file the webhook is called by the API server's own plug-ins, over TLS.

func podOf(images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}}
	for i, im := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: im})
	}
	return p
}

// failure is something that keeps the webhook from its work.
type failure struct {
	name    string
	image   string
	seconds int32
	webhook func(t *testing.T) (url string, bundle []byte)
	says    string // what the person is told when that counts as a refusal
}

func failures() []failure {
	year := time.Now().AddDate(1, 0, 0)
	return []failure{
		{"slow gate", good, 3, func(t *testing.T) (string, []byte) {
			_, url, bundle, _ := serving(t, year, func(o *admission.Options) { g := told(); g.delay = time.Minute; o.Standings = g })
			return url, bundle
		}, "this is no refusal, the check itself failed: not decided: docker.io/library/good:1"},
		{"hanging registry", good, 3, func(t *testing.T) (string, []byte) {
			_, url, bundle, _ := serving(t, year, func(o *admission.Options) { o.Resolver = &registryStub{delay: time.Minute} })
			return url, bundle
		}, "its digest could not be found out in time"},
		{"data too old", broken, 5, func(t *testing.T) (string, []byte) {
			_, url, bundle, _ := serving(t, year, nil)
			return url, bundle
		}, "the vulnerability data are too old"},
		{"dead", good, 5, func(t *testing.T) (string, []byte) {
			_, url, bundle, stop := serving(t, year, nil)
			if err := stop(); err != nil {
				t.Error(err)
			}
			return url, bundle
		}, "connection refused"},
		{"hung process", good, 1, func(t *testing.T) (string, []byte) {
			return behind(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the client has gone
				<-r.Context().Done()
			}))
		}, "context deadline exceeded"},
		{"another uid", good, 5, func(t *testing.T) (string, []byte) {
			w := start(t, nil)
			return behind(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				w.Handler().ServeHTTP(rec, r)
				rw.Header().Set("Content-Type", "application/json")
				_, _ = rw.Write([]byte(strings.Replace(rec.Body.String(), `"uid":"`, `"uid":"x`, 1)))
			}))
		}, "expected response.uid"},
		{"expired certificate", good, 5, func(t *testing.T) (string, []byte) {
			w, url, bundle, _ := serving(t, time.Now().Add(-time.Hour), nil)
			if err := w.Ready(); err == nil || !strings.Contains(err.Error(), "ran out") {
				t.Errorf("ready with an expired certificate: %v", err)
			}
			return url, bundle
		}, "certificate has expired"},
	}
}

// TestFailurePolicies: whatever keeps the webhook from its work, the failure
// policy of its registration decides, and the person is told the truth.
func TestFailurePolicies(t *testing.T) {
	for _, tt := range failures() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, bundle := tt.webhook(t)
			for _, policy := range []registrationv1.FailurePolicyType{registrationv1.Fail, registrationv1.Ignore} {
				c := join(t, registration{url: url, bundle: bundle, policy: policy, seconds: tt.seconds})
				begun := time.Now()
				_, err := c.validate(change{object: podOf(tt.image)})
				if took := time.Since(begun); took > time.Duration(tt.seconds)*time.Second+500*time.Millisecond {
					t.Errorf("%s: took %s", policy, took)
				}
				switch {
				case policy == registrationv1.Ignore && err != nil:
					t.Errorf("Ignore: %v", err)
				case policy == registrationv1.Fail && (err == nil || !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), tt.says)):
					t.Errorf("Fail: %v", err)
				}
			}
		})
	}
}

// TestDeniedThroughPlugin: a refusal is final under both failure policies, and
// reads well.
func TestDeniedThroughPlugin(t *testing.T) {
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), nil)
	for _, policy := range []registrationv1.FailurePolicyType{registrationv1.Fail, registrationv1.Ignore} {
		c := join(t, registration{url: url, bundle: bundle, policy: policy})
		_, err := c.validate(change{object: podOf(good, "evil:1")})
		readsWell(t, err)
		warnings, err := c.validate(change{object: podOf(doubt)})
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "3 medium vulnerabilities") || len(warnings[0]) > 256 {
			t.Errorf("%v, %q", err, warnings)
		}
	}
}

// readsWell fails unless the error is the refusal of a pod of the images good and
// evil, as a person can use it.
func readsWell(t *testing.T, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) {
		t.Fatal(err)
	}
	wanted := `admission webhook "validate.pratique.io" denied the request: pratique: 1 of 2 images: evil:1 (` + digestOf(evil).String() + `): refused by policy "default": ` +
		`1 critical vulnerability with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4); mode policy; report: https://pratique.example/report/` + digestOf(evil).String()
	if err.Error() != wanted {
		t.Errorf("\n%s\nwant\n%s", err, wanted)
	}
	causes := err.(apierrors.APIStatus).Status().Details.Causes
	if len(causes) != 1 || causes[0].Field != "spec.containers[1].image" {
		t.Errorf("causes %+v", causes)
	}
}

// TestKindsThroughPlugin: every kind, as the API server encodes it, in every
// list of containers.
func TestKindsThroughPlugin(t *testing.T) {
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), nil)
	c := join(t, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	for list, spec := range lists(evil) {
		for _, object := range templated(spec) {
			_, err := c.validate(change{object: object})
			if refused := apierrors.IsForbidden(err); refused != (list != "") {
				t.Errorf("%T with the image in %q: %v", object, list, err)
			}
		}
	}
}

// lists has a pod for each list that names images, with the image in it; and one
// without the image, by "".
func lists(image string) map[string]corev1.PodSpec {
	always := corev1.ContainerRestartPolicyAlways
	fine := []corev1.Container{{Name: "a", Image: good}}
	return map[string]corev1.PodSpec{
		"":               {Containers: fine},
		"containers":     {Containers: []corev1.Container{{Name: "a", Image: image}}},
		"initContainers": {InitContainers: []corev1.Container{{Name: "i", Image: image}}, Containers: fine},
		"sidecars":       {InitContainers: []corev1.Container{{Name: "i", Image: image, RestartPolicy: &always}}, Containers: fine},
		"volumes":        {Containers: fine, Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}}}},
		ephemeral:        {Containers: fine, EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d", Image: image}}}},
	}
}

// ephemeral containers come to a pod that is there, never with a template.
const ephemeral = "ephemeralContainers"

// templated gives an object of each kind for a pod.
func templated(spec corev1.PodSpec) []runtime.Object {
	labels := map[string]string{"app": "web"}
	meta, selector := metav1.ObjectMeta{Name: "web", Namespace: "shop"}, &metav1.LabelSelector{MatchLabels: labels}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}
	job := batchv1.JobSpec{Template: *template.DeepCopy()}
	job.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	return []runtime.Object{
		&corev1.Pod{ObjectMeta: meta, Spec: spec},
		&corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Template: &template}},
		&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}},
		&appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}},
		&appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}},
		&appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
		&batchv1.Job{ObjectMeta: meta, Spec: job},
		&batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "0 3 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: job}}},
	}
}

// TestUpdatesThroughPlugin: kubectl set image, kubectl debug, and what changes no
// image.
func TestUpdatesThroughPlugin(t *testing.T) {
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), nil)
	c := join(t, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	finalized := podOf(evil)
	finalized.Finalizers = []string{"example.com/x"}
	debugged := podOf(good)
	debugged.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d", Image: evil}}}
	for _, tt := range []struct {
		name    string
		change  change
		refused bool
	}{
		{"a finalizer on a pod that meanwhile fails", change{object: finalized, old: podOf(evil)}, false},
		{"set image", change{object: podOf(evil), old: podOf(good)}, true},
		{"debug", change{object: debugged, old: podOf(good), subresource: "ephemeralcontainers"}, true},
		{"resize", change{object: podOf(evil), old: podOf(evil), subresource: "resize"}, false},
	} {
		if _, err := c.validate(tt.change); apierrors.IsForbidden(err) != tt.refused || err != nil && !tt.refused {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestDryRunThroughPlugin: kubectl --dry-run=server gets the same answer, and
// nothing comes of it.
func TestDryRunThroughPlugin(t *testing.T) {
	g := told()
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) { o.Standings = g })
	c := join(t, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	_, err := c.validate(change{object: podOf(strange), dryRun: true})
	if !apierrors.IsForbidden(err) || len(g.wants()) > 0 {
		t.Errorf("dry run: %v, asked for %v", err, g.wants())
	}
	_, err = c.validate(change{object: podOf(strange)})
	if !apierrors.IsForbidden(err) || len(g.wants()) != 1 || !strings.Contains(err.Error(), "try again in a minute") {
		t.Errorf("%v, asked for %v", err, g.wants())
	}
}

// TestMutationThroughPlugin: pinned once, unchanged the second time, pinned again
// when a tag is applied over it, and judged by what was pinned.
func TestMutationThroughPlugin(t *testing.T) {
	reg := &registryStub{}
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) {
		o.Resolver, o.Config.Mutation.Pin = reg, true
		o.Config.Mutation.Rewrite = map[string]string{"docker.io": "proxy.example:5000/docker.io"}
	})
	c := join(t, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	pinned := podOf("good:1", "doubt:1")
	if err := c.mutate(change{object: pinned}); err != nil {
		t.Fatal(err)
	}
	wanted := "proxy.example:5000/docker.io/library/good:1@" + digestOf(good).String()
	if got := pinned.Spec.Containers[0].Image; got != wanted {
		t.Errorf("pinned to %s, want %s", got, wanted)
	}
	var originals map[string]string
	if err := json.Unmarshal([]byte(pinned.Annotations["pratique.io/original-images"]), &originals); err != nil || originals["spec containers c1"] != "doubt:1" {
		t.Errorf("originals: %v, %v", originals, err)
	}
	again := pinned.DeepCopy()
	if err := c.mutate(change{object: again}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(again) != fmt.Sprint(pinned) {
		t.Errorf("the second time makes\n%v of\n%v", again, pinned)
	}
	applied := pinned.DeepCopy()
	applied.Spec.Containers[0].Image = "good:1"
	if err := c.mutate(change{object: applied, old: pinned}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(applied) != fmt.Sprint(pinned) {
		t.Errorf("applying the tag again makes\n%v of\n%v", applied, pinned)
	}
	calls := len(reg.resolved())
	if warnings, err := c.validate(change{object: pinned}); err != nil || len(warnings) != 1 {
		t.Errorf("%v, %q", err, warnings)
	}
	if after := len(reg.resolved()); after != calls {
		t.Error("a pinned image is resolved once more")
	}
}

// TestSelectorsOfTheRegistration: what is exempt in the registration stays so
// when the webhook is dead.
func TestSelectorsOfTheRegistration(t *testing.T) {
	_, url, bundle, stop := serving(t, time.Now().Add(time.Hour), nil)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c := join(t, registration{url: url, bundle: bundle, policy: registrationv1.Fail, change: func(h *registrationv1.ValidatingWebhook) {
		h.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system"}}}}
		h.MatchConditions = []registrationv1.MatchCondition{{Name: "not-nodes", Expression: `!("example:exempt" in request.userInfo.groups) && object.metadata.name != "exempt"`}}
	}})
	system := podOf(evil)
	system.Namespace = "kube-system"
	excepted := podOf(evil)
	excepted.Name = "exempt"
	for name, tt := range map[string]struct {
		pod     *corev1.Pod
		refused bool
	}{"kube-system": {system, false}, "match condition": {excepted, false}, "all others": {podOf(good), true}} {
		if _, err := c.validate(change{object: tt.pod}); (err != nil) != tt.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManyAtOnce: 200 objects at the same time, of a few images. Each is answered
// rightly, and each tag is looked up once.
func TestManyAtOnce(t *testing.T) {
	g, reg := told(), &registryStub{delay: 50 * time.Millisecond}
	g.delay = 20 * time.Millisecond
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) {
		o.Standings, o.Resolver, o.Config.Resolutions = g, reg, time.Minute
	})
	c := join(t, registration{url: url, bundle: bundle, policy: registrationv1.Fail, seconds: 30})
	var group sync.WaitGroup
	var wrong atomic.Int32
	images := []string{good, evil, doubt, strange}
	for i := range 200 {
		group.Go(func() {
			im := images[i%len(images)]
			_, err := c.validate(change{object: podOf(im)})
			if refused := apierrors.IsForbidden(err); refused != slices.Contains([]string{evil, strange}, im) || err != nil && !refused {
				wrong.Add(1)
				t.Errorf("%s: %v", im, err)
			}
		})
	}
	group.Wait()
	if n := len(reg.resolved()); n != len(images) {
		t.Errorf("%d look-ups of %d tags", n, len(images))
	}
}
