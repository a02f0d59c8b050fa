package cluster_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/pratique/pratique/internal/admission/cluster"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	digestC = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

func TestSubjects(t *testing.T) {
	container := func(name, image string) corev1.Container { return corev1.Container{Name: name, Image: image} }
	status := func(name, image, id string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, Image: image, ImageID: id}
	}
	one := func(image, reported, id string) corev1.Pod {
		return corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{container("a", image)}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{status("a", reported, id)}}}
	}
	ended := one("nginx:1.27", "", "docker.io/library/nginx@"+digestA)
	ended.Status.Phase = corev1.PodSucceeded
	for _, c := range []struct {
		name string
		pod  corev1.Pod
		want []string // reference, digest
	}{
		{"containerd", one("nginx:1.27", "docker.io/library/nginx:1.27", "docker.io/library/nginx@"+digestA), []string{"docker.io/library/nginx:1.27", digestA}},
		{"docker", one("nginx:1.27", "nginx:1.27", "docker-pullable://nginx@"+digestA), []string{"docker.io/library/nginx:1.27", digestA}},
		{"the name that was written, not the node's", one("quay.io/a/b:1", "docker.io/library/other:2", "docker.io/library/other@"+digestA), []string{"quay.io/a/b:1", digestA}},
		{"pinned", one("quay.io/a/b:1@"+digestB, "quay.io/a/b@"+digestB, "quay.io/a/b@"+digestA), []string{"quay.io/a/b:1@" + digestB, digestA}},
		{"by its id alone", one("quay.io/a/b:1", "quay.io/a/b:1", digestA), []string{"quay.io/a/b:1", ""}},
		{"docker's id", one("quay.io/a/b:1", "quay.io/a/b:1", "docker://"+digestA), []string{"quay.io/a/b:1", ""}},
		{"nonsense", one("UPPER", "", "UPPER@sha256:zz"), []string{"UPPER", ""}},
		{"not pulled", one("nginx", "", ""), nil},
		{"ended", ended, nil},
		{"all kinds of containers", corev1.Pod{
			Spec: corev1.PodSpec{
				InitContainers:      []corev1.Container{container("i", "quay.io/i:1")},
				Containers:          []corev1.Container{container("a", "quay.io/a:1"), container("b", "quay.io/a:1")},
				EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "quay.io/e:1"}}},
			},
			Status: corev1.PodStatus{
				InitContainerStatuses:      []corev1.ContainerStatus{status("i", "", "quay.io/i@"+digestA)},
				ContainerStatuses:          []corev1.ContainerStatus{status("a", "", "quay.io/a@"+digestB), status("b", "", "quay.io/a@"+digestB)},
				EphemeralContainerStatuses: []corev1.ContainerStatus{status("e", "", "quay.io/e@"+digestC)},
			},
		}, []string{"quay.io/i:1", digestA, "quay.io/a:1", digestB, "quay.io/e:1", digestC}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, cluster.Subjects(&c.pod)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
