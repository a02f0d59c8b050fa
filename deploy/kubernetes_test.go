package deploy_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gvr "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// TestKubernetes: what a real API server takes of the chart, and makes of it.
func TestKubernetes(t *testing.T) {
	c := newRealCluster(t)
	for _, name := range append(profiles(t), "defaults", "cert-manager") {
		t.Run("apply "+name, func(t *testing.T) { c.applied(t, name) })
	}
	t.Run("exceptions", c.exceptions)
	t.Run("webhook down", c.webhookDown)
	t.Run("rights", c.rights)
	t.Run("fewest rights", c.fewestRights)
	t.Run("named secrets", c.namedSecrets)
}

// operators are the kinds that an API server does not have by itself: they are
// not applied here.
var operators = map[string][]string{
	"ha":           {"monitoring.coreos.com/v1 ServiceMonitor", "monitoring.coreos.com/v1 ServiceMonitor"},
	"cert-manager": {"cert-manager.io/v1 Certificate", "cert-manager.io/v1 Certificate", "cert-manager.io/v1 Issuer"},
}

// applied: every object is taken, none of its fields is unknown or dropped,
// nothing is doubtful, and to apply it again changes nothing.
func (c *realCluster) applied(t *testing.T, name string) {
	var v values
	switch name {
	case "defaults":
	case "cert-manager":
		v = values{"admission": values{"tls": values{"certManager": values{"enabled": true}}},
			"serve": values{"tls": values{"certManager": values{"enabled": true, "issuerRef": values{"name": "ca"}}}}}
	default:
		v = profile(t, name)
	}
	documents := release{values: v}.render(t)
	c.warned.taken()
	first := c.install(t, documents)
	if w := c.warned.taken(); len(w) > 0 {
		t.Errorf("the API server warns: %q", w)
	}
	if slices.Sort(first.foreign); !slices.Equal(first.foreign, operators[name]) {
		t.Errorf("not applied: %q, want %q", first.foreign, operators[name])
	}
	t.Logf("%d objects applied, %d of operators not", len(first.objects), len(first.foreign))
	if t.Failed() {
		return
	}
	i := 0
	for _, d := range documents {
		sent, _, known := c.place(t, d)
		if !known {
			continue
		}
		if fields := lost(sent.GetKind()+" "+sent.GetName(), sent.Object, first.objects[i].Object); len(fields) > 0 {
			t.Errorf("taken without %q", fields)
		}
		again, _, err := c.apply(t, d)
		if err != nil || again.GetResourceVersion() != first.objects[i].GetResourceVersion() {
			t.Errorf("%s %s changes when it is applied again: %v\n%s", sent.GetKind(), sent.GetName(), err, cmp.Diff(first.objects[i], again))
		}
		i++
	}
}

// exceptions: the definition is taken, also what an API server alone evaluates of
// it, and so is an exception.
func (c *realCluster) exceptions(t *testing.T) {
	raw, err := os.ReadFile(definitionFile)
	ok(t)(raw, err)
	definition := document{definitionFile, string(raw)}
	installed := c.install(t, []document{definition})
	if fields := lost("definition", mustMap(t, definition.text), installed.objects[0].Object); len(fields) > 0 {
		t.Errorf("taken without %q", fields)
	}
	kind := gvr.GroupVersionResource{Group: "pratique.io", Version: "v1alpha1", Resource: "imageexceptions"}
	send := func(change func(spec map[string]any)) error {
		o := &unstructured.Unstructured{Object: mustMap(t, exceptionText)}
		change(o.Object["spec"].(map[string]any))
		_, err := c.dynamic.Resource(kind).Create(t.Context(), o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}})
		return err
	}
	for begun := time.Now(); apierrors.IsNotFound(send(func(map[string]any) {})); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("the kind is not served")
		}
	}
	if err := send(func(map[string]any) {}); err != nil {
		t.Errorf("a good exception: %v", err)
	}
	for what, change := range map[string]func(map[string]any){
		"name images or digests": func(s map[string]any) { s["scope"] = map[string]any{"namespaces": []any{"payments"}} },
		"unknown field":          func(s map[string]any) { s["forever"] = true },
		"expires":                func(s map[string]any) { s["expires"] = "never" },
	} {
		if err := send(change); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
}

func mustMap(t *testing.T, text string) (fields map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// webhookDown: nothing answers at the Service that the registrations name. What
// is exempt, by name, and what brings no image, goes on; the rest stands still
// with Fail.
func (c *realCluster) webhookDown(t *testing.T) {
	for _, namespace := range []string{"shop", "storage", "sly"} {
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if namespace == "sly" {
			n.Labels = map[string]string{corev1.LabelMetadataName: "kube-system", "pratique": "exempt", "control-plane": "true"}
		}
		ok(t)(c.CoreV1().Namespaces().Create(t.Context(), n, metav1.CreateOptions{}))
	}
	for _, namespace := range []string{"kube-public", "kube-node-lease"} { // a controller makes them elsewhere
		_, _ = c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	}
	nodes := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "nodes"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:nodes"}}}
	ok(t)(c.RbacV1().ClusterRoleBindings().Create(t.Context(), nodes, metav1.CreateOptions{}))
	running := pod("shop", named("running"))
	ok(t)(c.CoreV1().Pods("shop").Create(t.Context(), running, metav1.CreateOptions{}))
	web := deployment(func(d *appsv1.Deployment) {
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "d"}}
		d.Spec.Template.Labels = map[string]string{"app": "d"}
	})
	ok(t)(c.AppsV1().Deployments("shop").Create(t.Context(), web, metav1.CreateOptions{}))
	exempt := values{"admission": values{"namespaces": values{"exempt": []any{"storage"}}}}
	for _, test := range []struct {
		name  string
		v     values
		stops string // the webhook that is not reached; "": none stops anything
	}{
		{"enforce", merged(profile(t, "enforce"), exempt), "mutate.pratique.io"},
		{"enforce without mutation", merged(merged(profile(t, "enforce"), exempt), values{"admission": values{"mutate": false}}), "validate.pratique.io"},
		{"observe", merged(profile(t, "observe"), exempt), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.install(t, release{values: test.v}.render(t))
			c.await(t, test.stops)
			var group sync.WaitGroup
			for _, try := range c.tries(t) {
				group.Go(func() {
					begun := time.Now()
					err := try.do()
					stopped := err != nil && strings.Contains(err.Error(), "failed calling webhook")
					if stopped != (try.stops && test.stops != "") || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", test.stops)) {
						t.Errorf("%s: %v", try.name, err)
					}
					if took := time.Since(begun); took > 10*time.Second {
						t.Errorf("%s took %s", try.name, took)
					}
				})
			}
			group.Wait()
		})
	}
}

// try is something that somebody does in a cluster.
type try struct {
	name  string
	stops bool // while the webhook is down
	do    func() error
}

func (c *realCluster) tries(t *testing.T) []try {
	node := c.as(t, "system:node:n1", "system:nodes", "system:authenticated")
	dry, ctx := []string{metav1.DryRunAll}, t.Context()
	create := func(by *realCluster, p *corev1.Pod) func() error {
		return func() error {
			_, err := by.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{DryRun: dry})
			return err
		}
	}
	patch := func(what, text string, subresources ...string) func() error {
		return func() error {
			var err error
			if what == "pod" {
				_, err = c.CoreV1().Pods("shop").Patch(ctx, "running", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{DryRun: dry}, subresources...)
			} else {
				_, err = c.AppsV1().Deployments("shop").Patch(ctx, "d", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{DryRun: dry}, subresources...)
			}
			return err
		}
	}
	restricted := func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: new(bool), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	}
	mirror := func(p *corev1.Pod) {
		p.Annotations, p.Spec.NodeName = map[string]string{corev1.MirrorPodAnnotationKey: "x"}, "n1"
	}
	return []try{
		{"Pod", true, create(c, pod("shop"))},
		{"Pod with labels that promise much", true, create(c, pod("shop", func(p *corev1.Pod) {
			p.Labels = map[string]string{"pratique": "exempt", corev1.LabelMetadataName: "kube-system"}
		}))},
		{"namespace with labels that promise much", true, create(c, pod("sly"))},
		{"image of a Pod", true, patch("pod", `{"spec": {"containers": [{"name": "c", "image": "a:2"}]}}`)},
		{"kubectl debug", true, patch("pod", `{"spec": {"ephemeralContainers": [{"name": "d", "image": "a:2"}]}}`, "ephemeralcontainers")},
		{"image of a Deployment", true, patch("deployment", `{"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a:2"}]}}}}`)},
		{"mirror Pod of a person", true, create(c, pod("shop", mirror))},
		{"mirror Pod of a node", false, create(node, pod("shop", mirror))},
		{"Pratique's own", false, create(c, pod("pratique", restricted))},
		{"kube-system", false, create(c, pod("kube-system"))},
		{"kube-public", false, create(c, pod("kube-public"))},
		{"kube-node-lease", false, create(c, pod("kube-node-lease"))},
		{"exempt by the values", false, create(c, pod("storage"))},
		{"label of a Pod", false, patch("pod", `{"metadata": {"labels": {"a": "b"}}}`)},
		{"finalizer of a Pod", false, patch("pod", `{"metadata": {"finalizers": ["example.com/x"]}}`)},
		{"status of a Pod", false, patch("pod", `{"status": {"phase": "Running"}}`, "status")},
		{"replicas of a Deployment", false, patch("deployment", `{"spec": {"replicas": 5}}`)},
		{"scale of a Deployment", false, patch("deployment", `{"spec": {"replicas": 5}}`, "scale")},
	}
}

func named(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Name = name }
}

// await waits until the registration that stops objects is in force. Without
// one, there is nothing to wait for that could be seen.
func (c *realCluster) await(t *testing.T, stops string) {
	t.Helper()
	for begun := time.Now(); stops != ""; time.Sleep(50 * time.Millisecond) {
		_, err := c.CoreV1().Pods("shop").Create(t.Context(), pod("shop"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), stops) {
			return
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("no webhook is asked: %v", err)
		}
	}
}

// ok fails the test on an error.
func ok(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// may asks the API server whether a service account has a right.
func (c *realCluster) may(t *testing.T, account string, right authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:pratique:" + account, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:pratique", "system:authenticated"},
		ResourceAttributes: &right}}
	answer, err := c.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	ok(t)(answer, err)
	return answer.Status.Allowed
}

// rowRight is a right of the table in internal/admission/cluster.
type rowRight struct {
	part string
	authorizationv1.ResourceAttributes
}

// table reads the rights that the program's parts need, with the names of the
// chart.
func table(t *testing.T) []rowRight {
	t.Helper()
	raw, err := os.ReadFile("../internal/admission/cluster/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"*": "", "secret": "pratique-admission-tls", "webhooks": "pratique", "lease": "pratique-admission"}
	var all []rowRight
	for line := range strings.Lines(string(raw)) {
		row := strings.Fields(strings.TrimPrefix(line, "//\t"))
		if !strings.HasPrefix(line, "//\t") || len(row) < 6 || row[0] == "part" {
			continue
		}
		resource, sub, _ := strings.Cut(row[3], "/")
		for _, verb := range row[5:] {
			r := authorizationv1.ResourceAttributes{Group: strings.TrimPrefix(row[2], "core"), Resource: resource, Subresource: sub, Name: names[row[4]], Verb: verb}
			if row[1] == "own" {
				r.Namespace = "pratique"
			}
			all = append(all, rowRight{row[0], r})
		}
	}
	if len(all) < 30 {
		t.Fatalf("%d rights found in the table, there are more", len(all))
	}
	return all
}

// text is a right in one line.
func (r rowRight) text() string {
	return fmt.Sprintf("%s: %s %s/%s/%s %q in %q", r.part, r.Verb, r.Group, r.Resource, r.Subresource, r.Name, r.Namespace)
}

// rights: with everything switched on, the webhook's account has every right of
// the table, and none of those that nobody should have; the other accounts have
// none at all.
func (c *realCluster) rights(t *testing.T) {
	c.install(t, release{values: values{"admission": values{"eviction": true, "events": true, "reports": "openreports.io", "pullSecrets": values{"scope": "cluster"}}}}.render(t))
	for _, r := range table(t) {
		// The chart makes the Secret; reports are of one kind or the other.
		want := r.Resource != "secrets" || r.Verb != "create"
		want = want && r.Group != "wgpolicyk8s.io"
		if got := c.may(t, "pratique-admission", r.ResourceAttributes); got != want {
			t.Errorf("%s: %v", r.text(), got)
		}
		for _, other := range []string{"pratique", "pratique-redis", "default"} {
			if c.may(t, other, r.ResourceAttributes) {
				t.Errorf("%s has %s", other, r.text())
			}
		}
	}
	for _, r := range forbidden {
		if c.may(t, "pratique-admission", r) {
			t.Errorf("the webhook may %s %s/%s/%s %q in %q", r.Verb, r.Group, r.Resource, r.Subresource, r.Name, r.Namespace)
		}
	}
}

// forbidden are rights that nobody needs here, whatever the values say.
var forbidden = []authorizationv1.ResourceAttributes{
	{Verb: "*", Group: "*", Resource: "*"},
	{Verb: "*", Group: "*", Resource: "*", Namespace: "pratique"},
	{Verb: "list", Resource: "secrets"},
	{Verb: "watch", Resource: "secrets"},
	{Verb: "list", Resource: "secrets", Namespace: "pratique"},
	{Verb: "update", Resource: "secrets", Namespace: "pratique", Name: "pratique-keys"},
	{Verb: "create", Resource: "secrets", Namespace: "pratique"},
	{Verb: "delete", Resource: "secrets", Namespace: "pratique", Name: "pratique-admission-tls"},
	{Verb: "update", Resource: "secrets", Namespace: "shop", Name: "pratique-admission-tls"},
	{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: "others"},
	{Verb: "list", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations"},
	{Verb: "delete", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: "pratique"},
	{Verb: "create", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"},
	{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: "pratique", Name: "others"},
	{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: "kube-system", Name: "pratique-admission"},
	{Verb: "create", Resource: "pods", Namespace: "pratique"},
	{Verb: "delete", Resource: "pods", Namespace: "shop"},
	{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: "shop"},
	{Verb: "get", Resource: "pods", Subresource: "log", Namespace: "shop"},
	{Verb: "get", Resource: "nodes", Subresource: "proxy"},
	{Verb: "patch", Resource: "nodes"},
	{Verb: "patch", Resource: "namespaces", Name: "shop"},
	{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: "shop"},
	{Verb: "impersonate", Resource: "users"},
	{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
	{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
	{Verb: "get", Resource: "configmaps", Namespace: "kube-system"},
	{Verb: "list", Resource: "events"},
}

// fewestRights: what is switched off takes no rights.
func (c *realCluster) fewestRights(t *testing.T) {
	c.install(t, release{values: values{"admission": values{"eviction": false, "events": false, "exceptions": false, "reports": "none", "pullSecrets": values{"scope": "none"},
		"tls": values{"certManager": values{"enabled": true}}}}}.render(t))
	for _, r := range table(t) {
		want := slices.Contains([]string{"namespaces", "nodes", "inventory", "leader"}, r.part)
		if got := c.may(t, "pratique-admission", r.ResourceAttributes); got != want {
			t.Errorf("%s: %v", r.text(), got)
		}
	}
}

// namedSecrets: Secrets that the values name can be read, and no others.
func (c *realCluster) namedSecrets(t *testing.T) {
	ok(t)(c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}, metav1.CreateOptions{}))
	var v values
	if err := yaml.Unmarshal([]byte(`admission: {pullSecrets: {scope: named, named: [{namespace: team-a, names: [hub]}]}}`), &v); err != nil {
		t.Fatal(err)
	}
	c.install(t, release{values: v}.render(t))
	for right, want := range map[authorizationv1.ResourceAttributes]bool{
		{Verb: "get", Resource: "secrets", Namespace: "team-a", Name: "hub"}:   true,
		{Verb: "get", Resource: "secrets", Namespace: "team-a", Name: "other"}: false,
		{Verb: "get", Resource: "secrets", Namespace: "shop", Name: "hub"}:     false,
		{Verb: "list", Resource: "secrets", Namespace: "team-a"}:               false,
		{Verb: "get", Resource: "secrets"}:                                     false,
	} {
		if got := c.may(t, "pratique-admission", right); got != want {
			t.Errorf("%+v: %v", right, got)
		}
	}
}
