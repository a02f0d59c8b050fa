package garbage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/proxy"
)

// door is a registry in front of a whole gate, and a client of it.
type door struct {
	*gatetest.System
	url   string
	token string
	t     testing.TB
}

func open(t testing.TB, o gatetest.Options) *door {
	t.Helper()
	s := gatetest.New(t, o)
	tokens, err := auth.New(auth.Config{}, true)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy.Proxy{Gate: s.Gate, Upstreams: s.Upstreams, Catalog: s.Catalog, Auth: tokens, OpenLoopback: true, Audit: s.Audit, Log: s.Log, Now: s.Clock.Now}
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	d := &door{System: s, url: server.URL, t: t}
	res, err := http.Get(d.url + "/auth/token?" + url.Values{"scope": {"repository:app:pull,push,delete"}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	d.token = answer.Token
	return d
}

func (d *door) pusher() imagetest.Registry {
	return imagetest.Registry{URL: d.url, Header: http.Header{"Authorization": {"Bearer " + d.token}}}
}

func (d *door) push(ref string, im imagetest.Image) {
	d.t.Helper()
	if err := d.pusher().Push(context.Background(), "app", ref, im); err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) call(method, path string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if method != http.MethodGet { // what is pulled is pulled without any right to change it
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, res.Body); err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, b.String()
}

func (d *door) want(method, path string, status int) {
	d.t.Helper()
	if got, body := d.call(method, path); got != status {
		d.t.Errorf("%s %s: HTTP %d %s, want %d", method, path, got, body, status)
	}
}

// between is a registry that lets a test act between the answer of a call and
// whoever called.
type between struct {
	gate.Registry
	resolved atomic.Pointer[func()] // after Resolve
	deleting atomic.Pointer[func()] // before DeleteManifest
}

func (b *between) Resolve(ctx context.Context, repo, tag string) (digest.Digest, error) {
	d, err := b.Registry.Resolve(ctx, repo, tag)
	if f := b.resolved.Swap(nil); f != nil {
		(*f)()
	}
	return d, err
}

func (b *between) DeleteManifest(ctx context.Context, repo string, d digest.Digest) error {
	if f := b.deleting.Swap(nil); f != nil {
		(*f)()
	}
	return b.Registry.DeleteManifest(ctx, repo, d)
}

func openBetween(t *testing.T) (*door, *between) {
	d := open(t, gatetest.Options{})
	b := &between{Registry: d.Local}
	d.Upstreams[0].Registry = b
	return d, b
}

func app(n string) imagetest.Image {
	return imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL}, imagetest.File("app/n", n))...))
}
