package admission_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/pratique/pratique/internal/clients"
)

// apiServer is a real kube-apiserver: with storage, rights, its own defaults and
// checks, and the webhooks that are registered with it.
type apiServer struct {
	*clients.APIServer
	admin person
}

// person is somebody who uses the API server.
type person struct {
	kubernetes.Interface
	dynamic dynamic.Interface
	warned  *shown
}

// shown gathers the warnings that a client was given.
type shown struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeader is part of rest.WarningHandler.
func (s *shown) HandleWarningHeader(_ int, _, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, text)
}

// taken gives the warnings since it was last called.
func (s *shown) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts := s.texts
	s.texts = nil
	return texts
}

// newAPIServer starts it, with alice, who may do in every namespace what its
// editor may, and change the namespace itself.
func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := &apiServer{APIServer: clients.Kubernetes(t, "alice")}
	a.admin = a.person(t, a.AdminToken())
	editor := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "editor"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "apps", "batch"}, Resources: []string{"*"}, Verbs: []string{"*"}},
	}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "editor"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "alice"}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "editor"}}
	done(t)(a.admin.RbacV1().ClusterRoles().Create(t.Context(), editor, metav1.CreateOptions{}))
	done(t)(a.admin.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}))
	return a
}

// done fails the test on an error.
func done(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (a *apiServer) person(t *testing.T, token string) person {
	t.Helper()
	p := person{warned: &shown{}}
	config := &rest.Config{Host: a.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: a.CA}, QPS: 1000, Burst: 1000, WarningHandler: p.warned}
	// Their own connections, which are closed at the end.
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = time.Minute
	t.Cleanup(client.CloseIdleConnections)
	if p.Interface, err = kubernetes.NewForConfigAndClient(config, client); err != nil {
		t.Fatal(err)
	}
	if p.dynamic, err = dynamic.NewForConfigAndClient(config, client); err != nil {
		t.Fatal(err)
	}
	return p
}

// scene is a namespace whose objects the webhook is asked about, and alice.
type scene struct {
	t         *testing.T
	namespace string
	admin     person
	alice     person
}

// scene registers the webhook for a new namespace, and waits until that is in
// force. Without pins, /mutate is not asked.
func (a *apiServer) scene(t *testing.T, namespace string, pins bool, r registration) *scene {
	t.Helper()
	s := &scene{t, namespace, a.admin, a.person(t, a.Token("alice"))}
	s.makeNamespace(namespace)
	change := r.change
	r.change = func(h *registrationv1.ValidatingWebhook) {
		h.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}
		if change != nil {
			change(h)
		}
	}
	hook, pin := r.hooks()
	meta := metav1.ObjectMeta{Name: namespace}
	hooks := a.admin.AdmissionregistrationV1()
	validating := &registrationv1.ValidatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []registrationv1.ValidatingWebhook{hook, canary(namespace, "configmaps")}}
	done(t)(hooks.ValidatingWebhookConfigurations().Create(t.Context(), validating, metav1.CreateOptions{}))
	s.inForce(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "canary"}})
	if pins {
		dead := canary(namespace, "podtemplates")
		mutating := &registrationv1.MutatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []registrationv1.MutatingWebhook{pin, {
			Name: dead.Name, ClientConfig: dead.ClientConfig, Rules: dead.Rules, FailurePolicy: dead.FailurePolicy, SideEffects: dead.SideEffects,
			NamespaceSelector: dead.NamespaceSelector, AdmissionReviewVersions: dead.AdmissionReviewVersions,
		}}}
		done(t)(hooks.MutatingWebhookConfigurations().Create(t.Context(), mutating, metav1.CreateOptions{}))
		s.inForce(&corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: "canary"}})
	}
	s.alice.warned.taken()
	return s
}

func (s *scene) makeNamespace(name string) {
	s.t.Helper()
	done(s.t)(s.admin.CoreV1().Namespaces().Create(s.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))
}

// canary is a webhook that nobody answers for: as soon as objects of the kind
// are stopped by it, what is registered together with it is in force.
func canary(namespace, resource string) registrationv1.ValidatingWebhook {
	nowhere, none, fail := "https://127.0.0.1:9/", registrationv1.SideEffectClassNone, registrationv1.Fail
	return registrationv1.ValidatingWebhook{
		Name: "canary.pratique.io", ClientConfig: registrationv1.WebhookClientConfig{URL: &nowhere}, SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		Rules: []registrationv1.RuleWithOperations{{Operations: []registrationv1.OperationType{registrationv1.Create},
			Rule: registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}}}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
	}
}

func (s *scene) inForce(o runtime.Object) {
	s.t.Helper()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		_, err := s.create(o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), "canary.pratique.io") {
			return
		}
		if time.Since(begun) > 30*time.Second {
			s.t.Fatalf("the webhook is not called after 30s: %v", err)
		}
	}
}

// create lets alice make an object in the namespace.
func (s *scene) create(o runtime.Object, options metav1.CreateOptions) (*unstructured.Unstructured, error) {
	s.t.Helper()
	return s.createIn(s.namespace, o, options)
}

func (s *scene) createIn(namespace string, o runtime.Object, options metav1.CreateOptions) (*unstructured.Unstructured, error) {
	s.t.Helper()
	kinds, _, err := scheme.Scheme.ObjectKinds(o)
	if err != nil {
		s.t.Fatal(err)
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		s.t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: fields}
	u.SetGroupVersionKind(kinds[0])
	u.SetNamespace(namespace)
	return s.alice.dynamic.Resource(resourceOf(kinds[0])).Namespace(namespace).Create(context.WithoutCancel(s.t.Context()), u, options)
}

func resourceOf(kind schema.GroupVersionKind) schema.GroupVersionResource {
	resource := resources[kind.Kind]
	if resource == "" {
		resource = strings.TrimSuffix(strings.ToLower(kind.Kind), "s") + "s"
	}
	return kind.GroupVersion().WithResource(resource)
}

// pod makes a pod of alice's.
func (s *scene) pod(images ...string) *corev1.Pod {
	s.t.Helper()
	p := podOf(images...)
	p.Namespace = s.namespace
	made, err := s.alice.CoreV1().Pods(s.namespace).Create(s.t.Context(), p, metav1.CreateOptions{})
	done(s.t)(made, err)
	return made
}
