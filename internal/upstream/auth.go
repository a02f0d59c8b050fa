package upstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	tokenCacheSize  = 4096             // (repository, actions) pairs
	tokenMargin     = 60 * time.Second // what a token must have left before a stream starts
	tokenSlack      = 5 * time.Second  // what it must have left otherwise
	defaultTokenTTL = 60 * time.Second // the specification's, for answers without expires_in
	failureMemory   = 2 * time.Second  // how long a refusal of the token server stands
	maxTokenAnswer  = 1 << 20          // bytes
	maxScope        = 1024             // bytes of a scope that a registry asks for
)

// authorizer authorises requests to one registry the way the registry asks for:
// not at all, with the password, or with tokens that it keeps by scope.
type authorizer struct {
	registry *Registry
	creds    Credentials
	tokens   *lru.Cache[string, *token]

	probe chan struct{} // held, by one value, while the first challenge is asked for

	mu     sync.Mutex
	asked  bool      // the registry has been asked how
	scheme challenge // what it answered; no scheme: nothing
}

// token is the token of one scope. Holding sem lets one caller renew it while
// the others wait for the outcome.
type token struct {
	sem chan struct{}

	// Guarded by sem.
	value   string
	expires time.Time
	extra   string // scope that the registry asked for besides
	err     error  // of the last renewal, until retry
	retry   time.Time
}

func newAuthorizer(r *Registry, creds Credentials) *authorizer {
	tokens, _ := lru.New[string, *token](tokenCacheSize) // fails only for a size of 0
	return &authorizer{registry: r, creds: creds, tokens: tokens, probe: make(chan struct{}, 1)}
}

// header returns the Authorization for the request, "" for none. For a stream it
// settles everything now, because the stream cannot be sent again.
func (a *authorizer) header(ctx context.Context, q *request) (string, error) {
	c, err := a.challenge(ctx)
	if err != nil {
		return "", err
	}
	switch c.scheme {
	case "basic":
		return a.basic()
	case "bearer":
		margin := tokenSlack
		if q.stream != nil {
			margin = tokenMargin
		}
		return a.bearer(ctx, c, q.scopes, margin)
	}
	return "", nil
}

// challenged takes in a 401 answer: it drops the token that was refused and
// returns the Authorization to try next, "" when there is nothing to try.
func (a *authorizer) challenged(ctx context.Context, q *request, h http.Header, used string) (string, error) {
	c, ok := choose(h)
	if !ok {
		return "", nil
	}
	a.mu.Lock()
	a.asked, a.scheme = true, c
	a.mu.Unlock()
	if c.scheme == "basic" {
		again, err := a.basic()
		if again == used {
			return "", err
		}
		return again, err
	}
	t, err := a.acquire(ctx, q.scopes)
	if err != nil {
		return "", err
	}
	if "Bearer "+t.value == used {
		t.value = ""
	}
	if s := c.params["scope"]; len(s) <= maxScope {
		t.extra = s
	}
	<-t.sem
	if q.stream != nil {
		return "", nil // the next request finds the new token
	}
	return a.bearer(ctx, c, q.scopes, tokenSlack)
}

// unchallenged reports whether the registry has not asked for authorisation,
// though there are credentials: registries that let anyone read ask only when
// something is written.
func (a *authorizer) unchallenged() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scheme.scheme == "" && a.creds.Type != ""
}

// challenge asks the registry once how it wants to be spoken to.
func (a *authorizer) challenge(ctx context.Context) (challenge, error) {
	if c, ok := a.known(); ok {
		return c, nil
	}
	select {
	case a.probe <- struct{}{}:
		defer func() { <-a.probe }()
	case <-ctx.Done():
		return challenge{}, ctx.Err()
	}
	if c, ok := a.known(); ok {
		return c, nil
	}
	resp, err := a.registry.follow(ctx, &request{method: http.MethodGet, url: a.registry.url("")}, "")
	if err != nil {
		return challenge{}, err
	}
	defer drain(resp.Body)
	if isPassing(resp.StatusCode) || resp.StatusCode == http.StatusTooManyRequests {
		return challenge{}, a.registry.answerError(resp, nil)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if resp.StatusCode == http.StatusUnauthorized {
		a.scheme, _ = choose(resp.Header)
	}
	a.asked = true
	return a.scheme, nil
}

func (a *authorizer) known() (challenge, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scheme, a.asked
}

// basic returns the password for the registry itself, "" for anonymous.
func (a *authorizer) basic() (string, error) {
	if a.creds.Type == "" {
		return "", nil
	}
	password, err := a.creds.password()
	if err != nil {
		return "", fmt.Errorf("registry %s: %w", a.registry.name, err)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.creds.Username+":"+password)), nil
}

// bearer returns a token for the scopes that is good for at least margin. When
// the token server fails, the old token serves until it really ends.
func (a *authorizer) bearer(ctx context.Context, c challenge, scopes []string, margin time.Duration) (string, error) {
	t, err := a.acquire(ctx, scopes)
	if err != nil {
		return "", err
	}
	defer func() { <-t.sem }()
	now := time.Now()
	left := t.expires.Sub(now)
	if t.value != "" && left > margin {
		return "Bearer " + t.value, nil
	}
	if t.err == nil || now.After(t.retry) {
		value, ttl, err := a.fetch(ctx, c, scopes, t.extra)
		if err == nil {
			t.value, t.expires, t.err = value, now.Add(ttl), nil
			return "Bearer " + value, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		t.err, t.retry = err, now.Add(failureMemory)
	}
	if t.value != "" && left > 0 {
		return "Bearer " + t.value, nil
	}
	return "", t.err
}

// acquire returns the token of the scopes, held by the caller.
func (a *authorizer) acquire(ctx context.Context, scopes []string) (*token, error) {
	key := strings.Join(scopes, " ")
	t := &token{sem: make(chan struct{}, 1)}
	if old, ok, _ := a.tokens.PeekOrAdd(key, t); ok {
		t = old
		a.tokens.Get(key) // counts as used
	}
	select {
	case t.sem <- struct{}{}:
		return t, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetch asks the token server.
// https://distribution.github.io/distribution/spec/auth/token/
func (a *authorizer) fetch(ctx context.Context, c challenge, scopes []string, extra string) (string, time.Duration, error) {
	r := a.registry
	realm, err := parseRealm(r.base, c.params["realm"])
	if err != nil {
		return "", 0, r.broken(err)
	}
	realm.RawQuery = tokenQuery(realm.Query(), c.params["service"], scopes, extra).Encode()
	header := http.Header{"User-Agent": {userAgent}}
	basic, err := a.basic()
	if err != nil {
		return "", 0, err
	}
	if basic != "" {
		header.Set("Authorization", basic)
	}
	resp, err := r.send(ctx, &request{method: http.MethodGet}, realm, header)
	if err != nil {
		return "", 0, r.broken(fmt.Errorf("token server %s: %w", realm.Host, err))
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", 0, r.answerError(resp, nil)
	}
	raw, err := readAll(resp.Body, maxTokenAnswer)
	if err != nil {
		return "", 0, r.broken(fmt.Errorf("token server %s: %w", realm.Host, err))
	}
	value, ttl, err := parseToken(raw)
	if err != nil {
		return "", 0, r.broken(fmt.Errorf("token server %s: %w", realm.Host, err))
	}
	return value, ttl, nil
}

func tokenQuery(q url.Values, service string, scopes []string, extra string) url.Values {
	if service != "" {
		q.Set("service", service)
	}
	for _, s := range scopes {
		q.Add("scope", s)
	}
	for _, s := range strings.Fields(extra) {
		if !strings.Contains(" "+strings.Join(scopes, " ")+" ", " "+s+" ") {
			q.Add("scope", s)
		}
	}
	return q
}

// parseToken reads the answer of a token server. Its text never becomes part of
// an error.
func parseToken(raw []byte) (string, time.Duration, error) {
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", 0, errors.New("answer is no token")
	}
	value := answer.Token
	if value == "" {
		value = answer.AccessToken
	}
	if value == "" || strings.ContainsAny(value, " \t\r\n") {
		return "", 0, errors.New("answer has no token")
	}
	ttl := defaultTokenTTL
	if answer.ExpiresIn > 0 {
		ttl = time.Duration(min(answer.ExpiresIn, 24*3600) * float64(time.Second))
	}
	return value, ttl, nil
}

// Scopes of tokens, by what is done to a repository as the registry knows it.
func scopePull(repo string) []string   { return []string{"repository:" + repo + ":pull"} }
func scopePush(repo string) []string   { return []string{"repository:" + repo + ":pull,push"} }
func scopeDelete(repo string) []string { return []string{"repository:" + repo + ":delete,pull"} }

var scopeCatalog = []string{"registry:catalog:*"}
