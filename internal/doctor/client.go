package doctor

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
	"strconv"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/upstream"
)

const (
	maxAnswer = 8 << 20         // bytes; a manifest has 4 MiB at most
	maxPause  = 5 * time.Second // between two questions about an image that is being analysed
	userAgent = "pratique-doctor"
)

// registry asks the proxy as a registry's client does, one request at a time. It
// follows no redirects, so that what answers is the proxy.
type registry struct {
	base               *url.URL
	http               *http.Client
	username, password string
	timeout            time.Duration
	tokens             map[string]string // Authorization by scope
}

func newRegistry(base *url.URL, o Options) (*registry, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure} // #nosec G402 -- --insecure asks for it in so many words
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("read system certificates: %w", err)
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read authorities: no certificate in %s", o.CAFile)
		}
	}
	return &registry{
		base: base, username: o.Username, password: o.Password, timeout: o.Timeout, tokens: map[string]string{},
		http: &http.Client{
			Transport:     &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// question is one request below /v2/.
type question struct {
	method, path string
	namespace    string // ns=, as a runtime with a mirror sends it
	query        url.Values
	scope        string // of the token, "" for none
	header       http.Header
	body         []byte
}

// manifest asks for a manifest of a repository as a puller does.
func manifest(method, repository, identifier, namespace string) question {
	return question{
		method: method, path: repository + "/manifests/" + identifier, namespace: namespace, scope: scope(repository, "pull"),
		header: http.Header{"Accept": {strings.Join(image.ManifestTypes, ", ")}},
	}
}

func scope(repository, actions string) string { return "repository:" + repository + ":" + actions }

// answer is what came back.
type answer struct {
	status        int
	header        http.Header
	body          []byte
	code, message string // of the first error, if the body holds one
	tls           *tls.ConnectionState
}

// String is the answer in a few words.
func (a answer) String() string {
	text := "HTTP " + strconv.Itoa(a.status)
	if a.code != "" {
		text += " " + a.code
	}
	if a.message != "" {
		text += ": " + a.message
	}
	return text
}

// warning is the text of a Warning header.
func (a answer) warning() string {
	text := a.header.Get("Warning")
	if _, quoted, ok := strings.Cut(text, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `\"`, `"`)
	}
	return text
}

// ask sends the question, with what authorises it where the proxy wants that.
func (r *registry) ask(ctx context.Context, q question) (answer, error) {
	a, err := r.send(ctx, q, r.tokens[q.scope])
	if err != nil || a.status != http.StatusUnauthorized {
		return a, err
	}
	scheme, params := upstream.Challenge(a.header)
	var authorization string
	switch {
	case scheme == "bearer":
		if authorization, err = r.token(ctx, params, q.scope); err != nil {
			return a, err
		}
	case scheme == "basic" && r.username != "":
		authorization = r.basic()
	default:
		return a, nil
	}
	r.tokens[q.scope] = authorization
	return r.send(ctx, q, authorization)
}

// patiently asks until an image is analysed, as long as one question may take.
func (r *registry) patiently(ctx context.Context, q question) (answer, error) {
	deadline := time.Now().Add(r.timeout)
	for {
		a, err := r.ask(ctx, q)
		if err != nil || a.status != http.StatusTooManyRequests {
			return a, err
		}
		pause := time.Second
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil && seconds > 0 {
			pause = min(time.Duration(seconds)*time.Second, maxPause)
		}
		if time.Now().Add(pause).After(deadline) {
			return a, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
}

func (r *registry) send(ctx context.Context, q question, authorization string) (answer, error) {
	target := *r.base
	target.Path = "/v2/" + q.path
	query := url.Values{}
	for key, values := range q.query {
		query[key] = values
	}
	if q.namespace != "" {
		query.Set("ns", q.namespace)
	}
	target.RawQuery = query.Encode()
	header := q.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if authorization != "" {
		header.Set("Authorization", authorization)
	}
	return r.exchange(ctx, q.method, &target, header, q.body)
}

func (r *registry) exchange(ctx context.Context, method string, target *url.URL, header http.Header, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = header
	req.Header.Set("User-Agent", userAgent)
	resp, err := r.http.Do(req)
	if err != nil {
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: raw, tls: resp.TLS}
	if a.status >= http.StatusBadRequest {
		a.readError()
	}
	return a, nil
}

// readError reads the error document of the distribution specification.
func (a *answer) readError() {
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(a.body, &doc) == nil && len(doc.Errors) > 0 { // else the status says what there is to say
		a.code, a.message = doc.Errors[0].Code, doc.Errors[0].Message
	}
}

// errRealm: the token service is somewhere else, and is not shown a password.
var errRealm = errors.New("the challenge leads to another place, which is not shown the password")

// errLogin: the token service does not take the name and password, or wants them.
var (
	errLogin     = errors.New("the token service does not take the name and password")
	errAnonymous = errors.New("the token service gives anonymous clients no token for it")
)

// token asks the token service of the challenge, which has to be at the proxy's host
// to be shown a password.
func (r *registry) token(ctx context.Context, params map[string]string, scope string) (string, error) {
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Hostname() == "" {
		return "", fmt.Errorf("the challenge names no token service: %q", params["realm"])
	}
	elsewhere := !strings.EqualFold(realm.Hostname(), r.base.Hostname()) || r.base.Scheme == "https" && realm.Scheme != "https"
	if r.username != "" && elsewhere {
		return "", fmt.Errorf("%w: %s://%s", errRealm, realm.Scheme, realm.Host)
	}
	query := realm.Query()
	query.Set("service", params["service"])
	if scope != "" {
		query.Set("scope", scope)
	}
	realm.RawQuery = query.Encode()
	header := http.Header{}
	if r.username != "" {
		header.Set("Authorization", r.basic())
	}
	a, err := r.exchange(ctx, http.MethodGet, realm, header, nil)
	switch {
	case err != nil:
		return "", fmt.Errorf("ask the token service %s: %w", realm.Host, err)
	case a.status == http.StatusUnauthorized && r.username != "":
		return "", errLogin
	case a.status == http.StatusUnauthorized:
		return "", errAnonymous
	case a.status != http.StatusOK:
		return "", fmt.Errorf("the token service answers %s", a)
	}
	var doc struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || doc.Token == "" {
		return "", errors.New("the token service answers with no token")
	}
	return "Bearer " + doc.Token, nil
}

func (r *registry) basic() string {
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(r.username, r.password)
	return req.Header.Get("Authorization")
}
