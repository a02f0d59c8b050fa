package deploy_test

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gvr "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

// cluster is one that has some Secrets.
type cluster struct{ client dynamic.Interface }

func clusterWith(objects ...runtime.Object) cluster {
	return cluster{fake.NewSimpleDynamicClient(scheme.Scheme, objects...)}
}

func (c cluster) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	return c.client.Resource(gvr.GroupVersionResource{Version: "v1", Resource: "secrets"}), true, nil
}

// TestKeysAreKept: keys are made at the first installation, long enough, and the
// same ever after; one that is new in a version is added.
func TestKeysAreKept(t *testing.T) {
	keys := func(c cluster) *corev1.Secret {
		return find[*corev1.Secret](t, decodeAll(t, release{cluster: c}.render(t)), "pratique-keys")
	}
	first := keys(clusterWith())
	for name, least := range map[string]int{"hmac-key": 32, "token-key": 32, "redis-password": 32} {
		if len(first.Data[name]) < least {
			t.Errorf("%s has %d bytes", name, len(first.Data[name]))
		}
	}
	if bytes.Equal(first.Data["hmac-key"], keys(clusterWith()).Data["hmac-key"]) {
		t.Error("two installations have one key")
	}
	if first.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Error("they go with the release")
	}
	old := first.DeepCopy()
	delete(old.Data, "token-key")
	upgraded := keys(clusterWith(old))
	for _, name := range []string{"hmac-key", "redis-password"} {
		if !bytes.Equal(first.Data[name], upgraded.Data[name]) {
			t.Errorf("an upgrade changes %s", name)
		}
	}
	if len(upgraded.Data["token-key"]) < 32 {
		t.Error("an upgrade does not add token-key")
	}
}

// TestKeysOfOnesOwn: with a Secret that is there, none is made.
func TestKeysOfOnesOwn(t *testing.T) {
	all := decodeAll(t, release{values: values{"keys": values{"existingSecret": "mine"}}}.render(t))
	for _, s := range every[*corev1.Secret](all) {
		if len(s.Data) > 0 || s.Name != "pratique-admission-tls" {
			t.Errorf("secret %s is made", s.Name)
		}
	}
	for pod, spec := range pods(all) {
		for _, v := range spec.Volumes {
			if v.Secret != nil && v.Secret.SecretName != "mine" {
				t.Errorf("%s mounts %s", pod, v.Secret.SecretName)
			}
		}
	}
}
