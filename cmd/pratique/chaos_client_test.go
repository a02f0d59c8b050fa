package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// clientTimeout is how long a client waits for an answer. Without one it does
// not know what became of its request.
const clientTimeout = 12 * time.Second

// door is a client of the registry behind a host:port.
type door struct {
	host   string
	client *http.Client
}

func newDoor(host string) *door {
	return &door{host: host, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ask is one request.
type ask struct {
	method, path string
	header       http.Header
	body         io.Reader
	size         int64 // of body
	most         int64 // bytes to read of the answer before going away; 0 is all
}

// reply is what came of it.
type reply struct {
	status int // 0: no answer
	header http.Header
	body   []byte
	whole  bool // the body came to its end, as the headers announced it
	err    error
}

func (r reply) outcome() string {
	switch {
	case r.status == http.StatusForbidden || r.status == http.StatusTooManyRequests:
		return wasRefused
	case r.status == http.StatusNotFound:
		return wasAbsent
	case r.status >= 200 && r.status < 300 && r.err == nil:
		return wasOK
	}
	return wasFailed
}

// note is what the history keeps of a reply.
func (r reply) note() string {
	switch {
	case r.err != nil:
		text := r.err.Error()
		return fmt.Sprint(r.status, " ", text[max(0, len(text)-60):])
	case r.status >= 300 || r.status == 0:
		return fmt.Sprintf("%d %.120s", r.status, r.body)
	}
	return fmt.Sprint(r.status)
}

func (c *door) do(a ask) (r reply) {
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, a.method, "http://"+c.host+a.path, a.body)
	if err != nil {
		return reply{err: err}
	}
	if req.ContentLength = a.size; a.size == 0 {
		req.Body = nil
	}
	for name, values := range a.header {
		req.Header[name] = values
	}
	res, err := c.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	r.status, r.header = res.StatusCode, res.Header
	if a.most > 0 {
		r.body, r.err = io.ReadAll(io.LimitReader(res.Body, a.most))
		return r
	}
	r.body, r.err = io.ReadAll(res.Body)
	r.whole = r.err == nil
	return r
}

// token gets a token for what a client wants to do; without one it pulls.
func (c *door) token(repo, actions string) (http.Header, error) {
	r := c.do(ask{method: http.MethodGet, path: "/auth/token?scope=repository:" + repo + ":" + actions})
	_, rest, _ := strings.Cut(string(r.body), `"token":"`)
	token, _, found := strings.Cut(rest, `"`)
	if r.status != http.StatusOK || !found {
		return nil, fmt.Errorf("no token: %s", r.note())
	}
	return http.Header{"Authorization": {"Bearer " + token}}, nil
}

// errGone is what a client's own body ends with when it goes away.
var errGone = errors.New("the client goes away")

// vanishing is a body that ends in the middle.
func vanishing(blob []byte, after int) io.Reader {
	return io.MultiReader(bytes.NewReader(blob[:after]), errReader{})
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errGone }

// way is how a blob is uploaded.
type way struct {
	chunks int // PATCH requests; 0 is all bytes with the PUT; -1 all with the POST
	// leave makes the client go away: in a request after so many bytes of the
	// blob, or, when between is set, after the last chunk.
	leave   int
	between bool
}

// upload sends one blob and returns the address of the upload, if it got one. It
// is an error if the answer is not that the blob is stored.
func (c *door) upload(repo string, auth http.Header, d digest.Digest, blob []byte, w way) (location string, err error) {
	start := ask{method: http.MethodPost, path: "/v2/" + repo + "/blobs/uploads/", header: auth}
	if w.chunks < 0 {
		start.path += "?digest=" + d.String()
		start.body, start.size = c.body(blob, 0, len(blob), w), int64(len(blob))
		return "", want(c.do(start), http.StatusCreated)
	}
	r := c.do(start)
	if err := want(r, http.StatusAccepted); err != nil {
		return "", err
	}
	location = r.header.Get("Location")
	from := 0
	for i := range w.chunks {
		to := len(blob) * (i + 1) / w.chunks
		if to == from {
			continue
		}
		header := auth.Clone()
		header.Set("Content-Range", fmt.Sprintf("%d-%d", from, to-1))
		r := c.do(ask{method: http.MethodPatch, path: location, header: header, body: c.body(blob, from, to, w), size: int64(to - from)})
		if err := want(r, http.StatusAccepted); err != nil {
			return location, err
		}
		from = to
	}
	if w.between {
		return location, errGone
	}
	last := ask{method: http.MethodPut, path: location + "?digest=" + d.String(), header: auth}
	if from < len(blob) {
		last.body, last.size = c.body(blob, from, len(blob), w), int64(len(blob)-from)
	}
	return location, want(c.do(last), http.StatusCreated)
}

// body is blob[from:to], cut short if the client is to leave there.
func (c *door) body(blob []byte, from, to int, w way) io.Reader {
	if w.leave > from && w.leave < to {
		return vanishing(blob[from:to], w.leave-from)
	}
	return bytes.NewReader(blob[from:to])
}

func want(r reply, status int) error {
	if r.status == status && r.err == nil {
		return nil
	}
	return errors.New(r.note())
}
