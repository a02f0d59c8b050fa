package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/flight"
	"github.com/pratique/pratique/internal/lru"
	"github.com/pratique/pratique/internal/upstream"
)

// What became of an image that could not be resolved. An error that is none of
// these, and no image.ErrInvalidReference, is one of this program.
var (
	ErrImageNotFound = errors.New("the registry does not have the image")
	ErrImageDenied   = errors.New("the registry denies access to the image")
	ErrUnreachable   = errors.New("the registry cannot be asked")
)

// ResolverConfig says how tags are resolved.
type ResolverConfig struct {
	// AllowHosts are hosts (names or addresses, without port) that may be on
	// private addresses: registries, and their token servers. Others are only
	// asked at public addresses, because anyone who may make a pod names them.
	AllowHosts []string `yaml:"allow_hosts"`
	// PlainHosts are registries (host, with port) that are spoken to over http,
	// without credentials unless they are on this machine.
	PlainHosts []string `yaml:"plain_hosts"`
	// CAFile is a PEM file of authorities that are trusted besides the system's.
	CAFile string `yaml:"ca_file"`
	// Proxies lead, by registry host ("docker.io"), to the registry through which
	// its images are resolved. The pull secrets of a pod are not sent to it.
	Proxies map[string]Proxy `yaml:"proxies"`
	// Timeout bounds one resolution besides the caller's deadline. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Proxy is a registry through which images of another are resolved.
type Proxy struct {
	// Address is scheme and host: https://pratique.pratique.svc:5000.
	Address string `yaml:"address"`
	// Prefix is put before the repository, for Pratique the registry's host:
	// docker.io makes library/nginx docker.io/library/nginx.
	Prefix string `yaml:"prefix"`
	// CAFile is a PEM file of authorities that are trusted besides the system's.
	CAFile string `yaml:"ca_file"`
	// Credentials are shown to the proxy.
	Credentials upstream.Credentials `yaml:"credentials"`
}

// Validate says what is wrong with the configuration.
func (c ResolverConfig) Validate() error {
	errs := []error{upstream.Config{Name: "registry", URL: "https://registry.invalid", AllowHosts: c.AllowHosts}.Validate()}
	for _, host := range c.PlainHosts {
		if !image.ValidHost(host) {
			errs = append(errs, fmt.Errorf("plain_hosts: %q is no host", host))
		}
	}
	for host, p := range c.Proxies {
		if !image.ValidHost(host) || p.Prefix != "" && !image.ValidRepository(p.Prefix) {
			errs = append(errs, fmt.Errorf("proxies: %q: want a registry host, and a prefix that a repository name may have", host))
		}
		if err := p.config().Validate(); err != nil {
			errs = append(errs, fmt.Errorf("proxies: %q: %w", host, err))
		}
	}
	if c.Timeout < 0 {
		errs = append(errs, errors.New("timeout: negative"))
	}
	return errors.Join(errs...)
}

func (p Proxy) config() upstream.Config {
	return upstream.Config{Name: "proxy", URL: p.Address, CAFile: p.CAFile, Credentials: p.Credentials}
}

const (
	defaultResolveTimeout = 10 * time.Second
	// maxRegistries bounds the clients that are kept, one for each registry and
	// account: their connections and tokens.
	maxRegistries = 256
	// maxAccounts bounds how many credentials are tried for one image.
	maxAccounts = 8
)

// Resolver finds out what manifest a tag stands for. Safe for concurrent use.
type Resolver struct {
	config  ResolverConfig
	asking  flight.Group[question, digest.Digest]
	clients *lru.Cache[client, *upstream.Registry]
}

// client is a registry as one account sees it. The account is a hash: a key is
// no place for a password.
type client struct {
	host    string
	proxied bool
	account [sha256.Size]byte
}

// question is shared by those who ask the same with the same account: to know
// the digest of a private image takes the right to it.
type question struct {
	client
	repository, tag string
}

// NewResolver returns a resolver that connects on first use.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultResolveTimeout
	}
	return &Resolver{config: cfg, clients: lru.New[client](maxRegistries, lru.Each[*upstream.Registry])}, nil
}

// Resolve returns the digest that a reference stands for now: the one that it
// names, else what the registry says about the tag. The credentials are those
// for the host of the reference, and are tried in order, as the kubelet does;
// without any the registry is asked anonymously. Nothing is remembered: a tag
// may move at any time.
func (r *Resolver) Resolve(ctx context.Context, reference string, credentials []Credential) (digest.Digest, error) {
	ref, err := image.ParseReference(reference)
	if err != nil {
		return "", err
	}
	if ref.Digest != "" {
		return ref.Digest, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	d, err := r.resolve(ctx, ref, credentials)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", ref, classified(err))
	}
	return d, nil
}

func (r *Resolver) resolve(ctx context.Context, ref image.Reference, credentials []Credential) (digest.Digest, error) {
	if p, ok := r.config.Proxies[ref.Registry]; ok {
		return r.ask(ctx, client{host: ref.Registry, proxied: true}, p.config(), joined(p.Prefix, ref.Repository), ref.Tag)
	}
	if len(credentials) == 0 || r.inClear(ref.Registry) {
		return r.ask(ctx, client{host: ref.Registry}, r.direct(ref.Registry), ref.Repository, ref.Tag)
	}
	var last error
	for _, c := range credentials[:min(len(credentials), maxAccounts)] {
		cfg := r.direct(ref.Registry)
		cfg.Credentials = upstream.Credentials{Type: "basic", Username: c.Username, Password: c.Password}
		d, err := r.ask(ctx, client{host: ref.Registry, account: c.hash()}, cfg, ref.Repository, ref.Tag)
		if err == nil || ctx.Err() != nil {
			return d, err
		}
		// A denial is the answer that says what to do, unless all say another.
		if last == nil || errors.Is(classified(err), ErrImageDenied) {
			last = err
		}
	}
	return "", last
}

func (c Credential) hash() [sha256.Size]byte {
	return sha256.Sum256([]byte(c.Username + "\x00" + c.Password))
}

func joined(prefix, repository string) string {
	if prefix == "" {
		return repository
	}
	return prefix + "/" + repository
}

// inClear reports whether what is sent to the registry can be read on the way.
func (r *Resolver) inClear(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(name)
	return slices.Contains(r.config.PlainHosts, host) && name != "localhost" && (ip == nil || !ip.IsLoopback())
}

// direct is the configuration of a registry that a pod names.
func (r *Resolver) direct(host string) upstream.Config {
	cfg := upstream.Config{Name: "registry", URL: "https://" + host, CAFile: r.config.CAFile, AllowHosts: r.config.AllowHosts, Foreign: true}
	switch {
	case host == "docker.io":
		cfg.URL = "https://registry-1.docker.io"
	case slices.Contains(r.config.PlainHosts, host):
		cfg.URL = "http://" + host
	}
	return cfg
}

// ask puts the question, once for all that put it at the same time.
func (r *Resolver) ask(ctx context.Context, c client, cfg upstream.Config, repository, tag string) (digest.Digest, error) {
	registry, err := r.registry(c, cfg)
	if err != nil {
		return "", err
	}
	return r.asking.Do(ctx, question{c, repository, tag}, func(ctx context.Context) (digest.Digest, error) {
		return registry.Resolve(ctx, repository, tag)
	})
}

// registry returns the client, made on first use. One that falls out of the
// cache closes its idle connections by itself, after a while.
func (r *Resolver) registry(c client, cfg upstream.Config) (*upstream.Registry, error) {
	if found, ok := r.clients.Get(c); ok {
		return found, nil
	}
	made, err := upstream.New(cfg)
	if err != nil {
		return nil, err
	}
	r.clients.Put(c, made)
	return made, nil
}

// classified says which kind of failure it is.
func classified(err error) error {
	var answer *image.UpstreamError
	var timeout net.Error
	switch {
	case errors.Is(err, image.ErrManifestUnknown), errors.Is(err, image.ErrNameUnknown):
		return fmt.Errorf("%w: %w", ErrImageNotFound, err)
	case errors.As(err, &answer):
		return fmt.Errorf("%w: %w", kind(answer), err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

// kind reads a status. Limits and failures are never read as "not there".
func kind(answer *image.UpstreamError) error {
	switch {
	case answer.Status == http.StatusUnauthorized || answer.Status == http.StatusForbidden,
		strings.EqualFold(answer.Code, "DENIED"), strings.EqualFold(answer.Code, "UNAUTHORIZED"):
		return ErrImageDenied
	case answer.Status == http.StatusNotFound:
		return ErrImageNotFound
	}
	return ErrUnreachable
}
