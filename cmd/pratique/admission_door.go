package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/config"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// admissionDoor is the webhook and what it stands on, alone or inside serve.
type admissionDoor struct {
	judges
	webhook *admission.Webhook
	figures *serve.Server // nil inside serve, which has its own
	parts   []func(context.Context) error
}

// judges are the processes that judge, as the door knows them.
type judges struct {
	standings gate.Standings
	own       *gate.Gate // inside serve
	home      cluster.Home
	// These are nil where only the API can be asked.
	admissions gate.Admissions
	basis      func(context.Context) string
}

// openAdmission makes the webhook.
func openAdmission(c config.Config, j judges, metrics *serve.Metrics, log *slog.Logger) (*admissionDoor, error) {
	a := c.Admission
	resolver, err := cluster.NewResolver(a.Resolver)
	if err != nil {
		return nil, err
	}
	d := &admissionDoor{judges: j}
	o := admission.Options{
		Config: a.Config, Standings: j.standings, Admissions: j.admissions, Resolver: tags{j.own, resolver}, Metrics: metrics, Log: log, Now: time.Now,
	}
	connection, err := cluster.Connect(a.Kubernetes.Kubeconfig)
	if err == nil && connection != nil {
		err = d.join(connection, c, &o)
	}
	if err == nil && o.GetCertificate == nil {
		err = d.filesOnly(a.Config, &o)
	}
	if err != nil {
		return nil, err
	}
	if d.webhook, err = admission.New(o); err != nil {
		return nil, err
	}
	d.parts = append(d.parts, d.webhook.Run)
	if err := d.webhook.Bind(); err != nil {
		return nil, fmt.Errorf("%w (choose another port with --set admission.listen=...)", err)
	}
	if j.own == nil && a.Metrics != "" {
		return d, d.openFigures(a.Metrics, metrics, log)
	}
	return d, nil
}

// reload puts selectors, answers and mutation in force.
func (d *admissionDoor) reload(_ context.Context, c config.Config) error {
	return d.webhook.Reload(c.Admission.Config)
}

// filesOnly takes the certificate from files, there being no cluster to keep one.
func (d *admissionDoor) filesOnly(c admission.Config, o *admission.Options) error {
	if c.TLS.Cert == "" {
		return errors.New("admission: no certificate: set admission.tls.cert and admission.tls.key, or run in a cluster (admission.kubernetes), where one is made")
	}
	files, err := cluster.NewFileCertificates(c.TLS, o.Log, o.Now)
	if err != nil {
		return err
	}
	d.keep(files, o)
	return nil
}

// certificates are those that somebody else renews, or that are made here.
type certificates interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Ready() error
	Run(context.Context) error
	prometheus.Collector
}

func (d *admissionDoor) keep(c certificates, o *admission.Options) {
	o.GetCertificate, o.Ready = c.GetCertificate, c.Ready
	d.parts = append(d.parts, c.Run)
	o.Metrics.Register(c)
}

// join uses what the cluster knows and keeps.
func (d *admissionDoor) join(k *cluster.Connection, c config.Config, o *admission.Options) error {
	settings := c.Admission.Kubernetes
	namespaces, err := cluster.NewNamespaces(k.Client, o.Log)
	if err != nil {
		return err
	}
	nodes, err := cluster.NewNodes(k.Client, o.Log)
	if err != nil {
		return err
	}
	o.Namespaces, o.Platforms = labels{namespaces}, nodes.Platforms
	d.parts = append(d.parts, namespaces.Run, nodes.Run)
	if settings.PullSecrets {
		o.PullSecrets = pullSecrets{cluster.NewPullSecrets(k.Client, o.Now)}
	}
	if settings.Events {
		refusals := cluster.NewRefusals(k.Client)
		o.Refused = func(r admission.Refusal) { refusals.Tell(r.Object, r.Controller, r.Message) }
		d.parts = append(d.parts, refusals.Run)
	}
	if c.Admission.TLS.Cert == "" {
		wanted := settings.Certificates
		if wanted.Namespace == "" {
			wanted.Namespace = k.Namespace
		}
		made, err := cluster.NewCertificates(wanted, k.Client, o.Log, o.Now)
		if err != nil {
			return fmt.Errorf("admission.kubernetes.certificates: %w", err)
		}
		d.keep(made, o)
	}
	return d.follow(k, c.Admission, nodes, o)
}

// follow keeps the inventory of what runs, judged for the platforms that the
// webhook judges for, and follows the cluster's exceptions.
func (d *admissionDoor) follow(k *cluster.Connection, a config.Admission, nodes *cluster.Nodes, o *admission.Options) error {
	settings := a.Kubernetes
	if !settings.Inventory.Enabled && !settings.Exceptions.Enabled {
		return nil
	}
	lease := settings.Leader
	lease.Identity = k.Name
	if lease.Namespace == "" {
		lease.Namespace = k.Namespace
	}
	leader, err := cluster.NewLeader(lease, k.Client, o.Log)
	if err != nil {
		return fmt.Errorf("admission.kubernetes: %w", err)
	}
	if settings.Exceptions.Enabled {
		exceptions := cluster.NewExceptions(settings.Exceptions, cluster.ExceptionDeps{
			Client: k.Client, Dynamic: k.Dynamic, Leader: leader, Home: d.home, Cluster: a.Cluster, Log: o.Log, Now: o.Now,
		})
		o.Metrics.Register(exceptions)
	}
	if settings.Inventory.Enabled {
		running, err := cluster.NewInventory(settings.Inventory.InventoryConfig, cluster.InventoryDeps{
			Client: k.Client, Dynamic: k.Dynamic, Standings: o.Standings, Leader: leader, Cluster: a.Cluster,
			Platforms: func() []string { return d.webhook.Platforms() }, // it is made before anything runs
			Basis:     d.basis, Admitted: o.Admissions, Home: d.home, Log: o.Log, Now: o.Now,
		})
		if err != nil {
			return fmt.Errorf("admission.kubernetes.inventory: %w", err)
		}
		nodes.OnChange(running.Recheck)
		d.parts = append(d.parts, running.Run)
		o.Metrics.Register(running)
	}
	d.parts = append(d.parts, leader.Run)
	return nil
}

// openFigures answers monitoring and the kubelet over plain HTTP.
func (d *admissionDoor) openFigures(listen string, metrics *serve.Metrics, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler())
	mux.Handle("GET /healthz", d.webhook.Handler())
	mux.Handle("GET /readyz", d.webhook.Handler())
	d.figures = &serve.Server{Name: "figures", Listen: listen, Handler: mux, Drain: time.Second, Metrics: metrics, Log: log}
	d.parts = append(d.parts, d.figures.Run)
	return d.figures.Bind()
}

func (d *admissionDoor) figuresURL() string {
	if d.figures == nil {
		return "none (admission.metrics)"
	}
	return d.figures.URL() + "/metrics, /healthz, /readyz"
}

// tags resolves tags: inside serve those of its own upstreams with their
// credentials, others at their registry with the pod's.
type tags struct {
	own      *gate.Gate // nil: there is none
	registry *cluster.Resolver
}

// Resolve is part of admission.Resolver.
func (r tags) Resolve(ctx context.Context, ref image.Reference, c admission.Credentials) (digest.Digest, error) {
	if r.own != nil {
		if t, err := r.own.Place(ref.String()); err == nil {
			return r.own.Resolve(ctx, t, ref.Tag)
		}
	}
	var accounts []cluster.Credential
	if c.Username != "" {
		accounts = append(accounts, cluster.Credential{Username: c.Username, Password: c.Password})
	}
	d, err := r.registry.Resolve(ctx, ref.String(), accounts)
	if errors.Is(err, cluster.ErrImageNotFound) {
		err = fmt.Errorf("%w: %w", image.ErrManifestUnknown, err)
	}
	return d, err
}

// labels are what namespaces say of themselves.
type labels struct{ all *cluster.Namespaces }

// Namespace is part of admission.Namespaces.
func (l labels) Namespace(ctx context.Context, name string) (admission.Namespace, error) {
	found, annotations, err := l.all.Namespace(ctx, name)
	return admission.Namespace{Labels: found, Annotations: annotations}, err
}

// pullSecrets are those of the pod and its service account.
type pullSecrets struct{ all *cluster.PullSecrets }

// Credentials is part of admission.PullSecrets.
func (p pullSecrets) Credentials(ctx context.Context, from admission.PullSource, ref image.Reference) ([]admission.Credentials, error) {
	who := cluster.Puller{Namespace: from.Namespace, ServiceAccount: from.ServiceAccount, ImagePullSecrets: from.Secrets}
	found, err := p.all.Credentials(ctx, who, ref.String())
	var all []admission.Credentials
	for _, c := range found {
		all = append(all, admission.Credentials{Host: ref.Registry, Username: c.Username, Password: c.Password})
	}
	return all, err
}
