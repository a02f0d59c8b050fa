package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// fieldManager is how the cluster knows who wrote something.
const fieldManager = "pratique"

// managed are the labels of what is made here.
func managed() map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": fieldManager}
}

// logged lets what client-go has to say go to the log.
func logged(ctx context.Context, log *slog.Logger) context.Context {
	return klog.NewContext(ctx, logr.FromSlogHandler(log.Handler()))
}

// only restricts an informer to the object of one name: what a role with
// resourceNames allows.
func only(client kubernetes.Interface, namespace, name string) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}))
}

// watch starts informers that wake Run when the Secret or a webhook configuration
// changes. What it returns ends them and waits for that.
func (c *Certificates) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(logged(ctx, c.log))
	secret := only(c.client, c.config.Namespace, c.config.Secret)
	factories := []informers.SharedInformerFactory{secret}
	watched := []cache.SharedIndexInformer{secret.Core().V1().Secrets().Informer()}
	for _, name := range c.config.Validating {
		f := only(c.client, "", name)
		factories = append(factories, f)
		watched = append(watched, f.Admissionregistration().V1().ValidatingWebhookConfigurations().Informer())
	}
	for _, name := range c.config.Mutating {
		f := only(c.client, "", name)
		factories = append(factories, f)
		watched = append(watched, f.Admissionregistration().V1().MutatingWebhookConfigurations().Informer())
	}
	for _, informer := range watched {
		if err := c.wakeOn(informer); err != nil {
			// The resync does the same, later.
			c.log.Error("admission certificate is not watched", "error", err)
		}
	}
	for _, f := range factories {
		f.StartWithContext(ctx)
	}
	return func() {
		cancel()
		for _, f := range factories {
			f.Shutdown()
		}
	}
}

// wakeOn wakes Run when anything changes. The objects are not kept: Run reads
// them itself, and keys should not lie about in memory twice.
func (c *Certificates) wakeOn(informer cache.SharedIndexInformer) error {
	if err := informer.SetTransform(bare); err != nil {
		return fmt.Errorf("set a transform: %w", err)
	}
	_, err := onChange(informer, func() { wake(c.poke) })
	return err
}

// onChange has f called when anything of an informer comes, changes or goes.
func onChange(informer cache.SharedIndexInformer, f func()) (cache.ResourceEventHandlerRegistration, error) {
	return informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { f() }, UpdateFunc: func(any, any) { f() }, DeleteFunc: func(any) { f() },
	})
}

// wake wakes who reads from a channel that has room for one.
func wake(sleeper chan<- struct{}) {
	select {
	case sleeper <- struct{}{}:
	default: // the last one has not been read yet
	}
}

// bare keeps of an object what says that it has changed.
func bare(object any) (any, error) {
	m, err := meta.Accessor(object)
	if err != nil {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion(),
	}}, nil
}

// freshness tells how long ago an informer last failed to list or watch. Its
// cache may be old then.
type freshness struct{ failed atomicTime }

// follow notes the failures of the informer. Call it before the informer starts.
func (f *freshness) follow(informer cache.SharedIndexInformer, what string, log *slog.Logger) error {
	return informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		f.failed.Store(time.Now())
		if ctx.Err() == nil {
			log.Warn("watch failed", "of", what, "error", err)
		}
	})
}

// recently reports whether the last failure is less than d ago.
func (f *freshness) recently(d time.Duration) bool { return time.Since(f.failed.Load()) < d }
