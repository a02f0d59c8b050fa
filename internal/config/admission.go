package config

import (
	"errors"
	"fmt"
	"net"

	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/admission/cluster"
)

// Admission is the door for clusters, and what it stands on.
type Admission struct {
	admission.Config `yaml:",inline"`
	// Metrics is host:port where `pratique admission` answers /metrics, /healthz
	// and /readyz over plain HTTP; in `serve` the API does. Default 127.0.0.1:8081.
	Metrics string `yaml:"metrics"`
	// Engine is the API of a `serve`, asked when Redis cannot say.
	Engine admission.EngineConfig `yaml:"engine"`
	// Resolver says how tags are resolved whose registry is no upstream of this
	// process.
	Resolver cluster.ResolverConfig `yaml:"resolver"`
	// Kubernetes is the cluster that is asked and told.
	Kubernetes Kubernetes `yaml:"kubernetes"`
}

// Kubernetes says what of a cluster is used. Without one, selectors cannot look
// at labels of namespaces, and tags are resolved without pull secrets.
type Kubernetes struct {
	// Kubeconfig is a file that leads to the cluster. Default: the cluster that
	// the process runs in, if it runs in one.
	Kubeconfig string `yaml:"kubeconfig"`
	// PullSecrets lets tags be resolved with the secrets that the pod would pull
	// with. It takes the right to read them. Default true.
	PullSecrets bool `yaml:"pull_secrets"`
	// Certificates is the certificate that is made and renewed, where tls names
	// no files.
	Certificates cluster.CertificateConfig `yaml:"certificates"`
	// Events makes Kubernetes Events of what is refused. Default true.
	Events bool `yaml:"events"`
	// Leader is how replicas agree which of them writes: Events, reports, evictions,
	// what becomes of exceptions.
	Leader cluster.LeaderConfig `yaml:"leader"`
	// Exceptions are the ImageExceptions of the cluster.
	Exceptions cluster.ExceptionConfig `yaml:"exceptions"`
	// Inventory follows what runs, and tells of images whose verdict has changed.
	Inventory Inventory `yaml:"inventory"`
}

// Inventory is what becomes of what runs.
type Inventory struct {
	// Enabled follows the running pods. Default true, where there is a cluster.
	Enabled                 bool `yaml:"enabled"`
	cluster.InventoryConfig `yaml:",inline"`
}

func (a Admission) validate() error {
	problems := []error{a.Config.Validate(), a.Engine.Validate()}
	if err := a.Resolver.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("admission.resolver: %w", err))
	}
	if _, _, err := net.SplitHostPort(a.Metrics); a.Metrics != "" && err != nil {
		problems = append(problems, fmt.Errorf("admission.metrics: %q is not host:port", a.Metrics))
	}
	return errors.Join(problems...)
}
