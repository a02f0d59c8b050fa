package admission_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pratique/pratique/internal/admission"
)

// kinds are all that are read, and where their pod specs stand.
var kinds = []struct{ version, kind, path string }{
	{"v1", "Pod", "spec"},
	{"v1", "PodTemplate", "template.spec"},
	{"v1", "ReplicationController", "spec.template.spec"},
	{"apps/v1", "Deployment", "spec.template.spec"},
	{"apps/v1", "ReplicaSet", "spec.template.spec"},
	{"apps/v1", "StatefulSet", "spec.template.spec"},
	{"apps/v1", "DaemonSet", "spec.template.spec"},
	{"batch/v1", "Job", "spec.template.spec"},
	{"batch/v1", "CronJob", "spec.jobTemplate.spec.template.spec"},
	{"batch/v1beta1", "CronJob", "spec.jobTemplate.spec.template.spec"},
	{"argoproj.io/v1alpha1", "Rollout", "spec.template.spec"}, // nobody described it
}

// nested puts a pod spec into an object.
func nested(version, kind, path string, spec m) m {
	object := m{"apiVersion": version, "kind": kind, "metadata": m{"name": "web", "namespace": "shop"}}
	at := object
	fields := strings.Split(path, ".")
	for _, f := range fields[:len(fields)-1] {
		next := m{}
		at[f] = next
		at = next
	}
	at[fields[len(fields)-1]] = spec
	return object
}

// TestKindsAndLists: every kind, and in it every place that names an image.
func TestKindsAndLists(t *testing.T) {
	w := start(t, nil)
	one := []any{m{"name": "good", "image": good}}
	for _, k := range kinds {
		for list, spec := range map[string]m{
			"containers[1].image":          {"containers": append(one, m{"name": "x", "image": evil})},
			"initContainers[0].image":      {"containers": one, "initContainers": []any{m{"name": "x", "image": evil, "restartPolicy": "Always"}}},
			"ephemeralContainers[0].image": {"containers": one, "ephemeralContainers": []any{m{"name": "x", "image": evil}}},
			"volumes[1].image.reference":   {"containers": one, "volumes": []any{m{"name": "tmp", "emptyDir": m{}}, m{"name": "x", "image": m{"reference": evil}}}},
		} {
			t.Run(k.version+" "+k.kind+" "+list, func(t *testing.T) {
				res := want(t, w, creation(nested(k.version, k.kind, k.path, spec)), admission.Deny)
				if res == nil || res.Result.Details == nil || len(res.Result.Details.Causes) != 1 {
					t.Fatalf("no cause: %+v", res)
				}
				if c := res.Result.Details.Causes[0]; c.Field != k.path+"."+list || !strings.Contains(c.Message, "CVE-2023-0286") {
					t.Errorf("cause %+v", c)
				}
			})
		}
		want(t, w, creation(nested(k.version, k.kind, k.path, m{"containers": one})), admission.Allow)
	}
}

// TestUpdates: what runs already is not judged again because somebody edits
// something else, and what is new is.
func TestUpdates(t *testing.T) {
	w := start(t, nil)
	labelled := pod(evil)
	labelled["metadata"].(m)["labels"] = m{"new": "label"}
	unread := pod(evil)
	unread["spec"].(m)["containers"] = "none"
	debug := pod(good)
	debug["spec"].(m)["ephemeralContainers"] = []any{m{"name": "debugger", "image": evil}}
	swapped := m{"apiVersion": "v1", "kind": "Pod", "metadata": m{"name": "web"}, "spec": m{"containers": []any{m{"name": "c0", "image": good}, m{"name": "c1", "image": evil}}}}
	for _, tt := range []struct {
		name        string
		old, object m
		subresource string
		answer      string
	}{
		{"labels of a pod that meanwhile fails", pod(evil), labelled, "", admission.Allow},
		{"kubectl set image", pod(good), pod(evil), "", admission.Deny},
		{"to a good one", pod(evil), pod(good), "", admission.Allow},
		{"one more container", pod(good), pod(good, evil), "", admission.Deny},
		{"one container less", pod(good, evil), pod(good), "", admission.Allow},
		{"the failing image moves to another container", pod(evil, good), swapped, "", admission.Deny},
		{"kubectl debug", pod(good), debug, "ephemeralcontainers", admission.Deny},
		{"another debug container is there already", debug, debug, "ephemeralcontainers", admission.Allow},
		{"resize", pod(evil), pod(evil), "resize", admission.Allow},
		{"status", pod(good), pod(evil), "status", admission.Allow},
		{"nothing to compare with", unread, pod(evil), "", admission.Deny},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := update(tt.old, tt.object)
			req.SubResource = tt.subresource
			want(t, w, req, tt.answer)
		})
	}
	t.Run("delete", func(t *testing.T) {
		req := creation(pod(evil))
		req.Operation, req.Object.Raw, req.OldObject.Raw = admissionv1.Delete, nil, encode(pod(evil))
		want(t, w, req, admission.Allow)
	})
}

// TestUnread: what cannot be read is never let in, in silence least of all.
func TestUnread(t *testing.T) {
	spec := func(v any) m {
		return m{"apiVersion": "v1", "kind": "Pod", "metadata": m{"name": "web"}, "spec": v}
	}
	for name, object := range map[string]m{
		"no spec":                   {"apiVersion": "v1", "kind": "Pod", "metadata": m{}},
		"no metadata":               {"apiVersion": "v1", "kind": "Pod", "spec": m{"containers": containers(good)}},
		"labels of another kind":    {"apiVersion": "v1", "kind": "Pod", "metadata": m{"labels": []any{}}, "spec": m{"containers": containers(good)}},
		"a label that is no text":   {"apiVersion": "v1", "kind": "Pod", "metadata": m{"labels": m{"a": 1}}, "spec": m{"containers": containers(good)}},
		"spec of another kind":      spec("x"),
		"no containers":             spec(m{}),
		"another spelling":          spec(m{"Containers": containers(good)}),
		"containers are no list":    spec(m{"containers": m{"a": 1}}),
		"a container is no map":     spec(m{"containers": []any{"x"}}),
		"a container without image": spec(m{"containers": []any{m{"name": "x"}}}),
		"an image of another kind":  spec(m{"containers": []any{m{"name": "x", "image": 7}}}),
		"an empty image":            spec(m{"containers": containers("")}),
		"init is no list":           spec(m{"containers": containers(good), "initContainers": "x"}),
		"image volume no map":       spec(m{"containers": containers(good), "volumes": []any{m{"name": "v", "image": "x"}}}),
		"image volume empty":        spec(m{"containers": containers(good), "volumes": []any{m{"name": "v", "image": m{}}}}),
		"pull secrets no list":      spec(m{"containers": containers(good), "imagePullSecrets": "x"}),
		"no reference":              pod("not a reference"),
		"too many":                  pod(strings.Split(strings.Repeat(good+" ", 600), " ")[:600]...),
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, nil)
			res := want(t, w, creation(object), admission.Deny)
			if res != nil && (res.Result == nil || len(res.Result.Message) < 30) {
				t.Errorf("not explained: %+v", res.Result)
			}
		})
	}
	t.Run("nothing at all", func(t *testing.T) {
		req := creation(pod(good))
		req.Object.Raw = nil
		want(t, start(t, nil), req, admission.Deny)
	})
}

// TestOtherKinds: kinds whose pod templates stand elsewhere are described, and
// answered as configured until they are.
func TestOtherKinds(t *testing.T) {
	template := func(im string) m {
		return m{"template": m{"spec": m{"template": m{"spec": m{"containers": containers(im)}}}}}
	}
	jobs := func(a, b string) m {
		return m{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": m{"name": "train"}, "spec": m{"replicatedJobs": []any{template(a), template(b)}}}
	}
	replicas := m{"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": m{"name": "train"}, "spec": m{"pytorchReplicaSpecs": m{
		"Master": m{"template": m{"spec": m{"containers": containers(good)}}}, "Worker": m{"template": m{"spec": m{"containers": containers(evil)}}}}}}
	described := start(t, config(func(c *admission.Config) {
		c.Kinds = []admission.Kind{
			{Group: "jobset.x-k8s.io", Kind: "JobSet", Paths: []string{"spec.replicatedJobs.*.template.spec.template.spec"}},
			{Group: "kubeflow.org", Kind: "PyTorchJob", Paths: []string{"spec.pytorchReplicaSpecs.*.template.spec"}},
		}
	}))
	want(t, described, creation(jobs(good, good)), admission.Allow)
	res := want(t, described, creation(jobs(good, evil)), admission.Deny)
	if field := res.Result.Details.Causes[0].Field; field != "spec.replicatedJobs[1].template.spec.template.spec.containers[0].image" {
		t.Errorf("field %s", field)
	}
	res = want(t, described, creation(replicas), admission.Deny)
	if field := res.Result.Details.Causes[0].Field; field != "spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].image" {
		t.Errorf("field %s", field)
	}
	for _, answer := range []string{admission.Deny, admission.Warn, admission.Allow} {
		w := start(t, config(func(c *admission.Config) { c.UnreadKinds = answer }))
		want(t, w, creation(jobs(good, good)), answer)
	}
}

// TestMirrorPods: what a kubelet runs by its own files is reported and not
// refused; the annotation of anybody else means nothing.
func TestMirrorPods(t *testing.T) {
	w := start(t, config(func(c *admission.Config) { c.Mutation.Pin = true }))
	mirror := pod(evil)
	mirror["metadata"].(m)["annotations"] = m{"kubernetes.io/config.mirror": "x"}
	req := creation(mirror)
	want(t, w, req, admission.Deny)
	if res, _ := review(t, w, "/mutate", req); len(res.Patch) == 0 {
		t.Error("a pod of a person is not pinned, because of an annotation")
	}
	req.UserInfo.Username, req.UserInfo.Groups = "system:node:a", []string{"system:nodes"}
	res := want(t, w, req, admission.Warn)
	if res != nil && res.AuditAnnotations["would-be"] != admission.Deny {
		t.Errorf("audit: %v", res.AuditAnnotations)
	}
	if res, _ := review(t, w, "/mutate", req); len(res.Patch) > 0 {
		t.Errorf("a mirror pod is changed: %s", res.Patch)
	}
}
