package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/pratique/pratique/internal/lru"
)

// Workload is what somebody made that a pod comes of: a Deployment, a CronJob,
// the pod itself.
type Workload struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Namespace  string    `json:"namespace"`
	Name       string    `json:"name"`
	UID        types.UID `json:"uid"`
}

func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

func (w Workload) reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: w.APIVersion, Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, UID: w.UID}
}

// maxOwners bounds how many owners of owners are remembered. They never change.
const maxOwners = 20_000

// owners finds the workload of a pod.
type owners struct {
	client kubernetes.Interface
	known  *lru.Cache[types.UID, Workload]
}

func newOwners(client kubernetes.Interface) *owners {
	return &owners{client, lru.New[types.UID](maxOwners, lru.Each[Workload])}
}

// of follows the controllers of a pod upwards. ReplicaSets and Jobs are looked
// up, because people make what is above them; any other controller is taken for
// the workload. A static pod is its own: what controls it is the node.
func (o *owners) of(ctx context.Context, pod *corev1.Pod) (Workload, error) {
	self := Workload{"v1", "Pod", pod.Namespace, pod.Name, pod.UID}
	owner := metav1.GetControllerOf(pod)
	if _, static := pod.Annotations[corev1.MirrorPodAnnotationKey]; static || owner == nil || owner.Kind == "Node" {
		return self, nil
	}
	found := controlled(pod.Namespace, owner)
	if known, ok := o.known.Get(found.UID); ok {
		return known, nil
	}
	above, err := o.above(ctx, found)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return found, nil // the nearest that is known; next time perhaps more
	case err != nil:
		return Workload{}, fmt.Errorf("look up the owner of %s: %w", found, err)
	case above != nil:
		o.known.Put(found.UID, controlled(pod.Namespace, above))
		return controlled(pod.Namespace, above), nil
	}
	o.known.Put(found.UID, found)
	return found, nil
}

// above is the controller of a workload, nil if it has none, or none that people
// think of.
func (o *owners) above(ctx context.Context, w Workload) (*metav1.OwnerReference, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	var object metav1.Object
	var err error
	switch w.APIVersion + " " + w.Kind {
	case "apps/v1 ReplicaSet":
		object, err = o.client.AppsV1().ReplicaSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	case "batch/v1 Job":
		object, err = o.client.BatchV1().Jobs(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if object.GetUID() != w.UID {
		return nil, nil // another of the same name
	}
	return metav1.GetControllerOf(object), nil
}

func controlled(namespace string, r *metav1.OwnerReference) Workload {
	return Workload{r.APIVersion, r.Kind, namespace, r.Name, r.UID}
}
