package cluster

import (
	"context"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Refusals makes Events of objects that were not let in: whoever looks at a
// Deployment without pods finds the reason. client-go writes them behind the
// caller's back, alike ones as one with a count, and few about one object. Safe
// for concurrent use.
type Refusals struct {
	client   kubernetes.Interface
	recorder atomic.Pointer[record.EventRecorderLogger] // nil while Run does not run
	pace     *rate.Limiter
}

// NewRefusals needs Run running to write anything.
func NewRefusals(client kubernetes.Interface) *Refusals {
	return &Refusals{client: client, pace: rate.NewLimiter(eventRate, eventBurst)}
}

// Run writes the Events until ctx ends.
func (r *Refusals) Run(ctx context.Context) error {
	broadcaster := record.NewBroadcaster()
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: r.client.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: fieldManager})
	r.recorder.Store(&recorder)
	defer r.recorder.Store(nil)
	<-ctx.Done()
	return nil
}

// Tell makes an Event on the object's controller, which is there, else on the
// object, which is not. It does not block; one too many is dropped.
func (r *Refusals) Tell(object corev1.ObjectReference, controller *metav1.OwnerReference, message string) {
	if controller != nil {
		object = corev1.ObjectReference{APIVersion: controller.APIVersion, Kind: controller.Kind, Namespace: object.Namespace, Name: controller.Name, UID: controller.UID}
	}
	object.Name = strings.TrimRight(object.Name, "-.") // of what has only the beginning of a name
	recorder := r.recorder.Load()
	if recorder == nil || object.Namespace == "" || object.Name == "" || !r.pace.Allow() {
		return
	}
	(*recorder).Event(&object, corev1.EventTypeWarning, "ImageRefused", cut(message, maxEvent))
}
