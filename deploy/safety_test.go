package deploy_test

import (
	gocmp "cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// pods gives every Pod of a rendering by the name of what makes it.
func pods(all []object) map[string]corev1.PodSpec {
	specs := map[string]corev1.PodSpec{}
	for _, d := range every[*appsv1.Deployment](all) {
		specs[d.Name] = d.Spec.Template.Spec
	}
	for _, s := range every[*appsv1.StatefulSet](all) {
		specs[s.Name] = s.Spec.Template.Spec
	}
	for _, p := range every[*corev1.Pod](all) {
		specs[p.Name] = p.Spec
	}
	return specs
}

// TestRestricted: every Pod keeps to the Pod Security Standard "restricted", and to
// a root file system that nobody writes, in every profile.
func TestRestricted(t *testing.T) {
	for _, name := range append(profiles(t), "") {
		specs := pods(decodeAll(t, release{values: profile(t, name)}.render(t)))
		if len(specs) < 2 {
			t.Fatalf("profile %q: %d Pods", name, len(specs))
		}
		for pod, spec := range specs {
			if err := restricted(spec); err != nil {
				t.Errorf("profile %q: %s: %v", name, pod, err)
			}
			if token := strings.HasSuffix(pod, "-admission"); *spec.AutomountServiceAccountToken != token {
				t.Errorf("profile %q: %s: token of the account: %v", name, pod, !token)
			}
		}
	}
}

// restricted tells what a Pod does that "restricted" does not allow.
func restricted(spec corev1.PodSpec) error {
	sc := spec.SecurityContext
	switch {
	case !*sc.RunAsNonRoot || sc.RunAsUser == nil || *sc.RunAsUser == 0:
		return fmt.Errorf("may be root: %v", sc)
	case sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		return fmt.Errorf("seccomp: %v", sc.SeccompProfile)
	case spec.HostNetwork || spec.HostPID || spec.HostIPC:
		return fmt.Errorf("is in a namespace of the host")
	case *spec.EnableServiceLinks:
		return fmt.Errorf("has variables of Services, such as PRATIQUE_PORT")
	}
	for _, v := range spec.Volumes {
		if v.HostPath != nil {
			return fmt.Errorf("volume %s is of the host", v.Name)
		}
		if v.Secret != nil && *v.Secret.DefaultMode != 0o440 {
			return fmt.Errorf("secret %s: mode %o", v.Name, *v.Secret.DefaultMode)
		}
	}
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		cs := c.SecurityContext
		if *cs.AllowPrivilegeEscalation || !*cs.ReadOnlyRootFilesystem || !*cs.RunAsNonRoot || len(cs.Capabilities.Add) > 0 ||
			!slices.Equal(cs.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			return fmt.Errorf("container %s: %v", c.Name, cs)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() {
			return fmt.Errorf("container %s has no bound on its memory", c.Name)
		}
	}
	return nil
}

// TestProbes: every long-lived container is probed.
func TestProbes(t *testing.T) {
	all := decodeAll(t, release{}.render(t))
	for pod, spec := range pods(all) {
		for _, c := range spec.Containers {
			if spec.RestartPolicy != corev1.RestartPolicyNever && (c.LivenessProbe == nil || c.ReadinessProbe == nil) {
				t.Errorf("%s: %s is not probed", pod, c.Name)
			}
		}
	}
}

// TestSecretsByNeed: who mounts which key of the keys' Secret.
func TestSecretsByNeed(t *testing.T) {
	all := decodeAll(t, release{}.render(t))
	want := map[string][]string{
		"pratique":           {"token-key", "hmac-key", "redis-password"},
		"pratique-admission": {"hmac-key", "redis-password"},
		"pratique-redis":     {"redis-password"},
		"pratique-status":    nil,
	}
	for pod, spec := range pods(all) {
		var got []string
		for _, v := range spec.Volumes {
			if v.Secret == nil || v.Secret.SecretName != "pratique-keys" {
				continue
			}
			for _, item := range v.Secret.Items {
				got = append(got, item.Key)
			}
		}
		if !slices.Equal(got, want[pod]) {
			t.Errorf("%s has %v, want %v", pod, got, want[pod])
		}
	}
}

// TestRights: no wildcard, no Secrets but the one that is its own and those that
// the values name, nothing that gives more rights.
func TestRights(t *testing.T) {
	named := values{"scope": "named", "named": []any{values{"namespace": "team-a", "names": []any{"hub", "quay"}}}}
	for _, test := range []struct {
		name    string
		values  values
		secrets []string // "namespace/name verbs", * for any
	}{
		{"default", values{}, []string{"pratique/pratique-admission-tls get,list,watch,update"}},
		{"cert-manager", values{"tls": values{"certManager": values{"enabled": true}}}, nil},
		{"named", values{"pullSecrets": named}, []string{"pratique/pratique-admission-tls get,list,watch,update", "team-a/hub get", "team-a/quay get"}},
		{"cluster", values{"pullSecrets": values{"scope": "cluster"}}, []string{"*/* get", "pratique/pratique-admission-tls get,list,watch,update"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := decodeAll(t, release{values: values{"admission": merged(test.values, values{"eviction": true, "reports": "openreports.io"})}}.render(t))
			var secrets []string
			for _, r := range every[*rbacv1.ClusterRole](all) {
				secrets = append(secrets, checkRules(t, "*", r.Rules)...)
			}
			for _, r := range every[*rbacv1.Role](all) {
				secrets = append(secrets, checkRules(t, r.Namespace, r.Rules)...)
			}
			if slices.Sort(secrets); !slices.Equal(secrets, test.secrets) {
				t.Errorf("secrets: %v, want %v", secrets, test.secrets)
			}
			for _, b := range every[*rbacv1.ClusterRoleBinding](all) {
				if b.RoleRef.Name != "pratique-admission" || len(b.Subjects) != 1 || b.Subjects[0].Name != "pratique-admission" {
					t.Errorf("%s binds %v to %v", b.Name, b.RoleRef, b.Subjects)
				}
			}
		})
	}
}

// TestRightsAreNeeded: the rights are those of the table in internal/admission/cluster,
// which is held against what the program asks for; but the Secret is made by the
// chart, so none is created.
func TestRightsAreNeeded(t *testing.T) {
	raw, err := os.ReadFile("../internal/admission/cluster/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for line := range strings.Lines(string(raw)) {
		row := strings.Fields(strings.TrimPrefix(line, "//\t"))
		if !strings.HasPrefix(line, "//\t") || len(row) < 6 || row[0] == "part" || row[2] == "wgpolicyk8s.io" {
			continue
		}
		text := fmt.Sprintf("%s %s/%s named=%v %v", row[1], row[2], row[3], row[4] != "*", row[5:])
		if text != "own core/secrets named=false [create]" {
			want = append(want, text)
		}
	}
	all := decodeAll(t, release{values: values{"admission": values{
		"eviction": true, "reports": "openreports.io", "pullSecrets": values{"scope": "cluster"}}}}.render(t))
	got := listRights("cluster", find[*rbacv1.ClusterRole](t, all, "pratique-admission").Rules)
	got = append(got, listRights("own", find[*rbacv1.Role](t, all, "pratique-admission").Rules)...)
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("needed (-), given (+):\n%s", cmp.Diff(want, got))
	}
}

func listRights(where string, rules []rbacv1.PolicyRule) (all []string) {
	for _, r := range rules {
		for _, resource := range r.Resources {
			all = append(all, fmt.Sprintf("%s %s/%s named=%v %v", where, gocmp.Or(r.APIGroups[0], "core"), resource, len(r.ResourceNames) > 0, r.Verbs))
		}
	}
	return all
}

// checkRules finds what nobody needs here, and lists the rights to Secrets.
func checkRules(t *testing.T, namespace string, rules []rbacv1.PolicyRule) (secrets []string) {
	t.Helper()
	for _, r := range rules {
		text := strings.Join(slices.Concat(r.APIGroups, r.Resources, r.Verbs), " ")
		for _, no := range []string{"*", "escalate", "bind", "impersonate", "nodes/proxy", "deletecollection", "rbac.authorization.k8s.io"} {
			if slices.Contains(strings.Fields(text), no) {
				t.Errorf("%s: %v", no, r)
			}
		}
		writes := slices.ContainsFunc(r.Verbs, func(v string) bool { return v == "update" || v == "patch" || v == "delete" })
		ours := slices.Contains(r.APIGroups, "openreports.io") || slices.Contains(r.APIGroups, "pratique.io") || slices.Equal(r.Resources, []string{"events"})
		if writes && len(r.ResourceNames) == 0 && !ours {
			t.Errorf("changes what is not its own: %v", r)
		}
		if !slices.Contains(r.Resources, "secrets") {
			continue
		}
		names := r.ResourceNames
		if len(names) == 0 {
			names = []string{"*"}
		}
		for _, n := range names {
			secrets = append(secrets, namespace+"/"+n+" "+strings.Join(r.Verbs, ","))
		}
	}
	return secrets
}

// TestDisruption: two replicas at least, apart, of which one at a time may go; and
// never more than the budget allows.
func TestDisruption(t *testing.T) {
	all := decodeAll(t, release{values: profile(t, "enforce")}.render(t))
	d := find[*appsv1.Deployment](t, all, "pratique-admission")
	if *d.Spec.Replicas < 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 || d.Spec.Template.Spec.PriorityClassName == "" {
		t.Errorf("%d replicas, %v, class %q", *d.Spec.Replicas, d.Spec.Strategy, d.Spec.Template.Spec.PriorityClassName)
	}
	if c := d.Spec.Template.Spec.TopologySpreadConstraints; len(c) != 2 || c[0].TopologyKey != "kubernetes.io/hostname" || c[0].WhenUnsatisfiable != corev1.DoNotSchedule {
		t.Errorf("spread: %v", c)
	}
	b := find[*policyv1.PodDisruptionBudget](t, all, "pratique-admission")
	if b.Spec.MaxUnavailable.IntValue() != 1 || *b.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
		t.Errorf("budget: %v", b.Spec)
	}
}

// TestNetworkPolicies: every Pod has one, Redis is reached by Pratique alone and
// reaches nobody, and without internet nothing goes to anywhere.
func TestNetworkPolicies(t *testing.T) {
	all := decodeAll(t, release{values: values{"networkPolicy": values{"internet": false, "apiServer": []any{"10.0.0.1/32"}}}}.render(t))
	found := every[*networkingv1.NetworkPolicy](all)
	if len(found) != 3 {
		t.Fatalf("%d policies", len(found))
	}
	for _, p := range found {
		if len(p.Spec.PolicyTypes) != 2 {
			t.Errorf("%s: %v", p.Name, p.Spec.PolicyTypes)
		}
		for _, rule := range p.Spec.Egress {
			if dns := rule.Ports[0].Port.IntValue() == 53; len(rule.To) == 0 && !dns {
				t.Errorf("%s: egress to anywhere: %v", p.Name, rule)
			}
		}
		for _, rule := range p.Spec.Ingress {
			if port := rule.Ports[0].Port.String(); len(rule.From) == 0 && port != "registry" {
				t.Errorf("%s: port %s is open to everybody", p.Name, port)
			}
		}
	}
	redis := find[*networkingv1.NetworkPolicy](t, all, "pratique-redis")
	if len(redis.Spec.Egress) != 0 || len(redis.Spec.Ingress) != 1 || len(redis.Spec.Ingress[0].From) != 2 {
		t.Errorf("Redis: %v", redis.Spec)
	}
}
