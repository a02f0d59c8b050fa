package admission

import (
	"context"
	"sync"
	"time"
)

// Namespace is what selectors and mutation look at.
type Namespace struct {
	Name                string
	Labels, Annotations map[string]string
}

// Namespaces reads namespaces, from a copy that is kept current: it is asked for
// every object. It is safe for concurrent use. A namespace that is not there is
// an error, as one that cannot be read is: its labels are not known.
type Namespaces interface {
	Namespace(ctx context.Context, name string) (Namespace, error)
}

// NamesOnly knows of a namespace what its name tells. It is for those who select
// by name alone and give the webhook no rights in the cluster.
type NamesOnly struct{}

// Namespace is part of Namespaces.
func (NamesOnly) Namespace(_ context.Context, name string) (Namespace, error) {
	return Namespace{Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name}}, nil
}

// lookUp returns a function that reads a namespace when it is first needed, and
// not again for the same object.
func (w *Webhook) lookUp(name string) func(context.Context) (Namespace, error) {
	var once sync.Once
	var ns Namespace
	var err error
	return func(ctx context.Context) (Namespace, error) {
		once.Do(func() {
			begun := time.Now()
			ns, err = w.namespaces.Namespace(ctx, name)
			w.figures.call("namespace", time.Since(begun), err)
		})
		return ns, err
	}
}
