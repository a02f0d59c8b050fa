package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/image"
)

// Registry is one remote registry. It is safe for concurrent use. Its errors are
// those of engine/image: the sentinels, or *image.UpstreamError for everything
// that they do not cover. None of them holds a secret or a query string.
type Registry struct {
	name      string
	base      *url.URL // scheme and host
	hub       bool     // Docker Hub: library/ is implied
	idle      time.Duration
	transport *http.Transport
	dialer    *dialer
	auth      *authorizer
}

// New returns the registry that the configuration describes. It connects on
// first use.
func New(cfg Config) (*Registry, error) {
	return newRegistry(cfg, http.ProxyFromEnvironment)
}

// newRegistry takes the choice of proxy as a parameter, because the environment
// is read once in a process and never applies to loopback addresses.
func newRegistry(cfg Config, proxy proxyFunc) (*Registry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base, err := parseBase(cfg.URL)
	if err != nil {
		return nil, err
	}
	roots, err := loadRoots(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
	}
	r := &Registry{
		name: cfg.Name,
		base: base,
		hub:  base.Host == "registry-1.docker.io",
		idle: cfg.IdleTimeout,
	}
	if r.idle == 0 {
		r.idle = defaultIdleTimeout
	}
	r.dialer = newDialer(base.Hostname(), cfg.AllowHosts, proxy)
	if cfg.Foreign {
		r.dialer.distrust(base.Hostname(), cfg.AllowHosts)
	}
	r.transport = &http.Transport{
		Proxy:                  r.dialer.proxyFor,
		DialContext:            r.dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  commitTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // the digest is of the bytes as stored
	}
	r.auth = newAuthorizer(r, cfg.Credentials)
	return r, nil
}

func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read system certificates: %w", err)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read ca_file: no certificate in %s", file)
	}
	return pool, nil
}

// Name is the configured name.
func (r *Registry) Name() string { return r.name }

// Address is scheme, host and port of the registry.
func (r *Registry) Address() string { return r.base.String() }

// Close drops idle connections. Transfers under way go on.
func (r *Registry) Close() error {
	r.transport.CloseIdleConnections()
	return nil
}

// Ping reports whether the registry answers and takes the credentials.
func (r *Registry) Ping(ctx context.Context) error {
	resp, err := r.do(ctx, &request{method: http.MethodGet, url: r.url("")})
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: %w", r.answerError(resp, nil))
	}
	return nil
}

// url builds the address of path below /v2/. Its parts are parsed names; nothing
// of a client's own path reaches the registry.
func (r *Registry) url(path string) *url.URL {
	u := *r.base
	u.Path = "/v2/" + path
	return &u
}

// repository is the name that the registry knows repo by.
func (r *Registry) repository(repo string) (string, error) {
	if !image.ValidRepository(repo) {
		return "", fmt.Errorf("repository %q: %w", repo, image.ErrNameUnknown)
	}
	if r.hub && !strings.Contains(repo, "/") {
		return "library/" + repo, nil
	}
	return repo, nil
}

// readAll reads a small answer of at most limit bytes.
func readAll(body io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("answer is larger than %d bytes", limit)
	}
	return b, nil
}

// drain reads a short rest so that the connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	body.Close()
}

// broken is the error for an exchange without a usable answer. The end of ctx
// and what already is an answer stay what they are.
func (r *Registry) broken(err error) error {
	var answer *image.UpstreamError
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &answer) {
		return err
	}
	return &image.UpstreamError{Registry: r.name, Err: err}
}
