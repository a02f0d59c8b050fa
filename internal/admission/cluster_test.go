package admission_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	webhooktesting "k8s.io/apiserver/pkg/admission/plugin/webhook/testing"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/pratique/pratique/internal/admission"
)

// certificate is one of 127.0.0.1 that signs itself, and the bundle to trust it.
func certificate(t testing.TB, until time.Time) (*tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serving runs a webhook over TLS until stop is called, or the test ends.
func serving(t testing.TB, until time.Time, change func(*admission.Options)) (w *admission.Webhook, url string, bundle []byte, stop func() error) {
	t.Helper()
	pair, bundle := certificate(t, until)
	w, err := admission.New(options(func(o *admission.Options) {
		o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil }
		if change != nil {
			change(o)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Bind(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return w, "https://" + w.Addr(), bundle, stop
}

// behind serves a handler over TLS in the place of the webhook's own server.
func behind(t testing.TB, h http.Handler) (url string, bundle []byte) {
	t.Helper()
	pair, bundle := certificate(t, time.Now().Add(time.Hour))
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, bundle
}

// cluster is the part of an API server that calls webhooks.
type cluster struct {
	t          testing.TB
	validating *validating.Plugin
	mutating   *mutating.Plugin
}

// registration is how the webhook is registered.
type registration struct {
	url     string
	bundle  []byte
	policy  registrationv1.FailurePolicyType
	seconds int32
	change  func(*registrationv1.ValidatingWebhook)
}

// rules are those of an installation, and subresources that bring no image.
var rules = []registrationv1.RuleWithOperations{{
	Operations: []registrationv1.OperationType{registrationv1.Create, registrationv1.Update},
	Rule: registrationv1.Rule{APIGroups: []string{"", "apps", "batch"}, APIVersions: []string{"*"},
		Resources: []string{"pods", "pods/ephemeralcontainers", "pods/resize", "replicationcontrollers", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs"}},
}}

// hooks are the webhooks of the registration.
func (r registration) hooks() (registrationv1.ValidatingWebhook, registrationv1.MutatingWebhook) {
	if r.seconds == 0 {
		r.seconds = 5
	}
	validate, mutate := r.url+"/validate", r.url+"/mutate"
	effects, equivalent, again := registrationv1.SideEffectClassNoneOnDryRun, registrationv1.Equivalent, registrationv1.IfNeededReinvocationPolicy
	hook := registrationv1.ValidatingWebhook{
		Name: "validate.pratique.io", ClientConfig: registrationv1.WebhookClientConfig{URL: &validate, CABundle: r.bundle}, Rules: rules,
		FailurePolicy: &r.policy, MatchPolicy: &equivalent, SideEffects: &effects, TimeoutSeconds: &r.seconds, AdmissionReviewVersions: []string{"v1"},
		NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
	}
	if r.change != nil {
		r.change(&hook)
	}
	return hook, registrationv1.MutatingWebhook{
		Name: "mutate.pratique.io", ClientConfig: registrationv1.WebhookClientConfig{URL: &mutate, CABundle: r.bundle}, Rules: rules,
		FailurePolicy: &r.policy, MatchPolicy: &equivalent, SideEffects: &effects, TimeoutSeconds: &r.seconds, AdmissionReviewVersions: []string{"v1"},
		NamespaceSelector: hook.NamespaceSelector, ObjectSelector: hook.ObjectSelector, MatchConditions: hook.MatchConditions, ReinvocationPolicy: &again,
	}
}

// join registers the webhook with a cluster that has the namespaces shop and
// kube-system.
func join(t testing.TB, r registration) *cluster {
	t.Helper()
	hook, pins := r.hooks()
	client := fake.NewClientset(named("shop"), named("kube-system"),
		&registrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "pratique"}, Webhooks: []registrationv1.ValidatingWebhook{hook}},
		&registrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "pratique"}, Webhooks: []registrationv1.MutatingWebhook{pins}})
	factory := informers.NewSharedInformerFactory(client, 0)
	base, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t}
	if c.validating, err = validating.NewValidatingAdmissionWebhook(nil); err != nil {
		t.Fatal(err)
	}
	if c.mutating, err = mutating.NewMutatingWebhook(nil); err != nil {
		t.Fatal(err)
	}
	wrap, resolver := webhooktesting.Wrapper(webhooktesting.NewAuthenticationInfoResolver(new(int32))), webhooktesting.NewServiceResolver(*base)
	c.validating.SetAuthenticationInfoResolverWrapper(wrap)
	c.validating.SetServiceResolver(resolver)
	c.validating.SetExternalKubeClientSet(client)
	c.validating.SetExternalKubeInformerFactory(factory)
	c.mutating.SetAuthenticationInfoResolverWrapper(wrap)
	c.mutating.SetServiceResolver(resolver)
	c.mutating.SetExternalKubeClientSet(client)
	c.mutating.SetExternalKubeInformerFactory(factory)
	for _, err := range []error{c.validating.ValidateInitialization(), c.mutating.ValidateInitialization()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	factory.Start(stop)
	t.Cleanup(func() { close(stop); factory.Shutdown() })
	factory.WaitForCacheSync(stop)
	return c
}

func named(namespace string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"kubernetes.io/metadata.name": namespace}}}
}

// change is what somebody wants of the API server.
type change struct {
	object, old runtime.Object
	subresource string
	dryRun      bool
}

func (c *cluster) attributes(ch change) kube.Attributes {
	c.t.Helper()
	kinds, _, err := scheme.Scheme.ObjectKinds(ch.object)
	if err != nil {
		c.t.Fatal(err)
	}
	gvk := kinds[0]
	resource := schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: resources[gvk.Kind]}
	meta := ch.object.(metav1.Object)
	who := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	if ch.old != nil {
		return kube.NewAttributesRecord(ch.object, ch.old, gvk, meta.GetNamespace(), meta.GetName(), resource, ch.subresource, kube.Update, &metav1.UpdateOptions{}, ch.dryRun, who)
	}
	return kube.NewAttributesRecord(ch.object, nil, gvk, meta.GetNamespace(), meta.GetName(), resource, ch.subresource, kube.Create, &metav1.CreateOptions{}, ch.dryRun, who)
}

var resources = map[string]string{
	"Pod": "pods", "ReplicationController": "replicationcontrollers", "Deployment": "deployments", "ReplicaSet": "replicasets",
	"StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs", "CronJob": "cronjobs",
}

// warned gathers what a person is shown.
type warned struct {
	mu    sync.Mutex
	texts []string
}

func (w *warned) AddWarning(_, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// validate asks whether the API server lets a change in; warnings are what it
// hands on.
func (c *cluster) validate(ch change) (warnings []string, err error) {
	rec := &warned{}
	ctx := warning.WithWarningRecorder(context.Background(), rec)
	err = c.validating.Validate(ctx, c.attributes(ch), kube.NewObjectInterfacesFromScheme(scheme.Scheme))
	return rec.texts, err
}

// mutate lets the API server change the object of a change.
func (c *cluster) mutate(ch change) error {
	return c.mutating.Admit(context.Background(), c.attributes(ch), kube.NewObjectInterfacesFromScheme(scheme.Scheme))
}
