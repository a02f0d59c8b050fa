package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Connection is access to one cluster.
type Connection struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Namespace is where this process runs; "" outside a cluster.
	Namespace string
	// Name is the pod's, or the machine's.
	Name string
}

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Questions a second, and at once: for namespaces and pull secrets that no cache
// has, in the rush of a rollout.
const (
	questions = 50
	burst     = 200
)

// Connect finds the cluster: that of the kubeconfig file, or the one that this
// process runs in. It is nil, and no error, where there is none. Nothing is asked
// yet.
func Connect(kubeconfig string) (*Connection, error) {
	config, err := restConfig(kubeconfig)
	if config == nil || err != nil {
		return nil, err
	}
	c := &Connection{}
	if c.Client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	if c.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	if raw, err := os.ReadFile(namespaceFile); err == nil {
		c.Namespace = strings.TrimSpace(string(raw))
	}
	c.Name, err = os.Hostname()
	return c, err
}

// restConfig is nil, and no error, where there is no cluster.
func restConfig(kubeconfig string) (*rest.Config, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.QPS, config.Burst, config.UserAgent = questions, burst, "pratique"
	return config, nil
}
