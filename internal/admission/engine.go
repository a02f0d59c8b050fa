package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/verdicts"
)

// EngineConfig says where the API of a `serve` is, to be asked when Redis cannot
// say.
type EngineConfig struct {
	// URL is the address of the API ("https://pratique.pratique.svc:8228").
	// Default none: Redis alone.
	URL string `yaml:"url"`
	// User and PasswordFile are those of a user or robot that may pull what is to
	// be judged.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// CAFile is the certificate authority of the API. Default: the system's.
	CAFile string `yaml:"ca_file"`
}

// Validate checks the configuration without touching the network.
func (c EngineConfig) Validate() error {
	if c.URL == "" {
		return nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("admission.engine.url: not an http:// or https:// address")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return errors.New("admission.engine: user and password_file go together")
	}
	return nil
}

const (
	engineTimeout = time.Second // for one question, or what the API server leaves
	putTimeout    = 10 * time.Second
	engineAnswer  = 1 << 20 // bytes
)

// Engine answers inquiries by the API of a running `serve`. One that does not
// answer is left alone for a while, so that it costs no review its time.
type Engine struct {
	address        string
	user, password string
	client         *http.Client
	now            func() time.Time
	breaker        verdicts.Breaker
}

// NewEngine makes an Engine. It does not connect.
func NewEngine(c EngineConfig, now func() time.Time) (*Engine, error) {
	e := &Engine{address: strings.TrimSuffix(c.URL, "/") + "/v1/pratique/", user: c.User, now: now}
	if c.PasswordFile != "" {
		raw, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("admission.engine.password_file: %w", err)
		}
		e.password = strings.TrimSpace(string(raw))
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("admission.engine.ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("admission.engine.ca_file: no certificate in %s", c.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	e.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return e, nil
}

// Close gives idle connections back.
func (e *Engine) Close() { e.client.CloseIdleConnections() }

// Standing asks how an image stands.
func (e *Engine) Standing(ctx context.Context, i gate.Inquiry) gate.Standing {
	s, err := e.ask(ctx, i, "")
	if err != nil {
		return gate.Standing{State: gate.StateError, Digest: i.Digest, Message: "cannot be judged: " + err.Error()}
	}
	return s
}

// Want asks for an analysis.
func (e *Engine) Want(ctx context.Context, i gate.Inquiry) error {
	_, err := e.ask(ctx, i, "?want=true")
	return err
}

var (
	errEngine        = errors.New("the API of pratique does not answer")
	errNotUnderstood = errors.New("the API of pratique answers what is not understood")
)

func (e *Engine) ask(ctx context.Context, i gate.Inquiry, query string) (s gate.Standing, err error) {
	if !e.breaker.Closed(e.now()) {
		return s, errEngine
	}
	asked, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	err = e.send(asked, http.MethodPost, "standing"+query, i, &s)
	if err == nil && s.State == "" {
		err = errNotUnderstood
	}
	if ctx.Err() == nil { // who went away says nothing about the engine
		e.breaker.Report(err, e.now())
	}
	return s, err
}

// PutExceptions sends the exceptions of a cluster. It takes the right "admin".
func (e *Engine) PutExceptions(ctx context.Context, cluster string, list []bundle.Exception) error {
	return e.put(ctx, "exceptions", cluster, list)
}

// PutRunning sends what runs in a cluster. It takes the right "admin".
func (e *Engine) PutRunning(ctx context.Context, cluster string, doc any) error {
	return e.put(ctx, "running", cluster, doc)
}

func (e *Engine) put(ctx context.Context, what, cluster string, doc any) error {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	return e.send(ctx, http.MethodPut, what+"/"+url.PathEscape(cluster), doc, &struct{}{})
}

func (e *Engine) send(ctx context.Context, method, path string, doc, into any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, e.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if e.user != "" {
		req.SetBasicAuth(e.user, e.password)
	}
	res, err := e.client.Do(req)
	if err != nil {
		return errEngine // the address is nothing for those who create pods
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the API of pratique answers HTTP %d", res.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, engineAnswer)).Decode(into); err != nil {
		return errNotUnderstood
	}
	return nil
}

// Chain asks the first, and the second where the first cannot say.
type Chain struct{ First, Second gate.Standings }

// Standing is part of gate.Standings.
func (c Chain) Standing(ctx context.Context, i gate.Inquiry) gate.Standing {
	s := c.First.Standing(ctx, i)
	if s.State != gate.StateError || ctx.Err() != nil {
		return s
	}
	return c.Second.Standing(ctx, i)
}

// Want is part of gate.Standings.
func (c Chain) Want(ctx context.Context, i gate.Inquiry) error {
	if err := c.First.Want(ctx, i); err == nil {
		return nil
	}
	return c.Second.Want(ctx, i)
}
