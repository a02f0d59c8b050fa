package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/image"
)

const (
	maxRedirects  = 5
	maxAttempts   = 3
	answerTimeout = 60 * time.Second // until the headers of an answer without upload
	commitTimeout = 5 * time.Minute  // until the headers after an upload: registries hash and copy then
	maxPassing    = 5 * time.Second  // waited for a registry that is not ready, when it says how long
	maxLimited    = time.Second      // the same for one that limits
	userAgent     = "pratique"
)

var (
	errSlowAnswer = errors.New("no answer in time")
	errStalled    = errors.New("transfer stalled")
)

// request is one operation on a registry.
type request struct {
	method  string
	url     *url.URL
	header  http.Header
	scopes  []string // of the token, if the registry wants one
	content []byte   // a body that can be sent again
	stream  io.Reader
	length  int64 // of stream; -1 when not known
	patient bool  // the answer may take as long as a commit

	redirected bool // set by do: the answer came from where the registry pointed to
}

func (q *request) hasBody() bool { return q.content != nil || q.stream != nil }

// repeatable: sending the request again does no harm.
func (q *request) repeatable() bool {
	return !q.hasBody() && (q.method == http.MethodGet || q.method == http.MethodHead)
}

// do sends the request with what authorises it, follows redirects, and tries
// again where that is safe. The answer may have any status; its body must be
// closed. Errors are of the transport, as *image.UpstreamError, or of ctx.
//
// A stream is sent once: its authorisation is settled before the first byte,
// and whatever happens then is the answer.
func (r *Registry) do(ctx context.Context, q *request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := r.authorized(ctx, q)
		if !q.repeatable() || attempt == maxAttempts || err != nil && isFinal(ctx, err) {
			return resp, err
		}
		wait := backoff(attempt)
		if err == nil {
			asked, again := patience(resp)
			if !again {
				return resp, nil
			}
			wait = max(wait, asked)
			drain(resp.Body)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// patience reports whether the request may be sent again, and how long the
// registry wants it to wait. A client waits for the answer meanwhile: what takes
// longer is its decision. A limit that does not say when it ends is not tried.
func patience(resp *http.Response) (time.Duration, bool) {
	asked := retryAfter(resp.Header.Get("Retry-After"), time.Now())
	switch {
	case isPassing(resp.StatusCode):
		return asked, asked <= maxPassing
	case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Docker-Content-Digest") != "" && resp.Request.Method == http.MethodHead:
		return 0, false // a gate that has not judged yet; the digest was the question
	case resp.StatusCode == http.StatusTooManyRequests:
		return asked, asked > 0 && asked <= maxLimited
	}
	return 0, false
}

// settle gets the authorization, as patiently as do: asking for it is safe to
// repeat even when the request itself is not.
func (r *Registry) settle(ctx context.Context, q *request) (string, error) {
	for attempt := 1; ; attempt++ {
		authorization, err := r.auth.header(ctx, q)
		if err == nil || q.repeatable() || attempt == maxAttempts || isFinal(ctx, err) {
			return authorization, err
		}
		if err := pause(ctx, backoff(attempt)); err != nil {
			return "", err
		}
	}
}

// isPassing: answers of a registry, or what stands before it, that is not ready.
func isPassing(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// isFinal reports whether trying again is pointless.
func isFinal(ctx context.Context, err error) bool {
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var record tls.RecordHeaderError
	var answer *image.UpstreamError
	return ctx.Err() != nil || errors.Is(err, errForbidden) ||
		errors.As(err, &invalid) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &record) ||
		errors.As(err, &answer) && answer.Status != 0 && !isPassing(answer.Status)
}

// backoff is 200 ms, then 800 ms, give or take half.
func backoff(attempt int) time.Duration {
	base := 200 * time.Millisecond << (2 * (attempt - 1))
	return base/2 + rand.N(base)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// authorized sends the request, and once more with a new token when the registry
// does not take the first.
func (r *Registry) authorized(ctx context.Context, q *request) (*http.Response, error) {
	atHome := sameOrigin(q.url, r.base)
	authorization := ""
	if atHome {
		var err error
		if authorization, err = r.settle(ctx, q); err != nil {
			return nil, err
		}
	}
	resp, err := r.follow(ctx, q, authorization)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !atHome || q.redirected {
		return resp, err
	}
	again, err := r.auth.challenged(ctx, q, resp.Header, authorization)
	if err != nil {
		drain(resp.Body)
		return nil, err
	}
	if again == "" || q.stream != nil {
		return resp, nil
	}
	drain(resp.Body)
	return r.follow(ctx, q, again)
}

// follow sends the request and goes where redirects lead. The authorization
// stays with the host that it is for. A request that has a body is not sent to
// another place.
func (r *Registry) follow(ctx context.Context, q *request, authorization string) (*http.Response, error) {
	target := q.url
	q.redirected = false
	for hops := 0; ; hops++ {
		header := q.header.Clone()
		if header == nil {
			header = http.Header{}
		}
		header.Set("User-Agent", userAgent)
		if authorization != "" && sameOrigin(target, r.base) {
			header.Set("Authorization", authorization)
		}
		resp, err := r.send(ctx, q, target, header)
		if err != nil {
			return nil, r.broken(err)
		}
		next := redirect(resp)
		if next == "" || q.hasBody() {
			return resp, nil
		}
		drain(resp.Body)
		if hops == maxRedirects {
			return nil, r.broken(fmt.Errorf("more than %d redirects", maxRedirects))
		}
		if target, err = resolve(target, next); err != nil {
			return nil, r.broken(fmt.Errorf("redirect: %w", err))
		}
		q.redirected = q.redirected || !sameOrigin(target, r.base)
	}
}

// redirect returns where resp points to, if it is a redirect that keeps the
// method. (301 and 302 do for GET and HEAD, 303 only turns into GET.)
func redirect(resp *http.Response) string {
	read := resp.Request.Method == http.MethodGet || resp.Request.Method == http.MethodHead
	switch resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location")
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if read {
			return resp.Header.Get("Location")
		}
	}
	return ""
}

// resolve reads a Location that was answered at from. It never leads from https
// to http, and carries no user or password.
func resolve(from *url.URL, location string) (*url.URL, error) {
	u, err := from.Parse(location)
	switch {
	case err != nil:
		return nil, errors.New("location is not an address")
	case u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("location is not an http address")
	case u.Scheme == "http" && from.Scheme == "https":
		return nil, fmt.Errorf("%w: location leads from https to http", errForbidden)
	}
	u.User, u.Fragment = nil, ""
	return u, nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && hostPort(a) == hostPort(b)
}

// send does one exchange. The headers must come in time, and while a body is
// read or sent, bytes must move.
func (r *Registry) send(ctx context.Context, q *request, target *url.URL, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req := (&http.Request{Method: q.method, URL: target, Header: header, Host: target.Host, ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	var upload *uploadBody
	switch {
	case q.stream != nil:
		upload = newUploadBody(q.stream, r.idle, cancel)
		req.Body, req.ContentLength = upload, q.length
		if q.length == 0 {
			req.Body = http.NoBody
		}
	case q.content != nil:
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(q.content)), int64(len(q.content))
	}
	if q.stream == nil && !q.patient {
		timer := time.AfterFunc(answerTimeout, func() { cancel(errSlowAnswer) })
		defer timer.Stop()
	}
	resp, err := r.transport.RoundTrip(req)
	if upload != nil {
		upload.detach()
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, plain(err)
	}
	resp.Request = req
	resp.Body = newDownloadBody(ctx, resp.Body, r.idle, cancel)
	return resp, nil
}

// plain takes addresses out of a transport error: they may hold signed queries.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// mediaType is the Content-Type without parameters.
func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
