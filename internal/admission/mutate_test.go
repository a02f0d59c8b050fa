package admission_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/admission"
)

// patched gives the operations of the answer of /mutate, by path.
func patched(t *testing.T, w *admission.Webhook, object m) map[string]any {
	t.Helper()
	res, rec := review(t, w, "/mutate", creation(object))
	if res == nil || !res.Allowed {
		t.Fatalf("%s", rec.Body)
	}
	var ops []struct {
		Op, Path string
		Value    any
	}
	if len(res.Patch) > 0 {
		if *res.PatchType != "JSONPatch" {
			t.Errorf("patch type %s", *res.PatchType)
		}
		if err := json.Unmarshal(res.Patch, &ops); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]any{}
	for _, op := range ops {
		all[op.Op+" "+op.Path] = op.Value
	}
	return all
}

// TestPatches: what is changed, and what stays.
func TestPatches(t *testing.T) {
	sha := func(ref string) string { return "@" + digestOf(ref).String() }
	everywhere := nested("batch/v1", "CronJob", "spec.jobTemplate.spec.template.spec", m{
		"containers": containers("good"), "initContainers": []any{m{"name": "i", "image": "registry.example/a:2", "imagePullPolicy": "IfNotPresent"}},
		"volumes": []any{m{"name": "v", "image": m{"reference": "quay.io/b:3"}}},
	})
	everywhere["metadata"].(m)["annotations"] = m{"a": "b"}
	const at = "/spec/jobTemplate/spec/template/spec"
	for _, tt := range []struct {
		name     string
		mutation admission.Mutation
		object   m
		want     map[string]any
	}{
		{"nothing", admission.Mutation{}, pod("good:1"), map[string]any{}},
		{"pin, rewrite, pull always", admission.Mutation{Pin: true, PullAlways: true, Rewrite: map[string]string{"docker.io": "proxy.example:5000/docker.io"}}, everywhere, map[string]any{
			"replace " + at + "/containers/0/image":                  "proxy.example:5000/docker.io/library/good:latest" + sha("docker.io/library/good:latest"),
			"replace " + at + "/initContainers/0/image":              "registry.example/a:2" + sha("registry.example/a:2"),
			"replace " + at + "/volumes/0/image/reference":           "quay.io/b:3" + sha("quay.io/b:3"),
			"add " + at + "/containers/0/imagePullPolicy":            "Always",
			"add " + at + "/initContainers/0/imagePullPolicy":        "Always",
			"add " + at + "/volumes/0/image/pullPolicy":              "Always",
			"add /metadata/annotations/pratique.io~1original-images": `{"spec.jobTemplate.spec.template.spec containers c0":"good","spec.jobTemplate.spec.template.spec initContainers i":"registry.example/a:2","spec.jobTemplate.spec.template.spec volumes v":"quay.io/b:3"}`,
		}},
		{"pinned already", admission.Mutation{Pin: true}, pod("good:1" + sha(good)), map[string]any{}},
		{"a digest is led through the proxy too", admission.Mutation{Pin: true, Rewrite: map[string]string{"docker.io": "proxy.example:5000"}}, pod("good" + sha(good)), map[string]any{
			"replace /spec/containers/0/image": "proxy.example:5000/library/good" + sha(good),
			"add /metadata/annotations":        map[string]any{"pratique.io/original-images": `{"spec containers c0":"good` + sha(good) + `"}`},
		}},
		{"what is no reference stays", admission.Mutation{Pin: true}, pod("no reference"), map[string]any{}},
		{"what cannot be read stays", admission.Mutation{Pin: true}, m{"kind": "Pod"}, map[string]any{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, config(func(c *admission.Config) { c.Mutation = tt.mutation }))
			if diff := cmp.Diff(tt.want, patched(t, w, tt.object)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNoMutation: where nothing is to be changed, nothing is.
func TestNoMutation(t *testing.T) {
	cluster := namespaces{"shop": {Annotations: map[string]string{"pratique.io/mutation": "disabled"}}, "free": {}, "kube-system": {}, "gitops-a": {}}
	w := start(t, func(o *admission.Options) {
		o.Namespaces, o.Config.Mutation = cluster, admission.Mutation{Pin: true, Except: []string{"gitops-*"}}
	})
	for namespace, changes := range map[string]bool{"shop": false, "free": true, "kube-system": false, "gitops-a": false} {
		req := creation(pod("good:1"))
		req.Namespace = namespace
		if res, _ := review(t, w, "/mutate", req); (len(res.Patch) > 0) != changes {
			t.Errorf("%s: %s", namespace, res.Patch)
		}
	}
	req := creation(pod("good:1"))
	req.Namespace = "unread"
	if res, rec := review(t, w, "/mutate", req); res != nil {
		t.Errorf("whether it opts out is not known, and still: %s", rec.Body)
	}
}

// TestPullPolicyOfRunningPods: nothing of a pod may change but its images, and of
// its debug containers not even its annotations.
func TestPullPolicyOfRunningPods(t *testing.T) {
	w := start(t, config(func(c *admission.Config) { c.Mutation = admission.Mutation{Pin: true, PullAlways: true} }))
	res, _ := review(t, w, "/mutate", update(pod("doubt:1"), pod("good:1")))
	if text := string(res.Patch); !strings.Contains(text, "sha256") || strings.Contains(text, "PullPolicy") {
		t.Errorf("patch %s", text)
	}
	debug := pod("good:1")
	debug["spec"].(m)["ephemeralContainers"] = []any{m{"name": "d", "image": "doubt:1"}}
	req := update(pod("good:1"), debug)
	req.SubResource = "ephemeralcontainers"
	res, _ = review(t, w, "/mutate", req)
	if text := string(res.Patch); !strings.Contains(text, "/spec/ephemeralContainers/0/imagePullPolicy") || strings.Contains(text, "annotations") || strings.Contains(text, "/spec/containers") {
		t.Errorf("patch %s", text)
	}
}

// TestUnresolvedStays: an image that cannot be resolved stays as it is, and the
// person is told.
func TestUnresolvedStays(t *testing.T) {
	w := start(t, func(o *admission.Options) {
		o.Config.Mutation.Pin = true
		o.Resolver = &registryStub{fails: map[string]error{evil: errors.New("away")}}
	})
	res, _ := review(t, w, "/mutate", creation(pod(good, evil)))
	if text := string(res.Patch); !strings.Contains(text, digestOf(good).String()) || strings.Contains(text, "containers/1") || len(res.Warnings) != 1 {
		t.Errorf("patch %s, warnings %q", text, res.Warnings)
	}
}
