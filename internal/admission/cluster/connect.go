package cluster

import (
	"fmt"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// namespaceFile is where a pod reads the name of its namespace.
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// Of requests to the API server, in a second and at once. Reviews that need
	// one must not queue behind the inventory; API servers have their own limits.
	clientRate, clientBurst = 100, 200
)

// Connection is a cluster that can be spoken to.
type Connection struct {
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
	// Namespace is Pratique's own; "" outside of the cluster, where the
	// kubeconfig names none.
	Namespace string
}

// Connect returns the cluster that a kubeconfig file names, or, where file is "",
// the one that this process runs in. Nothing is asked yet.
func Connect(file string) (Connection, error) {
	cfg, namespace, err := load(file)
	if err != nil {
		return Connection{}, fmt.Errorf("connect to the cluster: %w", err)
	}
	cfg.QPS, cfg.Burst, cfg.UserAgent = clientRate, clientBurst, fieldManager
	typed, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return Connection{}, fmt.Errorf("connect to the cluster: %w", err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return Connection{}, fmt.Errorf("connect to the cluster: %w", err)
	}
	return Connection{typed, dyn, namespace}, nil
}

func load(file string) (cfg *rest.Config, namespace string, err error) {
	if file == "" {
		if cfg, err = rest.InClusterConfig(); err != nil {
			return nil, "", err
		}
		raw, err := os.ReadFile(namespaceFile)
		return cfg, strings.TrimSpace(string(raw)), err
	}
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: file}, &clientcmd.ConfigOverrides{})
	if cfg, err = loaded.ClientConfig(); err != nil {
		return nil, "", err
	}
	namespace, _, err = loaded.Namespace()
	if namespace == metav1.NamespaceDefault {
		namespace = "" // what client-go says when the file says nothing
	}
	return cfg, namespace, err
}
