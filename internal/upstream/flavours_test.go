package upstream_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/upstream"
)

// flavour is a registry product, as far as it differs from the others on the
// wire, and what its answers must mean here.
type flavour struct {
	name    string
	host    string // the registry's own address, where that matters; reached by a proxy
	account upstream.Credentials
	tokens  *tokenService    // nil: the password goes to the registry
	answers map[string]reply // by method and path below /v2/
	asks    []ask
}

type tokenService struct{ path, service, field string }

type reply struct {
	status int
	header http.Header
	body   string
}

type ask struct {
	name string
	call func(t *testing.T, r *upstream.Registry) error
	want error                // a sentinel; or else
	said *image.UpstreamError // what the registry answered; or else no error
}

const (
	someManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	limitWords   = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
	policyWords  = `pratique: refused by policy "default": 2 critical vulnerabilities with a fix: CVE-2023-0286 openssl 1.1.1n-0+deb11u3 (fixed in 1.1.1n-0+deb11u4)`
)

func errorBody(code, message string) string {
	return fmt.Sprintf(`{"errors":[{"code":%q,"message":%q,"detail":[{"Type":"repository"}]}]}`, code, message)
}

func manifest(repo, ref string) func(*testing.T, *upstream.Registry) error {
	return func(t *testing.T, r *upstream.Registry) error {
		_, _, err := r.Manifest(t.Context(), repo, ref)
		return err
	}
}

func resolve(repo, tag string) func(*testing.T, *upstream.Registry) error {
	return func(t *testing.T, r *upstream.Registry) error {
		_, err := r.Resolve(t.Context(), repo, tag)
		return err
	}
}

func statBlob(repo string, d digest.Digest) func(*testing.T, *upstream.Registry) error {
	return func(t *testing.T, r *upstream.Registry) error {
		_, err := r.StatBlob(t.Context(), repo, d)
		return err
	}
}

func getBlob(repo string, d digest.Digest) func(*testing.T, *upstream.Registry) error {
	return func(t *testing.T, r *upstream.Registry) error {
		_, _, err := r.Blob(t.Context(), repo, d, 0, -1)
		return err
	}
}

func deleteManifest(repo string, d digest.Digest) func(*testing.T, *upstream.Registry) error {
	return func(t *testing.T, r *upstream.Registry) error { return r.DeleteManifest(t.Context(), repo, d) }
}

func repositories(t *testing.T, r *upstream.Registry) error {
	_, err := r.Repositories(t.Context(), "", 10)
	return err
}

func TestFlavours(t *testing.T) {
	found := reply{status: 200, header: http.Header{"Content-Type": {image.MediaTypeIndex}}, body: someManifest}
	flavours := []flavour{
		{
			name: "Docker Hub", host: "registry-1.docker.io",
			tokens: &tokenService{"/token", "registry.docker.io", "token"},
			answers: map[string]reply{
				"GET library/nginx/manifests/1": found,
				"HEAD library/nginx/manifests/1": {200, http.Header{"Docker-Content-Digest": {digest.FromString(someManifest).String()},
					"Ratelimit-Limit": {"100;w=21600"}}, ""},
				"GET library/busy/manifests/1": {429, http.Header{"Retry-After": {"3600"}, "Ratelimit-Limit": {"100;w=21600"}, "Ratelimit-Remaining": {"0;w=21600"},
					"Docker-Ratelimit-Source": {"192.0.2.7"}, "Content-Type": {"application/json"}}, fmt.Sprintf(`{"message":%q}`, limitWords)},
				"GET absent/app/manifests/1":  {401, nil, errorBody("UNAUTHORIZED", "authentication required")},
				"HEAD absent/app/manifests/1": {401, nil, ""},
			},
			asks: []ask{
				{name: "library is implied", call: manifest("nginx", "1")},
				{name: "library is said", call: manifest("library/nginx", "1")},
				{name: "tag is resolved without a pull", call: resolve("nginx", "1")},
				{name: "limit", call: manifest("busy", "1"), said: &image.UpstreamError{Status: 429, Message: limitWords, RetryAfter: time.Hour,
					RateLimit: map[string]string{"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600", "docker-ratelimit-source": "192.0.2.7"}}},
				{name: "absent, or not ours", call: resolve("absent/app", "1"), said: &image.UpstreamError{Status: 401}},
			},
		},
		{
			name: "GHCR", account: upstream.Credentials{Type: "basic", Username: "someone", Password: "ghp_token"},
			tokens: &tokenService{"/token", "ghcr.io", "token"},
			answers: map[string]reply{
				"HEAD org/app/manifests/1":                    {status: 403},
				"GET org/app/manifests/1":                     found,
				"GET org/absent/manifests/1":                  {403, nil, errorBody("DENIED", "requested access to the resource is denied")},
				"HEAD org/absent/manifests/1":                 {status: 403},
				"HEAD org/app/blobs/" + blob.String():         {status: 405},
				"GET org/app/blobs/" + blob.String():          {206, http.Header{"Content-Range": {"bytes 0-0/100000"}}, "x"},
				"DELETE org/app/manifests/" + blob.String():   {405, nil, errorBody("UNSUPPORTED", "The operation is unsupported.")},
				"GET _catalog":                                {status: 405},
				"GET org/unknown/manifests/1":                 {404, nil, errorBody("MANIFEST_UNKNOWN", "manifest unknown")},
				"GET org/app/blobs/" + absentBlob().String():  {404, nil, errorBody("BLOB_UNKNOWN", "blob unknown to registry")},
				"HEAD org/app/blobs/" + absentBlob().String(): {status: 404},
			},
			asks: []ask{
				{name: "HEAD refused, GET not", call: resolve("org/app", "1")},
				{name: "absent, or not ours", call: resolve("org/absent", "1"), said: &image.UpstreamError{Status: 403, Code: "DENIED", Message: "requested access to the resource is denied"}},
				{name: "unknown", call: manifest("org/unknown", "1"), want: image.ErrManifestUnknown},
				{name: "no HEAD of blobs", call: statBlob("org/app", blob)},
				{name: "blob unknown", call: statBlob("org/app", absentBlob()), want: image.ErrBlobUnknown},
				{name: "no deletion", call: deleteManifest("org/app", blob), want: image.ErrUnsupported},
				{name: "no catalog", call: repositories, want: image.ErrUnsupported},
			},
		},
		{
			name: "Quay", account: upstream.Credentials{Type: "basic", Username: "org+robot", Password: "robot token"},
			tokens: &tokenService{"/v2/auth", "quay.io", "token"},
			answers: map[string]reply{
				"GET org/app/manifests/1":    found,
				"GET org/absent/manifests/1": {401, nil, errorBody("UNAUTHORIZED", "access to the requested resource is not authorized")},
			},
			asks: []ask{
				{name: "robot", call: manifest("org/app", "1")},
				{name: "absent, or not ours", call: manifest("org/absent", "1"),
					said: &image.UpstreamError{Status: 401, Code: "UNAUTHORIZED", Message: "access to the requested resource is not authorized"}},
			},
		},
		{
			name: "Harbor", account: upstream.Credentials{Type: "basic", Username: "robot$project+ci", Password: "secret"},
			tokens: &tokenService{"/service/token", "harbor-registry", "token"},
			answers: map[string]reply{
				"GET project/app/manifests/1":    found,
				"GET project/absent/manifests/1": {404, nil, errorBody("NOT_FOUND", "artifact project/absent:1 not found")},
				"GET project/bad/manifests/1":    {412, nil, errorBody("PROJECTPOLICYVIOLATION", "current image with 3 vulnerabilities cannot be pulled")},
			},
			asks: []ask{
				{name: "robot", call: manifest("project/app", "1")},
				{name: "unknown", call: manifest("project/absent", "1"), want: image.ErrManifestUnknown},
				{name: "its own policy", call: manifest("project/bad", "1"),
					said: &image.UpstreamError{Status: 412, Code: "PROJECTPOLICYVIOLATION", Message: "current image with 3 vulnerabilities cannot be pulled"}},
			},
		},
		{
			name: "zot", account: upstream.Credentials{Type: "basic", Username: "u", Password: "p"},
			answers: map[string]reply{
				"GET app/manifests/1": found,
				// Another repository has the blob: HEAD finds it, GET does not.
				"HEAD app/blobs/" + blob.String(): {200, http.Header{"Content-Length": {"100000"}}, ""},
				"GET app/blobs/" + blob.String():  {404, nil, errorBody("BLOB_UNKNOWN", "blob unknown to registry")},
				"GET absent/manifests/1":          {404, nil, errorBody("NAME_UNKNOWN", "repository name not known to registry")},
			},
			asks: []ask{
				{name: "password", call: manifest("app", "1")},
				{name: "HEAD of a blob of another repository", call: statBlob("app", blob)},
				{name: "GET of it", call: getBlob("app", blob), want: image.ErrBlobUnknown},
				{name: "unknown", call: manifest("absent", "1"), want: image.ErrNameUnknown},
			},
		},
		{
			name: "another Pratique", account: upstream.Credentials{Type: "basic", Username: "edge", Password: "p"},
			tokens: &tokenService{"/auth/token", "pratique", "access_token"},
			answers: map[string]reply{
				"GET team/app/manifests/1":             found,
				"HEAD team/bad/manifests/1":            {status: 403},
				"GET team/bad/manifests/1":             {403, nil, errorBody("DENIED", policyWords)},
				"HEAD team/bad/blobs/" + blob.String(): {status: 403},
				"GET team/bad/blobs/" + blob.String():  {403, nil, errorBody("DENIED", policyWords)},
				"GET team/new/manifests/1":             {429, http.Header{"Retry-After": {"5"}}, errorBody("TOOMANYREQUESTS", "pratique: the image is being analysed")},
			},
			asks: []ask{
				{name: "passes", call: manifest("team/app", "1")},
				{name: "refused image, by HEAD", call: resolve("team/bad", "1"), said: &image.UpstreamError{Status: 403, Code: "DENIED", Message: policyWords}},
				{name: "refused image", call: manifest("team/bad", "1"), said: &image.UpstreamError{Status: 403, Code: "DENIED", Message: policyWords}},
				{name: "blob of a refused image, by HEAD", call: statBlob("team/bad", blob), said: &image.UpstreamError{Status: 403, Code: "DENIED", Message: policyWords}},
				{name: "blob of a refused image", call: getBlob("team/bad", blob), said: &image.UpstreamError{Status: 403, Code: "DENIED", Message: policyWords}},
				{name: "still analysed there", call: manifest("team/new", "1"),
					said: &image.UpstreamError{Status: 429, Code: "TOOMANYREQUESTS", Message: "pratique: the image is being analysed", RetryAfter: 5 * time.Second}},
			},
		},
	}
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			r := f.start(t)
			for _, a := range f.asks {
				began := time.Now()
				a.check(t, a.call(t, r))
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("%s: took %s", a.name, took)
				}
			}
		})
	}
}

func absentBlob() digest.Digest { return digest.FromString("absent") }

func (a ask) check(t *testing.T, err error) {
	t.Helper()
	if a.said == nil {
		if !errors.Is(err, a.want) {
			t.Errorf("%s: %v, want %v", a.name, err, a.want)
		}
		return
	}
	var got *image.UpstreamError
	if !errors.As(err, &got) {
		t.Errorf("%s: %v, want an answer", a.name, err)
		return
	}
	want := *a.said
	want.Registry = "test"
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", a.name, diff)
	}
	for _, absent := range []error{image.ErrManifestUnknown, image.ErrNameUnknown, image.ErrBlobUnknown} {
		if errors.Is(err, absent) {
			t.Errorf("%s: %v reads as %v", a.name, err, absent)
		}
	}
}

// start serves the flavour and connects to it.
func (f flavour) start(t *testing.T) *upstream.Registry {
	var own string
	own = fake(t, func(w http.ResponseWriter, r *http.Request) {
		base := own
		if f.host != "" {
			base = "http://" + f.host
			if r.Host != f.host {
				t.Errorf("request to %s", r.Host)
			}
		}
		if f.tokens != nil && r.URL.Path == f.tokens.path {
			f.tokens.grant(t, w, r, f.account)
			return
		}
		if !f.authorized(w, r, base) {
			return
		}
		a, ok := f.answers[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v2/")]
		if !ok && r.URL.Path != "/v2/" {
			a.status = http.StatusNotFound
		}
		for k, v := range a.header {
			w.Header()[k] = v
		}
		w.WriteHeader(max(a.status, 200))
		fmt.Fprint(w, a.body)
	})
	cfg := upstream.Config{Name: "test", URL: own, Credentials: f.account}
	if f.host == "" {
		return connect(t, cfg)
	}
	cfg.URL = "http://" + f.host
	r, err := upstream.NewWithProxy(cfg, func(*http.Request) (*url.URL, error) { return url.Parse(own) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// grant gives a token that names its scopes, to whom the account belongs.
func (s *tokenService) grant(t *testing.T, w http.ResponseWriter, r *http.Request, account upstream.Credentials) {
	user, password, _ := r.BasicAuth()
	if user != account.Username || password != account.Password || r.URL.Query().Get("service") != s.service {
		t.Errorf("token asked by %q for %q", user, r.URL.Query().Get("service"))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	scopes := strings.Join(r.URL.Query()["scope"], " ")
	fmt.Fprintf(w, `{%q:%q,"expires_in":300}`, s.field, base64.RawURLEncoding.EncodeToString([]byte(scopes)))
}

// authorized lets pass who has the password, or a token for the repository.
func (f flavour) authorized(w http.ResponseWriter, r *http.Request, base string) bool {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if f.tokens == nil {
		if user, password, _ := r.BasicAuth(); user == f.account.Username && password == f.account.Password {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="zot"`)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	raw, _ := base64.RawURLEncoding.DecodeString(credentials)
	granted := slices.ContainsFunc(strings.Fields(string(raw)), func(scope string) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(scope, "repository:"), ":")
		return strings.HasPrefix(r.URL.Path, "/v2/"+name+"/") || scope == "registry:catalog:*" && r.URL.Path == "/v2/_catalog"
	})
	if scheme == "Bearer" && granted {
		return true
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s%s",service="%s"`, base, f.tokens.path, f.tokens.service))
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, errorBody("UNAUTHORIZED", "authentication required"))
	return false
}

// A registry that is not ready is tried again, as late as it asks for; one that
// asks for more than a client should wait for is not, nor one that limits.
func TestRetryAfterIsHonoured(t *testing.T) {
	cases := []struct {
		name     string
		status   int
		after    string
		requests int64
		waits    time.Duration // at least
	}{
		{"not ready, says nothing", 503, "", 2, 0},
		{"not ready for a second", 503, "1", 2, time.Second},
		{"not ready for long", 503, "600", 1, 0},
		{"limits for a second", 429, "1", 2, time.Second},
		{"limits for long", 429, "60", 1, 0},
		{"limits, says nothing", 429, "", 1, 0},
		{"broken", 500, "1", 1, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var count atomic.Int64
			r := connect(t, upstream.Config{Name: "test", URL: fake(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" && count.Add(1) == 1 {
					if c.after != "" {
						w.Header().Set("Retry-After", c.after)
					}
					w.WriteHeader(c.status)
					return
				}
				fmt.Fprint(w, someManifest)
			})})
			began := time.Now()
			_, _, err := r.Manifest(t.Context(), "a", "b")
			if count.Load() != c.requests || (err == nil) != (c.requests == 2) || time.Since(began) < c.waits {
				t.Errorf("%d requests in %s, %v", count.Load(), time.Since(began), err)
			}
		})
	}
}
