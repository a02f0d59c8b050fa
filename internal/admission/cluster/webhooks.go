package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// hook is one webhook configuration as it was read.
type hook struct {
	kind, name string
	version    string // resourceVersion
	entries    []entry
	patch      func(ctx context.Context, raw []byte) error
}

// entry is one webhook of a configuration.
type entry struct {
	name   string
	bundle []byte
}

func (h hook) String() string { return h.kind + " webhook configuration " + h.name }

// hooks reads the webhook configurations. One that is not there is left out, and
// noted; others that cannot be read are an error.
func (c *Certificates) hooks(ctx context.Context) ([]hook, error) {
	var found []hook
	var errs []error
	add := func(h hook, err error) {
		switch {
		case apierrors.IsNotFound(err):
			if c.stale.note(h, true) {
				c.log.Warn("webhook configuration is not there", "kind", h.kind, "name", h.name)
			}
		case err != nil:
			errs = append(errs, fmt.Errorf("read %s: %w", h, err))
			c.stale.note(h, true)
		default:
			found = append(found, h)
		}
	}
	for _, name := range c.config.Validating {
		add(c.validating(ctx, name))
	}
	for _, name := range c.config.Mutating {
		add(c.mutating(ctx, name))
	}
	return found, errors.Join(errs...)
}

func (c *Certificates) validating(ctx context.Context, name string) (hook, error) {
	client := c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	return readHook(ctx, "validating", name, client, func(o *admissionv1.ValidatingWebhookConfiguration) (all []entry) {
		for _, w := range o.Webhooks {
			all = append(all, newEntry(w.Name, w.ClientConfig))
		}
		return all
	})
}

func (c *Certificates) mutating(ctx context.Context, name string) (hook, error) {
	client := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	return readHook(ctx, "mutating", name, client, func(o *admissionv1.MutatingWebhookConfiguration) (all []entry) {
		for _, w := range o.Webhooks {
			all = append(all, newEntry(w.Name, w.ClientConfig))
		}
		return all
	})
}

// hookClient is client-go's client of one kind of webhook configuration.
type hookClient[T metav1.Object] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Patch(ctx context.Context, name string, t types.PatchType, raw []byte, o metav1.PatchOptions, subresources ...string) (T, error)
}

func readHook[T metav1.Object](ctx context.Context, kind, name string, client hookClient[T], entries func(T) []entry) (hook, error) {
	h := hook{kind: kind, name: name, patch: func(ctx context.Context, raw []byte) error {
		_, err := client.Patch(ctx, name, types.JSONPatchType, raw, metav1.PatchOptions{})
		return err
	}}
	object, err := client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return h, err
	}
	h.version, h.entries = object.GetResourceVersion(), entries(object)
	return h, nil
}

func newEntry(name string, c admissionv1.WebhookClientConfig) entry { return entry{name, c.CABundle} }

// announced reports whether every webhook configuration holds the next authority.
func announced(hooks []hook, t *trust) bool {
	if t.next == nil {
		return false
	}
	for _, h := range hooks {
		for _, e := range h.entries {
			if !holds(e.bundle, t.next.cert) {
				return false
			}
		}
	}
	return true
}

// announce writes the bundle into the configurations that do not hold it. One
// that has changed since it was read is an error that the next pass mends.
func (c *Certificates) announce(ctx context.Context, hooks []hook, t *trust) error {
	bundle := t.bundle()
	var errs []error
	for _, h := range hooks {
		raw, err := h.diff(bundle)
		if err == nil && raw != nil {
			err = h.patch(ctx, raw)
		}
		c.stale.note(h, err != nil)
		switch {
		case err != nil && raced(err):
			wake(c.poke)
		case err != nil:
			errs = append(errs, fmt.Errorf("write the caBundle of %s: %w", h, err))
		case raw != nil:
			c.log.Info("caBundle written", "kind", h.kind, "name", h.name)
		}
	}
	return errors.Join(errs...)
}

// diff is the JSON patch that puts the bundle into the configuration, nil if it
// is there. A patch touches nothing but what it names, also where the API server
// is newer than the types that were compiled in, and its tests fail if anybody
// has written in between.
func (h hook) diff(bundle []byte) ([]byte, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	patch := []operation{{"test", "/metadata/resourceVersion", h.version}}
	for i, e := range h.entries {
		if same(e.bundle, bundle) {
			continue
		}
		at := "/webhooks/" + strconv.Itoa(i)
		patch = append(patch, operation{"test", at + "/name", e.name}, operation{"add", at + "/clientConfig/caBundle", bundle})
	}
	if len(patch) == 1 {
		return nil, nil
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("make a patch: %w", err)
	}
	return raw, nil
}

// raced reports whether a patch was refused because the object has changed: an
// API server answers 422 when a test of a JSON patch fails.
func raced(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) ||
		errors.As(err, &status) && status.Status().Code == http.StatusUnprocessableEntity
}

// staleBundles are the webhook configurations whose caBundle is not known to be
// current. Safe for concurrent use.
type staleBundles struct {
	mu    sync.Mutex
	stale map[[2]string]bool // by kind and name
}

func newStaleBundles() *staleBundles { return &staleBundles{stale: map[[2]string]bool{}} }

// note reports whether this is news.
func (s *staleBundles) note(h hook, stale bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{h.kind, h.name}
	old, known := s.stale[key]
	s.stale[key] = stale
	return !known || old != stale
}

func (s *staleBundles) collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, stale := range s.stale {
		collectStale(ch, key[0], key[1], stale)
	}
}
