package cluster_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	admissionapi "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/gate"
)

// realCluster is a kube-apiserver, with a user who has the rights of the table
// in doc.go and no more.
type realCluster struct {
	t                    *testing.T
	admin, user          kubernetes.Interface
	adminDyn, userDyn    dynamic.Interface
	customResourceDefs   schema.GroupVersionResource
	webhook              string // address of a webhook that refuses everything
	certificateOfWebhook func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

func TestKubernetes(t *testing.T) {
	server := clients.Kubernetes(t, "pratique")
	connect := func(token string) (kubernetes.Interface, dynamic.Interface) {
		cfg := &rest.Config{Host: server.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: server.CA}, QPS: 500, Burst: 500,
			WrapTransport: func(next http.RoundTripper) http.RoundTripper { return permitted{t, next} }}
		return kubernetes.NewForConfigOrDie(cfg), dynamic.NewForConfigOrDie(cfg)
	}
	k := &realCluster{t: t, customResourceDefs: schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}}
	k.admin, k.adminDyn = connect(server.AdminToken())
	k.user, k.userDyn = connect(server.Token("pratique"))
	for _, name := range []string{ownNamespace, "shop"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": name}}}
		must(t)(k.admin.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}))
	}
	k.grant(granted(t, "certificates", "namespaces", "nodes", "pullsecrets", "inventory", "leader", "events", "reports", "exceptions", "eviction"))
	t.Run("certificates", k.certificates)
	t.Run("look-ups", k.lookUps)
	t.Run("nodes", k.nodes)
	t.Run("inventory", k.inventory)
	t.Run("exceptions", k.exceptions)
}

// permitted fails the test when a request is one that the user has no right to.
// What the webhook refuses is forbidden too.
type permitted struct {
	t    *testing.T
	next http.RoundTripper
}

func (p permitted) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.next.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusForbidden && !strings.HasSuffix(r.URL.Path, "/configmaps") {
		p.t.Errorf("%s %s is forbidden", r.Method, r.URL)
	}
	return resp, err
}

// must fails the test on an error.
func must(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// grant makes a Role and a ClusterRole of the rows.
func (k *realCluster) grant(rows rights) {
	ctx, ok := k.t.Context(), must(k.t)
	var own, whole []rbacv1.PolicyRule
	for _, r := range rows {
		rule := rbacv1.PolicyRule{APIGroups: []string{r.group}, Resources: []string{r.resource}, Verbs: r.verbs}
		if r.name != "*" {
			rule.ResourceNames = owned[r.name]
		}
		if r.where == "own" {
			own = append(own, rule)
		} else {
			whole = append(whole, rule)
		}
	}
	meta := metav1.ObjectMeta{Name: "pratique-test"}
	subject := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "pratique"}}
	rbac := k.admin.RbacV1()
	ok(rbac.Roles(ownNamespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: own}, metav1.CreateOptions{}))
	ok(rbac.RoleBindings(ownNamespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subject,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}}, metav1.CreateOptions{}))
	ok(rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: whole}, metav1.CreateOptions{}))
	ok(rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subject,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}}, metav1.CreateOptions{}))
}

// serveWebhook refuses whatever it is asked about, over TLS.
func (k *realCluster) serveWebhook(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t)(l, err)
	get := func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return k.certificateOfWebhook(h) }
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionapi.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		review.Response = &admissionapi.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "the webhook was asked"}}
		_ = json.NewEncoder(w).Encode(review)
	})}
	// Each call shakes hands anew.
	server.SetKeepAlivesEnabled(false)
	go func() {
		_ = server.Serve(tls.NewListener(l, &tls.Config{GetCertificate: get, MinVersion: tls.VersionTLS12}))
	}()
	t.Cleanup(func() { server.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t)(port, err)
	k.webhook = "https://localhost:" + port + "/"
}

// installHooks makes the three configurations; the first calls the webhook for
// ConfigMaps of the namespace shop.
func (k *realCluster) installHooks(t *testing.T) {
	ctx, ok := t.Context(), must(t)
	none, fail := admissionv1.SideEffectClassNone, admissionv1.Fail
	client := admissionv1.WebhookClientConfig{URL: &k.webhook}
	rule := func(resource string) []admissionv1.RuleWithOperations {
		return []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}}}}
	}
	validating := func(name, resource string) admissionv1.ValidatingWebhook {
		return admissionv1.ValidatingWebhook{Name: name, ClientConfig: client, Rules: rule(resource), SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "shop"}}}
	}
	hooks := k.admin.AdmissionregistrationV1()
	ok(hooks.ValidatingWebhookConfigurations().Create(ctx, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "check"},
		Webhooks: []admissionv1.ValidatingWebhook{validating("a.pratique.io", "configmaps"), validating("b.pratique.io", "nothing")}}, metav1.CreateOptions{}))
	ok(hooks.ValidatingWebhookConfigurations().Create(ctx, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "second"},
		Webhooks: []admissionv1.ValidatingWebhook{validating("a.pratique.io", "nothing")}}, metav1.CreateOptions{}))
	ok(hooks.MutatingWebhookConfigurations().Create(ctx, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "change"},
		Webhooks: []admissionv1.MutatingWebhook{{Name: "a.pratique.io", ClientConfig: client, Rules: rule("nothing"), SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"}}}}, metav1.CreateOptions{}))
}

// called reports whether the API server calls the webhook and trusts it.
func (k *realCluster) called(t *testing.T) bool {
	_, err := k.admin.CoreV1().ConfigMaps("shop").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "x"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err != nil && strings.Contains(err.Error(), `webhook "a.pratique.io" denied the request: the webhook was asked`)
}

// certificates lives through 400 days, which end now: a certificate of the
// future is none for an API server.
func (k *realCluster) certificates(t *testing.T) {
	clock := &clock{now: time.Now().Add(-400 * day)}
	cfg := certificateConfig()
	cfg.Names = []string{"localhost"}
	var replicas []*cluster.Certificates
	for range 2 {
		c, err := cluster.NewCertificates(cfg, k.user, silent(), clock.Now)
		must(t)(c, err)
		replicas = append(replicas, c)
	}
	k.certificateOfWebhook = replicas[0].GetCertificate
	k.serveWebhook(t)
	k.installHooks(t)
	signers := map[string]bool{}
	for step := 0; time.Until(clock.Now()) < -time.Minute; step++ {
		pass(t, replicas...)
		cert := shown(t, replicas[0])
		if signers[cert.Issuer.CommonName] = true; !cert.Equal(shown(t, replicas[1])) {
			t.Fatal("the replicas show different certificates")
		}
		clock.Add(min(5*day, time.Since(clock.Now())))
	}
	pass(t, replicas...)
	if len(signers) < 2 {
		t.Errorf("%d authorities in 400 days", len(signers))
	}
	eventually(t, "the API server trusts the webhook", func() bool { return k.called(t) })

	for _, c := range replicas {
		start(t, c.Run)
	}
	hooks := k.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	check, err := hooks.Get(t.Context(), "check", metav1.GetOptions{})
	must(t)(check, err)
	bundle := string(check.Webhooks[0].ClientConfig.CABundle)
	check.Webhooks[0].ClientConfig.CABundle = nil
	must(t)(hooks.Update(t.Context(), check, metav1.UpdateOptions{}))
	eventually(t, "a bundle taken away is back", func() bool {
		check, err = hooks.Get(t.Context(), "check", metav1.GetOptions{})
		return err == nil && string(check.Webhooks[0].ClientConfig.CABundle) == bundle
	})
	if check.Webhooks[0].NamespaceSelector == nil || *check.Webhooks[0].FailurePolicy != admissionv1.Fail {
		t.Errorf("the configuration has lost something: %+v", check.Webhooks[0])
	}
	must(t)(nil, k.admin.CoreV1().Secrets(ownNamespace).Delete(t.Context(), "webhook-tls", metav1.DeleteOptions{}))
	eventually(t, "the Secret is back", func() bool {
		secret, err := k.admin.CoreV1().Secrets(ownNamespace).Get(t.Context(), "webhook-tls", metav1.GetOptions{})
		return err == nil && string(secret.Data["ca.crt"]) == bundle
	})
	if !k.called(t) {
		t.Error("the API server trusts the webhook no more")
	}
	for _, name := range []string{"check", "second"} { // out of the way of the others
		must(t)(nil, hooks.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
}

func (k *realCluster) lookUps(t *testing.T) {
	n, err := cluster.NewNamespaces(k.user, silent())
	must(t)(n, err)
	start(t, n.Run)
	labels, _, err := n.Namespace(t.Context(), "shop")
	if err != nil || labels["team"] != "shop" {
		t.Errorf("%v, %v", labels, err)
	}
	ok := must(t)
	secret := dockerSecret(auths("registry.example.com"))
	secret.Name = "pull"
	ok(k.admin.CoreV1().Secrets("shop").Create(t.Context(), &secret, metav1.CreateOptions{}))
	ok(k.admin.CoreV1().ServiceAccounts("shop").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "app"},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}}, metav1.CreateOptions{}))
	found, err := cluster.NewPullSecrets(k.user, nil).Credentials(t.Context(), cluster.Puller{Namespace: "shop", ServiceAccount: "app"}, "registry.example.com/a:1")
	if err != nil || !slices.Equal(users(found), []string{"registry.example.com"}) {
		t.Errorf("%v, %v", found, err)
	}
}

func (k *realCluster) nodes(t *testing.T) {
	n, err := cluster.NewNodes(k.user, silent())
	must(t)(n, err)
	start(t, n.Run)
	for name, architecture := range map[string]string{"a": "amd64", "b": "arm64"} {
		joins := node("linux", architecture)
		joins.Name = name
		must(t)(k.admin.CoreV1().Nodes().Create(t.Context(), &joins, metav1.CreateOptions{}))
	}
	become(t, n, "the platforms of the nodes", "linux/amd64", "linux/arm64")
	must(t)(nil, k.admin.CoreV1().Nodes().Delete(t.Context(), "b", metav1.DeleteOptions{}))
	become(t, n, "one has left", "linux/amd64")
}

// deploy makes a Deployment, its ReplicaSet and a pod that runs, as controllers
// and a node would.
func (k *realCluster) deploy(t *testing.T, name, image, imageID string) (deployment types.UID, pod string) {
	ctx, ok := t.Context(), must(t)
	labels := map[string]string{"app": name}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	d, err := k.admin.AppsV1().Deployments("shop").Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}}, metav1.CreateOptions{})
	ok(d, err)
	rs, err := k.admin.AppsV1().ReplicaSets("shop").Create(ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-1", OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}},
		Spec:       appsv1.ReplicaSetSpec{Selector: selector, Template: template}}, metav1.CreateOptions{})
	ok(rs, err)
	p, err := k.admin.CoreV1().Pods("shop").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-1-a", Labels: labels, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}},
		Spec:       template.Spec}, metav1.CreateOptions{})
	ok(p, err)
	p.Status.Phase = corev1.PodRunning
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Image: image, ImageID: imageID}}
	ok(k.admin.CoreV1().Pods("shop").UpdateStatus(ctx, p, metav1.UpdateOptions{}))
	return d.UID, p.Name
}

func (k *realCluster) inventory(t *testing.T) {
	for _, c := range []struct{ group, version, resource, kind string }{
		{"openreports.io", "v1alpha1", "reports", "Report"}, {"wgpolicyk8s.io", "v1alpha2", "policyreports", "PolicyReport"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			name := strings.ToLower(c.kind)
			k.define(t, c.group, c.version, c.resource, c.kind)
			uid, pod := k.deploy(t, name, "quay.io/"+name+":1", "quay.io/x@"+digestA)
			g := newStandings()
			g.set(digestA, gate.StatePass)
			cfg := inventoryConfig()
			cfg.Reports = map[string]string{"Report": cluster.ReportsOpen, "PolicyReport": cluster.ReportsPolicy}[c.kind]
			cfg.Eviction = cluster.EvictionConfig{Enabled: true, PerMinute: 60, After: 3 * time.Second}
			i := newInventoryWith(t, name, cfg, cluster.InventoryDeps{Client: k.user, Dynamic: k.userDyn, Standings: g})
			start(t, i.Run)
			reports := k.adminDyn.Resource(schema.GroupVersionResource{Group: c.group, Version: c.version, Resource: c.resource}).Namespace("shop")
			result := func() string {
				r, err := reports.Get(t.Context(), "pratique-"+string(uid), metav1.GetOptions{})
				if err != nil {
					return err.Error()
				}
				all, _, _ := unstructured.NestedSlice(r.Object, "results")
				return fmt.Sprint(len(all), " ", all[0].(map[string]any)["result"])
			}
			eventually(t, "the report is there", func() bool { return result() == "1 pass" })
			g.set(digestA, gate.StateFail)
			i.Recheck()
			eventually(t, "the report follows", func() bool { return result() == "1 fail" })
			eventually(t, "the flip is told", func() bool { return k.told(t, uid, "ImageVerdictFail") })
			eventually(t, "the pod is evicted", func() bool {
				_, err := k.admin.CoreV1().Pods("shop").Get(t.Context(), pod, metav1.GetOptions{})
				return apierrors.IsNotFound(err)
			})
			eventually(t, "the report goes with the last pod", func() bool { return strings.Contains(result(), "not found") })
		})
	}
}

// exceptions: the definition that is delivered refuses what lacks an end, and a
// status is written with the rights of the table.
func (k *realCluster) exceptions(t *testing.T) {
	raw, err := os.ReadFile("../../../deploy/helm/pratique/crds/imageexceptions.yaml")
	must(t)(raw, err)
	definition := &unstructured.Unstructured{}
	must(t)(nil, yaml.Unmarshal(raw, &definition.Object))
	must(t)(k.adminDyn.Resource(k.customResourceDefs).Create(t.Context(), definition, metav1.CreateOptions{FieldValidation: "Strict"}))
	objects := k.adminDyn.Resource(schema.GroupVersionResource{Group: "pratique.io", Version: "v1alpha1", Resource: "imageexceptions"})
	create := func(name string, change func(object)) error {
		o := exception(newClock(), change)
		o["apiVersion"], o["kind"], o["metadata"] = "pratique.io/v1alpha1", "ImageException", object{"name": name}
		_, err := objects.Create(t.Context(), &unstructured.Unstructured{Object: o}, metav1.CreateOptions{FieldValidation: "Strict"})
		return err
	}
	in := func(d time.Duration) func(object) {
		return func(spec object) { spec["expires"] = time.Now().Add(d).UTC().Format(time.RFC3339) }
	}
	eventually(t, "the kind is known", func() bool { return create("good", in(day)) == nil })
	must(t)(nil, create("long", in(4000*day)))
	for name, change := range map[string]func(object){
		"endless":  func(spec object) { delete(spec, "expires") },
		"nobodys":  func(spec object) { spec["owner"] = "" },
		"unscoped": func(spec object) { spec["scope"] = object{"namespaces": []any{"shop"}} },
		"garbled":  func(spec object) { spec["until"] = "tomorrow" },
	} {
		if err := create(name, change); err == nil || apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := &home{}
	leader, err := cluster.NewLeader(leaderConfig("exceptions"), k.user, silent())
	must(t)(leader, err)
	cluster.NewExceptions(cluster.ExceptionConfig{Enabled: true}, cluster.ExceptionDeps{Client: k.user, Dynamic: k.userDyn, Leader: leader, Home: h, Cluster: "prod", Log: silent()})
	start(t, leader.Run)
	eventually(t, "home is told", func() bool { return slices.Equal(h.ids(), []string{"prod/good"}) })
	for name, want := range map[string]string{"good": "Active", "long": "Invalid"} {
		eventually(t, name+" is marked", func() bool {
			o, err := objects.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return false
			}
			state, _, _ := unstructured.NestedString(o.Object, "status", "state")
			return state == want
		})
	}
}

func (k *realCluster) told(t *testing.T, uid types.UID, reason string) bool {
	events, err := k.admin.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{})
	return err == nil && slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
		return e.InvolvedObject.UID == uid && e.InvolvedObject.Kind == "Deployment" && e.Reason == reason
	})
}

// define installs a kind of report. The schema has what both kinds share, is
// closed, and so refuses a field that neither knows.
func (k *realCluster) define(t *testing.T, group, version, resource, kind string) {
	t.Helper()
	text, number, truth := object{"type": "string"}, object{"type": "integer"}, object{"type": "boolean"}
	of := func(properties object, required ...any) object {
		o := object{"type": "object", "properties": properties}
		if len(required) > 0 {
			o["required"] = required
		}
		return o
	}
	outcome := object{"type": "string", "enum": []any{"pass", "fail", "warn", "error", "skip"}}
	result := of(object{
		"source": text, "policy": text, "rule": text, "category": text, "message": text, "scored": truth, "result": outcome,
		"timestamp":  of(object{"seconds": object{"type": "integer", "format": "int64"}, "nanos": object{"type": "integer", "format": "int32"}}, "seconds", "nanos"),
		"properties": object{"type": "object", "additionalProperties": text},
	}, "policy")
	top := object{
		"scope":   of(object{"apiVersion": text, "kind": text, "name": text, "namespace": text, "uid": text}),
		"summary": of(object{"pass": number, "fail": number, "warn": number, "error": number, "skip": number}),
		"results": object{"type": "array", "items": result},
	}
	if kind == "Report" {
		top["source"] = text
		top["configuration"] = of(object{"limits": of(object{"maxResults": number})}, "limits")
	}
	crds := k.adminDyn.Resource(k.customResourceDefs)
	name := resource + "." + group
	must(t)(crds.Create(t.Context(), &unstructured.Unstructured{Object: object{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": object{"name": name,
			// Names below k8s.io need it.
			"annotations": object{"api-approved.kubernetes.io": "unapproved, a test"}},
		"spec": object{"group": group, "scope": "Namespaced", "names": object{"plural": resource, "singular": strings.ToLower(kind), "kind": kind, "listKind": kind + "List"},
			"versions": []any{object{"name": version, "served": true, "storage": true, "schema": object{"openAPIV3Schema": of(top)}}}},
	}}, metav1.CreateOptions{}))
	eventually(t, "the kind is known", func() bool {
		list, err := k.adminDyn.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: resource}).List(context.WithoutCancel(t.Context()), metav1.ListOptions{})
		return err == nil && len(list.Items) == 0
	})
}
