package deploy_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gvr "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	webhooktesting "k8s.io/apiserver/pkg/admission/plugin/webhook/testing"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

// apiServer is the part of an API server that calls webhooks, with the
// configuration that the chart rendered, and a webhook that refuses all it is
// asked.
type apiServer struct {
	plugin *validating.Plugin
	asked  *atomic.Int32
	close  func() // the webhook goes down
}

func newAPIServer(t *testing.T, v values) apiServer {
	t.Helper()
	all := decodeAll(t, release{values: v}.render(t))
	configuration := find[*registrationv1.ValidatingWebhookConfiguration](t, all, "pratique")
	asked := new(atomic.Int32)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "refused"}}
		review.Request = nil
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for i := range configuration.Webhooks {
		hook := &configuration.Webhooks[i]
		hook.ObjectSelector = &metav1.LabelSelector{} // the API server's default
		// The test's server has no certificate for the Service's name.
		u := server.URL + *hook.ClientConfig.Service.Path
		hook.ClientConfig = registrationv1.WebhookClientConfig{URL: &u,
			CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}
	}
	plugin, err := validating.NewValidatingAdmissionWebhook(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(configuration, namespace("shop", "team", "shop"), namespace("pratique"), namespace("kube-system"),
		namespace("sly", "pratique", "exempt", "control-plane", "true", "name", "kube-system"))
	factory := informers.NewSharedInformerFactory(client, 0)
	plugin.SetAuthenticationInfoResolverWrapper(webhooktesting.Wrapper(webhooktesting.NewAuthenticationInfoResolver(new(int32))))
	plugin.SetServiceResolver(webhooktesting.NewServiceResolver(*address))
	plugin.SetExternalKubeClientSet(client)
	plugin.SetExternalKubeInformerFactory(factory)
	if err := plugin.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
	factory.StartWithContext(t.Context())
	factory.WaitForCacheSync(t.Context().Done())
	t.Cleanup(factory.Shutdown)
	return apiServer{plugin, asked, server.Close}
}

func namespace(name string, labels ...string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}}}
	for pair := range slices.Chunk(labels, 2) {
		n.Labels[pair[0]] = pair[1]
	}
	return n
}

// request is what somebody asks the API server.
type request struct {
	resource, subresource string // "pods"
	old                   runtime.Object
	object                metav1.Object
	who                   user.Info
}

// ask puts a request through and tells whether the webhook was asked.
func (a apiServer) ask(t *testing.T, r request) (asked bool, err error) {
	t.Helper()
	object := r.object.(runtime.Object)
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		t.Fatal(err)
	}
	operation, options := admission.Create, runtime.Object(&metav1.CreateOptions{})
	if r.old != nil {
		operation, options = admission.Update, &metav1.UpdateOptions{}
	}
	if r.who == nil {
		r.who = &user.DefaultInfo{Name: "bob"}
	}
	before := a.asked.Load()
	attributes := admission.NewAttributesRecord(object, r.old, kinds[0], r.object.GetNamespace(), r.object.GetName(),
		gvr.GroupVersionResource{Group: kinds[0].Group, Version: kinds[0].Version, Resource: r.resource}, r.subresource, operation, options, false, r.who)
	err = a.plugin.Validate(context.Background(), attributes, admission.NewObjectInterfacesFromScheme(scheme.Scheme))
	return a.asked.Load() > before, err
}

func pod(namespace string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: namespace}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "a:1"}}}}
	for _, f := range change {
		f(p)
	}
	return p
}

func deployment(change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "shop"}, Spec: appsv1.DeploymentSpec{
		Template: corev1.PodTemplateSpec{Spec: pod("").Spec}}}
	for _, f := range change {
		f(d)
	}
	return d
}

func cronJob(image string) *batchv1.CronJob {
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "shop"}}
	c.Spec.JobTemplate.Spec.Template.Spec = pod("").Spec
	c.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image = image
	return c
}

// TestWebhookIsAsked: the API server's own plug-in, with the rendered selectors,
// conditions and rules: what it asks about, and what it does not.
func TestWebhookIsAsked(t *testing.T) {
	a := newAPIServer(t, profile(t, "enforce"))
	node := &user.DefaultInfo{Name: "system:node:n1", Groups: []string{"system:nodes"}}
	mirror := func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }
	image := func(p *corev1.Pod) { p.Spec.Containers[0].Image = "a:2" }
	for _, test := range []struct {
		name string
		request
		asked bool
	}{
		{"new Pod", request{resource: "pods", object: pod("shop")}, true},
		{"Pratique's own", request{resource: "pods", object: pod("pratique")}, false},
		{"kube-system", request{resource: "pods", object: pod("kube-system")}, false},
		{"namespace with labels that promise much", request{resource: "pods", object: pod("sly")}, true},
		{"Pod with labels that promise much", request{resource: "pods", object: pod("shop", func(p *corev1.Pod) {
			p.Labels = map[string]string{"pratique": "exempt", "kubernetes.io/metadata.name": "kube-system"}
		})}, true},
		{"image of a Pod changed", request{resource: "pods", object: pod("shop", image), old: pod("shop")}, true},
		{"finalizer taken off", request{resource: "pods", object: pod("shop"), old: pod("shop", func(p *corev1.Pod) { p.Finalizers = []string{"a/b"} })}, false},
		{"image of an init container changed", request{resource: "pods",
			object: pod("shop", func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "i:2"}} }),
			old:    pod("shop", func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "i:1"}} })}, true},
		{"kubectl debug", request{resource: "pods", subresource: "ephemeralcontainers", object: pod("shop"), old: pod("shop")}, true},
		{"status", request{resource: "pods", subresource: "status", object: pod("shop", image), old: pod("shop")}, false},
		{"what a node tells of a static Pod", request{resource: "pods", object: pod("shop", mirror), who: node}, false},
		{"Pod of a person who says that it is a node's", request{resource: "pods", object: pod("shop", mirror)}, true},
		{"other Pod of a node", request{resource: "pods", object: pod("shop"), who: node}, true},
		{"new Deployment", request{resource: "deployments", object: deployment()}, true},
		{"scaled", request{resource: "deployments", object: deployment(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) }), old: deployment()}, false},
		{"new image", request{resource: "deployments", object: deployment(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "a:2" }), old: deployment()}, true},
		{"CronJob, new image", request{resource: "cronjobs", object: cronJob("a:2"), old: cronJob("a:1")}, true},
		{"CronJob, the same", request{resource: "cronjobs", object: cronJob("a:1"), old: cronJob("a:1")}, false},
		{"controller without a template", request{resource: "replicationcontrollers",
			object: &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: "shop"}},
			old:    &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: "shop"}}}, false},
		{"Secret", request{resource: "secrets", object: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "shop"}}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked, err := a.ask(t, test.request)
			if asked != test.asked || (err != nil) != asked {
				t.Errorf("asked: %v, error: %v", asked, err)
			}
		})
	}
}

// TestWebhookIsDown: with Fail what is not exempt stands still, and what is goes on;
// with Ignore all goes on.
func TestWebhookIsDown(t *testing.T) {
	a := newAPIServer(t, profile(t, "enforce"))
	a.close()
	if _, err := a.ask(t, request{resource: "pods", object: pod("shop")}); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("a Pod is made while the webhook is down: %v", err)
	}
	for _, r := range []request{
		{resource: "pods", object: pod("pratique")},
		{resource: "pods", object: pod("shop"), old: pod("shop", func(p *corev1.Pod) { p.Finalizers = []string{"a/b"} })},
		{resource: "deployments", object: deployment(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) }), old: deployment()},
	} {
		if _, err := a.ask(t, r); err != nil {
			t.Errorf("%s in %s: %v", r.resource, r.object.GetNamespace(), err)
		}
	}
	open := newAPIServer(t, profile(t, "observe"))
	open.close()
	if _, err := open.ask(t, request{resource: "pods", object: pod("shop")}); err != nil {
		t.Errorf("Ignore: %v", err)
	}
}

// TestWebhookNamespaces: exempt adds names, only leaves out the rest.
func TestWebhookNamespaces(t *testing.T) {
	for _, test := range []struct {
		values values
		asked  bool
	}{
		{values{"exempt": []any{"shop"}}, false},
		{values{"only": []any{"shop"}}, true},
		{values{"only": []any{"sly"}}, false},
	} {
		a := newAPIServer(t, values{"admission": values{"namespaces": test.values}})
		if asked, _ := a.ask(t, request{resource: "pods", object: pod("shop")}); asked != test.asked {
			t.Errorf("%v: asked: %v", test.values, asked)
		}
	}
}

// TestWebhookConfigurations: what both have, in all profiles.
func TestWebhookConfigurations(t *testing.T) {
	for _, name := range append(profiles(t), "") {
		all := decodeAll(t, release{values: profile(t, name)}.render(t))
		enforced := name != "" && name != "observe" && name != "minimal"
		for _, m := range every[*registrationv1.MutatingWebhookConfiguration](all) {
			for _, w := range m.Webhooks {
				checkWebhook(t, name, enforced, registrationv1.ValidatingWebhook{FailurePolicy: w.FailurePolicy, TimeoutSeconds: w.TimeoutSeconds,
					SideEffects: w.SideEffects, MatchPolicy: w.MatchPolicy, NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector})
				if *w.ReinvocationPolicy != registrationv1.IfNeededReinvocationPolicy {
					t.Errorf("%s: %s", name, *w.ReinvocationPolicy)
				}
			}
		}
		for _, v := range every[*registrationv1.ValidatingWebhookConfiguration](all) {
			for _, w := range v.Webhooks {
				checkWebhook(t, name, enforced, w)
			}
		}
	}
}

func checkWebhook(t *testing.T, profile string, enforced bool, w registrationv1.ValidatingWebhook) {
	t.Helper()
	if (*w.FailurePolicy == registrationv1.Fail) != enforced {
		t.Errorf("%s: %s", profile, *w.FailurePolicy)
	}
	if *w.TimeoutSeconds < 3 || *w.TimeoutSeconds > 5 || *w.SideEffects != registrationv1.SideEffectClassNoneOnDryRun || *w.MatchPolicy != registrationv1.Equivalent {
		t.Errorf("%s: %d s, side effects %s, match %s", profile, *w.TimeoutSeconds, *w.SideEffects, *w.MatchPolicy)
	}
	if w.ObjectSelector != nil || len(w.NamespaceSelector.MatchLabels) > 0 {
		t.Errorf("%s: whoever may label an object could exempt it", profile)
	}
	for _, e := range w.NamespaceSelector.MatchExpressions {
		if e.Key != corev1.LabelMetadataName {
			t.Errorf("%s: whoever may label a namespace could exempt it: %v", profile, e)
		}
	}
}
