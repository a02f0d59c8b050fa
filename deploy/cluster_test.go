package deploy_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	client "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/pratique/pratique/internal/clients"
)

// realCluster is a real kube-apiserver, and its administrator.
type realCluster struct {
	client.Interface
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
	warned  *warnings
	config  *rest.Config
}

// warnings gathers what the API server finds doubtful.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeader is part of rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// newRealCluster has the namespace pratique, as the manual makes it.
func newRealCluster(t *testing.T) *realCluster {
	t.Helper()
	server := clients.Kubernetes(t)
	warned := &warnings{}
	c := connect(t, &rest.Config{Host: server.URL, BearerToken: server.AdminToken(), TLSClientConfig: rest.TLSClientConfig{CAData: server.CA},
		QPS: 1000, Burst: 1000, WarningHandler: warned})
	c.warned = warned
	groups, err := restmapper.GetAPIGroupResources(c.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	c.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	raw, err := os.ReadFile("kustomize/base/namespace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Pods that are not "restricted" are refused; what would make some is warned of.
	text := string(raw) + "    pod-security.kubernetes.io/warn: restricted\n"
	if _, known, err := c.apply(t, document{"namespace", text}); err != nil || !known {
		t.Fatal(err)
	}
	return c
}

func connect(t *testing.T, config *rest.Config) *realCluster {
	t.Helper()
	own, err := rest.HTTPClientFor(config) // its connections are closed at the end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.CloseIdleConnections)
	c := &realCluster{config: config}
	if c.Interface, err = client.NewForConfigAndClient(config, own); err != nil {
		t.Fatal(err)
	}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, own); err != nil {
		t.Fatal(err)
	}
	return c
}

// as is the same cluster for somebody else.
func (c *realCluster) as(t *testing.T, user string, groups ...string) *realCluster {
	t.Helper()
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return connect(t, config)
}

// apply sends a document by server-side apply, with strict field validation.
// known is false for kinds that the API server does not have.
func (c *realCluster) apply(t *testing.T, d document) (applied *unstructured.Unstructured, known bool, err error) {
	t.Helper()
	o, place, known := c.place(t, d)
	if !known {
		return nil, false, nil
	}
	raw, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	applied, err = place.Patch(t.Context(), o.GetName(), types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: "helm", FieldValidation: metav1.FieldValidationStrict})
	return applied, true, err
}

// place is where an object is in the API.
func (c *realCluster) place(t *testing.T, d document) (*unstructured.Unstructured, dynamic.ResourceInterface, bool) {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(d.text), &o.Object); err != nil {
		t.Fatalf("%s: %v", d.template, err)
	}
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return o, nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return o, c.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()), true
}

// installed is a rendering as it was taken.
type installed struct {
	objects []*unstructured.Unstructured
	foreign []string // kinds that the API server does not have
}

// install applies a rendering, and takes it away again when the test is over.
func (c *realCluster) install(t *testing.T, documents []document) installed {
	t.Helper()
	var all installed
	t.Cleanup(func() { c.uninstall(t, documents) })
	for _, d := range documents {
		o, known, err := c.apply(t, d)
		switch {
		case err != nil:
			t.Errorf("%s: %v", d.template, err)
		case known:
			all.objects = append(all.objects, o)
		default:
			kind, _, _ := c.place(t, d)
			all.foreign = append(all.foreign, kind.GetAPIVersion()+" "+kind.GetKind())
		}
	}
	return all
}

func (c *realCluster) uninstall(t *testing.T, documents []document) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	background := metav1.DeletePropagationBackground
	for _, d := range documents {
		o, place, known := c.place(t, d)
		if !known {
			continue
		}
		for {
			err := place.Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: &background, GracePeriodSeconds: new(int64)})
			if apierrors.IsNotFound(err) {
				break
			}
			if err != nil || ctx.Err() != nil {
				t.Errorf("%s %s is not taken away: %v", o.GetKind(), o.GetName(), err)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// lost lists what an object was sent with and does not have. Quantities are
// written in other ways than they came.
func lost(path string, sent, got any) []string {
	switch sent := sent.(type) {
	case map[string]any:
		kept, _ := got.(map[string]any)
		var all []string
		for key, v := range sent {
			if key != "resources" && key != "sizeLimit" && key != "stringData" && key != "creationTimestamp" {
				all = append(all, lost(path+"."+key, v, kept[key])...)
			}
		}
		return all
	case []any:
		kept, _ := got.([]any)
		if len(kept) != len(sent) {
			return []string{path}
		}
		var all []string
		for i := range sent {
			all = append(all, lost(path, sent[i], kept[i])...)
		}
		return all
	case string:
		if text, ok := got.(string); ok && strings.TrimSpace(text) == strings.TrimSpace(sent) {
			return nil
		}
		return []string{path}
	case nil:
		return nil
	}
	if got == nil {
		return []string{path}
	}
	return nil
}
