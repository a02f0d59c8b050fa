package deploy_test

import (
	"reflect"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

func init() { utilruntime.Must(apiextensionsv1.AddToScheme(scheme.Scheme)) }

// object is one of Kubernetes' own kinds, or of those below.
type object struct {
	metav1.Object
	kind  string // "apps/v1 Deployment"
	value any    // *appsv1.Deployment
}

// The kinds that are not Kubernetes' own, as far as the chart sets them. They are
// written down here, because their modules would bring operators with them.

type issuer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		SelfSigned *struct{} `json:"selfSigned,omitempty"`
	} `json:"spec"`
}

type certificate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		SecretName string   `json:"secretName"`
		DNSNames   []string `json:"dnsNames"`
		PrivateKey struct {
			RotationPolicy string `json:"rotationPolicy"`
		} `json:"privateKey"`
		IssuerRef struct {
			Group string `json:"group"`
			Kind  string `json:"kind"`
			Name  string `json:"name"`
		} `json:"issuerRef"`
	} `json:"spec"`
}

type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port      string `json:"port"`
			Path      string `json:"path"`
			Interval  string `json:"interval"`
			Scheme    string `json:"scheme,omitempty"`
			TLSConfig *struct {
				ServerName string `json:"serverName"`
				CA         struct {
					Secret struct {
						Name string `json:"name"`
						Key  string `json:"key"`
					} `json:"secret"`
				} `json:"ca"`
			} `json:"tlsConfig,omitempty"`
		} `json:"endpoints"`
	} `json:"spec"`
}

func foreign(kind string) metav1.Object {
	switch kind {
	case "cert-manager.io/v1 Issuer":
		return &issuer{}
	case "cert-manager.io/v1 Certificate":
		return &certificate{}
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &serviceMonitor{}
	}
	return nil
}

// decode reads an object as the API server would with strict field validation:
// a field that its kind does not have, or has twice, is an error.
func decode(t testing.TB, d document) object {
	t.Helper()
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(d.text), &meta); err != nil {
		t.Fatalf("%s: %v\n%s", d.template, err, d.text)
	}
	kind := meta.APIVersion + " " + meta.Kind
	if into := foreign(kind); into != nil {
		if err := yaml.UnmarshalStrict([]byte(d.text), into); err != nil {
			t.Fatalf("%s: %s: %v\n%s", d.template, kind, err, d.text)
		}
		return object{into, kind, into}
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	decoded, _, err := strict.Decode([]byte(d.text), nil, nil)
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", d.template, kind, err, d.text)
	}
	accessor, ok := decoded.(metav1.Object)
	if !ok {
		t.Fatalf("%s: %s has no metadata", d.template, kind)
	}
	return object{accessor, kind, decoded}
}

// decodeAll decodes all, and sees that none is there twice and all that is
// namespaced says where.
func decodeAll(t testing.TB, documents []document) []object {
	t.Helper()
	var all []object
	seen := map[string]bool{}
	for _, d := range documents {
		o := decode(t, d)
		id := o.kind + " " + o.GetNamespace() + "/" + o.GetName()
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		if clusterWide(o.kind) != (o.GetNamespace() == "") {
			t.Errorf("%s: namespace %q", id, o.GetNamespace())
		}
		all = append(all, o)
	}
	return all
}

func clusterWide(kind string) bool {
	for _, suffix := range []string{" ClusterRole", " ClusterRoleBinding", " PriorityClass", "WebhookConfiguration", " Namespace", " CustomResourceDefinition"} {
		if strings.HasSuffix(kind, suffix) {
			return true
		}
	}
	return false
}

// find gives the only object of the type that has the name.
func find[T runtime.Object](t testing.TB, all []object, name string) T {
	t.Helper()
	for _, o := range all {
		if v, ok := o.value.(T); ok && o.GetName() == name {
			return v
		}
	}
	t.Fatalf("there is no %v %s", reflect.TypeFor[T](), name)
	panic("unreachable")
}

// every gives all objects of the type.
func every[T any](all []object) []T {
	var found []T
	for _, o := range all {
		if v, ok := o.value.(T); ok {
			found = append(found, v)
		}
	}
	return found
}
