package feeds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// errNotThere means that the publisher has no such file.
var errNotThere = errors.New("the source has no such file")

var errRedirect = errors.New("redirect refused")

// fetcher brings single files up to date.
type fetcher struct {
	client *http.Client
	// down holds the hosts that failed all attempts at some file: they get one
	// attempt at each other file.
	down map[string]bool
}

const (
	attempts   = 4
	firstPause = 500 * time.Millisecond // doubles with each attempt
	stall      = 60 * time.Second       // a body that gives no byte for so long is given up
)

// newFetcher makes a fetcher over client, or over one of its own.
func newFetcher(client *http.Client) *fetcher {
	if client == nil {
		client = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: stall,
			// A sync comes once in an interval; nothing stays open till the next.
			IdleConnTimeout: 5 * time.Second,
		}}
	}
	guarded := *client
	guarded.CheckRedirect = checkRedirect
	return &fetcher{client: &guarded, down: map[string]bool{}}
}

// checkRedirect holds redirects to https, and to loopback for who came from
// there.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return fmt.Errorf("%w: too many redirects", errRedirect)
	}
	local := req.URL.Scheme == "http" && loopback(req.URL.Hostname()) && loopback(via[0].URL.Hostname())
	if req.URL.Scheme != "https" && !local {
		return fmt.Errorf("%w: not https", errRedirect)
	}
	return nil
}

// target is one file to bring up to date.
type target struct {
	url   string
	path  string // the publisher's file name in the directory of the feed
	limit int64  // bytes
	// check refuses what is not whole before it takes the place of what is here.
	check    func(path string) error
	progress func(done, total int64)
}

// get brings a file up to date. On an error the file that is here stays, and is
// returned with ok if there is one.
func (f *fetcher) get(ctx context.Context, t target) (d download, ok, changed bool, err error) {
	d, ok = readState(t)
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return d, ok, false, fmt.Errorf("make directory of the download: %w", err)
	}
	next, err := f.attempt(ctx, t, d)
	if err != nil {
		return d, ok, false, err
	}
	return next, true, next.SHA256 != d.SHA256, nil
}

// attempt tries until it works, the failure is final, or the attempts are used
// up.
func (f *fetcher) attempt(ctx context.Context, t target, have download) (next download, err error) {
	u, err := url.Parse(t.url)
	if err != nil {
		return have, fmt.Errorf("parse %s: %w", t.url, err)
	}
	pause := firstPause
	for n := 1; ; n++ {
		next, err = f.try(ctx, t, have)
		var again *retryError
		if err == nil || ctx.Err() != nil || !errors.As(err, &again) {
			return next, err
		}
		if n == attempts || f.down[u.Host] {
			f.down[u.Host] = true
			return have, err
		}
		select {
		case <-ctx.Done():
			return have, err
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// retryError is a failure that another attempt may not have.
type retryError struct{ error }

func (e *retryError) Unwrap() error { return e.error }

// try makes one attempt.
func (f *fetcher) try(ctx context.Context, t target, have download) (download, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next, body, total, err := f.open(ctx, t, have)
	if err != nil || body == nil {
		return next, err
	}
	defer body.Close()
	if total > t.limit {
		return have, fmt.Errorf("%s has %d bytes, more than %d", t.url, total, t.limit)
	}
	watch := time.AfterFunc(stall, cancel)
	defer watch.Stop()
	temp, err := os.CreateTemp(filepath.Dir(t.path), tempDownload+"*")
	if err != nil {
		return have, fmt.Errorf("make download file: %w", err)
	}
	defer os.Remove(temp.Name()) // gone already when all went well
	counter := &counter{sum: sha256.New(), total: total, report: t.progress, alive: func() { watch.Reset(stall) }}
	n, err := io.Copy(io.MultiWriter(temp, counter), io.LimitReader(body, t.limit+1))
	if err != nil {
		return have, errors.Join(&retryError{fmt.Errorf("read %s: %w", t.url, err)}, temp.Close())
	}
	if err := errors.Join(temp.Sync(), temp.Close()); err != nil {
		return have, fmt.Errorf("write download: %w", err)
	}
	if n > t.limit || total > 0 && n != total {
		return have, fmt.Errorf("%s gave %d bytes, limit %d, announced %d", t.url, n, t.limit, total)
	}
	next.SHA256, next.Size, next.Fetched = hex.EncodeToString(counter.sum.Sum(nil)), n, time.Now().UTC()
	if next.SHA256 == have.SHA256 {
		next.Fetched = have.Fetched
	}
	return next, keep(t, temp.Name(), &next)
}

// open asks for the file. A nil body without an error means that what is here
// is what the source has.
func (f *fetcher) open(ctx context.Context, t target, have download) (download, io.ReadCloser, int64, error) {
	u, err := url.Parse(t.url)
	if err != nil {
		return have, nil, 0, fmt.Errorf("parse %s: %w", t.url, err)
	}
	if u.Scheme == "file" {
		return openLocal(t, u.Path, have)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return have, nil, 0, fmt.Errorf("ask for %s: %w", t.url, err)
	}
	if have.ETag != "" {
		req.Header.Set("If-None-Match", have.ETag)
	}
	if have.LastModified != "" {
		req.Header.Set("If-Modified-Since", have.LastModified)
	}
	// Without this the transport unpacks on its own, past the size limit.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := f.client.Do(req)
	if errors.Is(err, errRedirect) {
		return have, nil, 0, fmt.Errorf("ask for %s: %w", t.url, err)
	}
	if err != nil {
		return have, nil, 0, &retryError{fmt.Errorf("ask for %s: %w", t.url, err)}
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		next := download{URL: t.url, ETag: short(resp.Header.Get("ETag")), LastModified: short(resp.Header.Get("Last-Modified"))}
		return next, resp.Body, resp.ContentLength, nil
	case resp.StatusCode == http.StatusNotModified && have.SHA256 != "":
		return have, nil, 0, resp.Body.Close()
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		err = fmt.Errorf("%s: %w", t.url, errNotThere)
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		err = &retryError{fmt.Errorf("%s answers %s", t.url, resp.Status)}
	default:
		err = fmt.Errorf("%s answers %s", t.url, resp.Status)
	}
	return have, nil, 0, errors.Join(err, resp.Body.Close())
}

// openLocal opens a file of this machine; size and time tell whether it changed.
func openLocal(t target, path string, have download) (download, io.ReadCloser, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return have, nil, 0, fmt.Errorf("%s: %w", t.url, errNotThere)
	}
	if err != nil {
		return have, nil, 0, fmt.Errorf("open %s: %w", t.url, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return have, nil, 0, errors.Join(fmt.Errorf("open %s: %w", t.url, err), f.Close())
	}
	stamp := strconv.FormatInt(info.Size(), 10) + " " + info.ModTime().UTC().Format(time.RFC3339Nano)
	if have.SHA256 != "" && have.LastModified == stamp {
		return have, nil, 0, f.Close()
	}
	return download{URL: t.url, LastModified: stamp}, f, info.Size(), nil
}

// short keeps a validator only if it is of a sane length.
func short(header string) string {
	if len(header) > 1024 {
		return ""
	}
	return header
}

// counter hashes and counts what is downloaded.
type counter struct {
	sum    hash.Hash
	done   int64
	total  int64
	report func(done, total int64)
	alive  func()
}

func (c *counter) Write(b []byte) (int, error) {
	c.alive()
	c.done += int64(len(b))
	c.report(c.done, max(c.total, 0))
	return c.sum.Write(b)
}
