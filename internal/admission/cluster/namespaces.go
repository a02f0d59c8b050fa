package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/pratique/pratique/internal/flight"
)

// ErrNoNamespace: the API server knows no such namespace.
var ErrNoNamespace = errors.New("namespace is not known to the API server")

const (
	// liveTimeout bounds one question to the API server, whatever the caller's
	// deadline is.
	liveTimeout = 5 * time.Second
	// distrust is how long after a failed watch the cache is not gone by: what it
	// holds may have changed since. A watch that stays broken fails more often.
	distrust = time.Minute
)

// Namespaces looks up labels and annotations of namespaces: in a cache that
// follows them, or else at the API server. Safe for concurrent use.
type Namespaces struct {
	client  kubernetes.Interface
	factory informers.SharedInformerFactory
	lister  corelisters.NamespaceLister
	synced  func() bool
	fresh   freshness
	live    flight.Group[string, *corev1.Namespace]
	log     *slog.Logger
}

// NewNamespaces returns a look-up that works at once, and from its cache while
// Run runs.
func NewNamespaces(client kubernetes.Interface, log *slog.Logger) (*Namespaces, error) {
	n := &Namespaces{client: client, log: log, factory: informers.NewSharedInformerFactory(client, 0)}
	namespaces := n.factory.Core().V1().Namespaces()
	informer := namespaces.Informer()
	n.lister, n.synced = namespaces.Lister(), informer.HasSynced
	if err := errors.Join(informer.SetTransform(slim), n.fresh.follow(informer, "namespaces", log)); err != nil {
		return nil, fmt.Errorf("watch namespaces: %w", err)
	}
	return n, nil
}

// Run follows the namespaces until ctx ends.
func (n *Namespaces) Run(ctx context.Context) error {
	n.factory.StartWithContext(logged(ctx, n.log))
	<-ctx.Done()
	n.factory.Shutdown()
	return nil
}

// Namespace returns labels and annotations, which the caller may change. What
// cannot be known is an error, never a namespace without labels: selectors would
// match by mistake. One that has only just been made is not in the cache yet, so
// that it is not there is for the API server to say.
func (n *Namespaces) Namespace(ctx context.Context, name string) (labels, annotations map[string]string, err error) {
	ns := n.cached(name)
	if ns == nil {
		if ns, err = n.live.Do(ctx, name, func(ctx context.Context) (*corev1.Namespace, error) { return n.get(ctx, name) }); err != nil {
			return nil, nil, fmt.Errorf("look up namespace %s: %w", name, err)
		}
	}
	return cloned(ns.Labels), cloned(ns.Annotations), nil
}

func (n *Namespaces) cached(name string) *corev1.Namespace {
	if !n.synced() || n.fresh.recently(distrust) {
		return nil
	}
	ns, err := n.lister.Get(name)
	if err != nil {
		return nil
	}
	return ns
}

func (n *Namespaces) get(ctx context.Context, name string) (*corev1.Namespace, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	ns, err := n.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", ErrNoNamespace, err)
	}
	return ns, err
}

func cloned(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

// slim keeps of a namespace what is asked for.
func slim(object any) (any, error) {
	ns, ok := object.(*corev1.Namespace)
	if !ok {
		return object, nil
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: ns.Name, UID: ns.UID, ResourceVersion: ns.ResourceVersion, Labels: ns.Labels, Annotations: ns.Annotations,
	}}, nil
}
