package cluster_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique/pratique/internal/admission/cluster"
)

func TestRefusals(t *testing.T) {
	s := newStandin(t, "events")
	r := cluster.NewRefusals(s.client())
	start(t, r.Run)
	pod := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web-1-"}
	eventually(t, "it runs", func() bool {
		r.Tell(pod, nil, "refused by policy")
		return len(s.events()) > 0
	})
	r.Tell(pod, &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-1", UID: "u"}, strings.Repeat("long ", 500))
	r.Tell(corev1.ObjectReference{Kind: "ClusterThing", Name: "x"}, nil, "of no namespace")
	eventually(t, "told", func() bool {
		e := s.events()
		return slices.Contains(e, "Warning ImageRefused Pod/web-1: refused by policy") &&
			slices.ContainsFunc(e, func(e string) bool {
				return strings.HasPrefix(e, "Warning ImageRefused ReplicaSet/web-1: long long") && len(e) < 1100
			})
	})
	for range 500 { // a rollout that cannot succeed
		r.Tell(pod, nil, "refused by policy")
	}
	if n := s.count("create events"); n > 110 {
		t.Errorf("%d Events", n)
	}
}
