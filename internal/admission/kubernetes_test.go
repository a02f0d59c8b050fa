package admission_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/gate"
)

// TestKubernetes: the webhook registered with a real API server, and what people
// do there.
func TestKubernetes(t *testing.T) {
	a := newAPIServer(t)
	t.Run("many at once", a.manyAtOnce)
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"refusals", a.refusals}, {"kinds", a.kinds}, {"updates of pods", a.updatesOfPods}, {"debug", a.debug}, {"updates of workloads", a.updatesOfWorkloads},
		{"dry run", a.dryRun}, {"pinned", a.pinned}, {"applied again", a.appliedAgain}, {"patched again", a.patchedAgain},
		{"exempt while dead", a.exemptWhileDead}, {"way out", a.wayOut}, {"failures", a.failures},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // each in namespaces of its own
			test.run(t)
		})
	}
}

var bothPolicies = []registrationv1.FailurePolicyType{registrationv1.Fail, registrationv1.Ignore}

// failures: the same as for the plug-ins alone.
func (a *apiServer) failures(t *testing.T) {
	for _, tt := range failures() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, bundle := tt.webhook(t)
			var group sync.WaitGroup
			for _, policy := range bothPolicies {
				namespace := strings.ToLower(strings.ReplaceAll(tt.name, " ", "-") + "-" + string(policy))
				s := a.scene(t, namespace, false, registration{url: url, bundle: bundle, policy: policy, seconds: tt.seconds})
				group.Go(func() {
					begun := time.Now()
					_, err := s.create(podOf(tt.image), metav1.CreateOptions{})
					if took := time.Since(begun); took > time.Duration(tt.seconds+2)*time.Second {
						t.Errorf("%s: took %s", policy, took)
					}
					switch {
					case policy == registrationv1.Ignore && err != nil:
						t.Errorf("Ignore: %v", err)
					case policy == registrationv1.Fail && (err == nil || !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), tt.says)):
						t.Errorf("Fail: %v, want %q", err, tt.says)
					}
				})
			}
			group.Wait()
		})
	}
}

// refusals are final under both failure policies, and read well, as warnings do.
func (a *apiServer) refusals(t *testing.T) {
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), nil)
	for _, policy := range bothPolicies {
		s := a.scene(t, "refusals-"+strings.ToLower(string(policy)), false, registration{url: url, bundle: bundle, policy: policy})
		_, err := s.create(podOf(good, "evil:1"), metav1.CreateOptions{})
		readsWell(t, err)
		if w := s.alice.warned.taken(); len(w) > 0 {
			t.Errorf("warned beside the refusal: %q", w)
		}
		s.pod(doubt)
		if w := s.alice.warned.taken(); len(w) != 1 || !strings.HasPrefix(w[0], "pratique: "+doubt) || !strings.Contains(w[0], "3 medium vulnerabilities") {
			t.Errorf("warned %q", w)
		}
		if pods, err := a.admin.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(pods.Items) != 1 {
			t.Errorf("%d pods, %v", len(pods.Items), err)
		}
	}
}

// kinds: each kind, with the image in each list.
func (a *apiServer) kinds(t *testing.T) {
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), nil)
	s := a.scene(t, "kinds", false, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	for list, spec := range lists(evil) {
		if list == ephemeral {
			continue // the API server takes them for a pod that is there, and nowhere else
		}
		for _, object := range templated(spec) {
			_, err := s.create(object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if refused := apierrors.IsForbidden(err); refused != (list != "") || err != nil && !refused {
				t.Errorf("%T with the image in %q: %v", object, list, err)
			}
		}
	}
}

// updatesOfPods: an image that changes is judged; nothing else is, whatever has
// become of the image meanwhile.
func (a *apiServer) updatesOfPods(t *testing.T) {
	g := told()
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) { o.Standings = g })
	s := a.scene(t, "updates", false, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	pods := s.alice.CoreV1().Pods(s.namespace)
	web := podOf(good)
	web.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}
	_, err := s.create(web, metav1.CreateOptions{})
	done(t)(nil, err)
	edit := func(change func(*corev1.Pod)) error {
		p, err := pods.Get(t.Context(), "web", metav1.GetOptions{})
		done(t)(p, err)
		change(p)
		_, err = pods.Update(t.Context(), p, metav1.UpdateOptions{})
		return err
	}
	if err := edit(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil:1" }); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "CVE-2023-0286") {
		t.Errorf("kubectl set image: %v", err)
	}
	_, err = pods.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(`{"spec": {"containers": [{"name": "c0", "image": "evil:1"}]}}`), metav1.PatchOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("kubectl patch: %v", err)
	}
	g.turn(good, gate.StateFail)
	asked := len(g.inquiries())
	for name, change := range map[string]func(*corev1.Pod){
		"labels":       func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} },
		"annotations":  func(p *corev1.Pod) { p.Annotations = map[string]string{"pratique.io/original-images": "{}"} },
		"a finalizer":  func(p *corev1.Pod) { p.Finalizers = []string{"example.com/x"} },
		"no finalizer": func(p *corev1.Pod) { p.Finalizers = nil },
	} {
		if err := edit(change); err != nil {
			t.Errorf("%s of a pod that meanwhile fails: %v", name, err)
		}
	}
	bigger, err := pods.Get(t.Context(), "web", metav1.GetOptions{})
	done(t)(bigger, err)
	bigger.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("20m")
	if _, err := pods.UpdateResize(t.Context(), "web", bigger, metav1.UpdateOptions{}); err != nil {
		t.Errorf("resize: %v", err)
	}
	if n := len(g.inquiries()); n != asked {
		t.Errorf("%d questions about what has not changed", n-asked)
	}
	if err := edit(func(p *corev1.Pod) { p.Spec.Containers[0].Image = doubt }); err != nil {
		t.Errorf("to another image that may run: %v", err)
	}
	if err := edit(func(p *corev1.Pod) { p.Spec.Containers[0].Image = good }); !apierrors.IsForbidden(err) {
		t.Errorf("back to the one that may not any more: %v", err)
	}
}

// debug is what kubectl debug does: a patch of a subresource.
func (a *apiServer) debug(t *testing.T) {
	g := told()
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) { o.Standings, o.Config.Mutation.Pin = g, true })
	s := a.scene(t, "debug", true, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	s.pod(good)
	debug := func(name, image string) (*corev1.Pod, error) {
		patch := fmt.Sprintf(`{"spec": {"ephemeralContainers": [{"name": %q, "image": %q}]}}`, name, image)
		return s.alice.CoreV1().Pods(s.namespace).Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "ephemeralcontainers")
	}
	_, err := debug("a", "evil:1")
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "CVE-2023-0286") {
		t.Fatalf("evil: %v", err)
	}
	if causes := err.(apierrors.APIStatus).Status().Details.Causes; len(causes) != 1 || causes[0].Field != "spec.ephemeralContainers[0].image" {
		t.Errorf("causes %+v", causes)
	}
	p, err := debug("b", "doubt:1")
	done(t)(p, err)
	if got, want := p.Spec.EphemeralContainers[0].Image, "doubt:1@"+digestOf(doubt).String(); got != want {
		t.Errorf("debugs with %s, want %s", got, want)
	}
	// What is there already, the pod's own and the first debug container, is not
	// judged once more.
	g.turn(good, gate.StateFail)
	g.turn(doubt, gate.StateFail)
	if _, err := debug("c", "foreign:1"); !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "images:") {
		t.Errorf("another one: %v", err)
	}
	if _, err := debug("d", "evil:1@"+digestOf("docker.io/library/fine:1").String()); !apierrors.IsForbidden(err) {
		t.Errorf("a digest that nobody knows: %v", err)
	}
}

// updatesOfWorkloads: scaling goes on although the image meanwhile fails; another
// image is judged.
func (a *apiServer) updatesOfWorkloads(t *testing.T) {
	g := told()
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) { o.Standings = g })
	s := a.scene(t, "workloads", false, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	for _, o := range templated(lists("")[""]) {
		_, err := s.create(o, metav1.CreateOptions{})
		done(t)(o, err)
	}
	g.turn(good, gate.StateFail)
	deployments := s.alice.AppsV1().Deployments(s.namespace)
	scale, err := deployments.GetScale(t.Context(), "web", metav1.GetOptions{})
	done(t)(scale, err)
	scale.Spec.Replicas = 5
	done(t)(deployments.UpdateScale(t.Context(), "web", scale, metav1.UpdateOptions{}))
	edit := func(change func(*appsv1.Deployment)) error {
		d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		done(t)(d, err)
		change(d)
		_, err = deployments.Update(t.Context(), d, metav1.UpdateOptions{})
		return err
	}
	if err := edit(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(3)) }); err != nil {
		t.Errorf("replicas: %v", err)
	}
	if err := edit(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = evil }); !apierrors.IsForbidden(err) {
		t.Errorf("another image: %v", err)
	}
	patch := []byte(`{"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "evil:1"}]}}}}}}`)
	if _, err := s.alice.BatchV1().CronJobs(s.namespace).Patch(t.Context(), "web", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("another image of a CronJob: %v", err)
	}
	suspend := []byte(`{"spec": {"suspend": true}}`)
	if _, err := s.alice.BatchV1().CronJobs(s.namespace).Patch(t.Context(), "web", types.MergePatchType, suspend, metav1.PatchOptions{}); err != nil {
		t.Errorf("suspended: %v", err)
	}
	done(t)(nil, deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}))
}

// dryRun is kubectl --dry-run=server: the same answer, and nothing comes of it.
func (a *apiServer) dryRun(t *testing.T) {
	g := told()
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) { o.Standings, o.Config.Mutation.Pin = g, true })
	s := a.scene(t, "dry-run", true, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	if _, err := s.create(podOf(strange), dry); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "a dry run asks for no analysis") || len(g.wants()) > 0 {
		t.Errorf("%v, asked for %v", err, g.wants())
	}
	would, err := s.create(podOf(good), dry)
	if raw, _ := json.Marshal(would); err != nil || !strings.Contains(string(raw), digestOf(good).String()) {
		t.Errorf("would be %s, %v", raw, err)
	}
	if _, err := s.create(podOf(strange), metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "try again in a minute") || len(g.wants()) != 1 {
		t.Errorf("%v, asked for %v", err, g.wants())
	}
}

// exemptWhileDead: the namespaces that the registration leaves out work while the
// webhook is dead, and who edits another one cannot make it one of them.
func (a *apiServer) exemptWhileDead(t *testing.T) {
	_, url, bundle, stop := serving(t, time.Now().Add(time.Hour), nil)
	done(t)(nil, stop())
	s := a.scene(t, "shop", false, registration{url: url, bundle: bundle, policy: registrationv1.Fail, change: func(h *registrationv1.ValidatingWebhook) {
		h.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"exempt"}},
			{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: []string{"shop", "exempt"}}}} // leaves the other tests alone
	}})
	s.makeNamespace("exempt")
	if _, err := s.createIn("exempt", podOf(evil), metav1.CreateOptions{}); err != nil {
		t.Errorf("in the exempt namespace: %v", err)
	}
	stopped := func(what string, p *corev1.Pod) {
		t.Helper()
		if _, err := s.create(p, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			t.Errorf("%s: %v", what, err)
		}
	}
	stopped("in another one", podOf(good))
	labels := []byte(`{"metadata": {"labels": {"kubernetes.io/metadata.name": "exempt", "name": "exempt", "pratique.io/exempt": "true"}, "annotations": {"pratique.io/exempt": "true"}}}`)
	changed, err := s.alice.CoreV1().Namespaces().Patch(t.Context(), "shop", types.MergePatchType, labels, metav1.PatchOptions{})
	if done(t)(changed, err); changed.Labels[corev1.LabelMetadataName] != "shop" || changed.Labels["pratique.io/exempt"] != "true" {
		t.Errorf("the namespace has %v", changed.Labels)
	}
	labelled := podOf(good)
	labelled.Labels = map[string]string{"kubernetes.io/metadata.name": "exempt", "pratique.io/exempt": "true"}
	stopped("with labels that promise much", labelled)
}

// wayOut: a registration can be taken away, although a dead webhook asks to be
// asked about exactly that.
func (a *apiServer) wayOut(t *testing.T) {
	_, url, bundle, stop := serving(t, time.Now().Add(time.Hour), nil)
	done(t)(nil, stop())
	s := a.scene(t, "way-out", false, registration{url: url, bundle: bundle, policy: registrationv1.Fail, change: func(h *registrationv1.ValidatingWebhook) {
		h.Rules = append(slices.Clone(h.Rules), registrationv1.RuleWithOperations{Operations: []registrationv1.OperationType{registrationv1.OperationAll},
			Rule: registrationv1.Rule{APIGroups: []string{"admissionregistration.k8s.io"}, APIVersions: []string{"*"}, Resources: []string{"*"}}})
	}})
	if _, err := s.create(podOf(good), metav1.CreateOptions{}); err == nil {
		t.Error("a pod is made while the webhook is dead")
	}
	done(t)(nil, a.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), s.namespace, metav1.DeleteOptions{}))
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		_, err := s.create(podOf(good), metav1.CreateOptions{})
		if err == nil {
			return
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

// manyAtOnce: 200 pods of a few images. Each is answered rightly, each tag is
// looked up once.
func (a *apiServer) manyAtOnce(t *testing.T) {
	g, reg := told(), &registryStub{delay: 50 * time.Millisecond}
	g.delay = 20 * time.Millisecond
	_, url, bundle, _ := serving(t, time.Now().Add(time.Hour), func(o *admission.Options) {
		o.Standings, o.Resolver, o.Config.Resolutions, o.Config.Mutation.Pin = g, reg, time.Minute, true
	})
	s := a.scene(t, "many", true, registration{url: url, bundle: bundle, policy: registrationv1.Fail, seconds: 10})
	images := []string{good, evil, doubt, strange}
	var group sync.WaitGroup
	begun := time.Now()
	for i := range 200 {
		group.Go(func() {
			im := images[i%len(images)]
			p := podOf(im)
			p.Name = fmt.Sprintf("web-%d", i)
			_, err := s.create(p, metav1.CreateOptions{})
			if refused := apierrors.IsForbidden(err); refused != slices.Contains([]string{evil, strange}, im) || err != nil && !refused {
				t.Errorf("%s: %v", im, err)
			}
		})
	}
	group.Wait()
	t.Logf("200 pods in %s", time.Since(begun))
	if n := len(reg.resolved()); n != len(images) {
		t.Errorf("%d look-ups of %d tags", n, len(images))
	}
	pods, err := a.admin.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{})
	done(t)(pods, err)
	for _, p := range pods.Items {
		if !strings.Contains(p.Spec.Containers[0].Image, "@sha256:") {
			t.Errorf("%s runs %s", p.Name, p.Spec.Containers[0].Image)
		}
	}
	if len(pods.Items) != 100 {
		t.Errorf("%d pods, want 100", len(pods.Items))
	}
}
