package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/imagetest"
)

// BenchmarkSecondPull pulls an image of about 300 MB in four layers that was
// pulled before, four layers at a time, through Pratique in front of a remote
// registry, and through nginx as a plain caching proxy in front of the same.
func BenchmarkSecondPull(b *testing.B) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		const why = "NOTHING WAS MEASURED: nginx, which this benchmark compares with, is not installed (apt-get install nginx-light)"
		fmt.Fprintln(os.Stderr, why) // a skipped benchmark says nothing by itself
		b.Skip(why)
	}
	bare := startBare(b)
	layers := makeLayers(b, 1, 4, 75<<20)
	pushTimed(b, imagetest.Registry{URL: bare}, "app", layers)
	behindPratique, behindNginx := count(b, bare), count(b, bare)
	s := behind(b, behindPratique.url)
	pulls := []*puller{
		{url: "http://" + s.registry, header: s.token("app"), origin: behindPratique},
		{url: startNginx(b, program, behindNginx.url), header: http.Header{}, origin: behindNginx},
	}
	for _, p := range pulls {
		p.warm(b, layers)
	}
	var spent [2]time.Duration
	var total float64
	for b.Loop() {
		for i, p := range pulls {
			spent[i] += p.pull(b, layers)
		}
		for _, l := range layers {
			total += float64(len(l.Blob))
		}
	}
	for i, name := range []string{"pratique", "nginx"} {
		b.ReportMetric(total/1e6/spent[i].Seconds(), name+"-MB/s")
		if n := pulls[i].origin.blobs.Load() - pulls[i].warmed; n != 0 {
			b.Errorf("second pulls through %s asked the registry for %d blobs", name, n)
		}
	}
	b.ReportMetric(spent[1].Seconds()/spent[0].Seconds(), "pratique/nginx")
	b.ReportMetric(peakMB(b, s), "peak-MB")
}

// origin is the way to the registry behind, which counts GETs of blobs.
type origin struct {
	url   string
	blobs atomic.Int64
}

func count(b *testing.B, registry string) *origin {
	b.Helper()
	target, err := url.Parse(registry)
	fatal(b, err)
	o := &origin{}
	forward := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			o.blobs.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	b.Cleanup(server.Close)
	o.url = server.URL
	return o
}

// puller pulls the image from one address.
type puller struct {
	url    string
	header http.Header
	origin *origin
	warmed int64 // blobs that the registry was asked for at the first pull
}

// warm pulls for the first time, waiting for the analysis, and checks every
// digest.
func (p *puller) warm(b *testing.B, layers []imagetest.Layer) {
	b.Helper()
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		if err = p.get("/v2/app/manifests/latest", io.Discard); err == nil {
			break
		}
	}
	fatal(b, err)
	for _, l := range layers {
		d := l.Descriptor().Digest
		v := d.Verifier()
		fatal(b, p.get("/v2/app/blobs/"+d.String(), v))
		if !v.Verified() {
			b.Fatalf("%s: what came is not %s", p.url, d)
		}
	}
	p.warmed = p.origin.blobs.Load()
}

// pull pulls all layers side by side and tells how long that took.
func (p *puller) pull(b *testing.B, layers []imagetest.Layer) time.Duration {
	b.Helper()
	digests := make([]digest.Digest, len(layers))
	for i, l := range layers {
		digests[i] = l.Descriptor().Digest
	}
	start := time.Now()
	if err := p.get("/v2/app/manifests/latest", io.Discard); err != nil {
		b.Fatal(err)
	}
	var group sync.WaitGroup
	for _, d := range digests {
		group.Go(func() {
			if err := p.get("/v2/app/blobs/"+d.String(), io.Discard); err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

// get reads an answer in pieces of 256 KiB, so that reading costs little.
func (p *puller) get(path string, w io.Writer) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	req.Header = p.header.Clone()
	req.Header.Set("Accept", image.MediaTypeManifest)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{res.Body}, make([]byte, 256<<10))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || res.ContentLength != n {
		return fmt.Errorf("GET %s: HTTP %d, %d bytes of %d", path, res.StatusCode, n, res.ContentLength)
	}
	return nil
}

// nginxConfig is a caching proxy as its manual shows it; files go out by
// sendfile.
const nginxConfig = `%[1]s
worker_processes auto; daemon off; pid %[2]s/pid; error_log %[2]s/error.log;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi; uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
  proxy_cache_path %[2]s/cache levels=1:2 keys_zone=blobs:10m max_size=4g inactive=1h use_temp_path=off;
  server {
    listen %[3]s;
    location / {
      proxy_pass %[4]s; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache blobs; proxy_cache_valid 200 1h;
    }
  }
}
`

// startNginx starts nginx in front of the registry and returns its URL.
func startNginx(b *testing.B, program, registry string) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(b, err)
	address := l.Addr().String()
	fatal(b, l.Close())
	dir, user := b.TempDir(), ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	file := filepath.Join(dir, "nginx.conf")
	fatal(b, os.WriteFile(file, fmt.Appendf(nil, nginxConfig, user, dir, address, registry), 0o600))
	cmd := exec.Command(program, "-c", file, "-e", filepath.Join(dir, "error.log"))
	cmd.Stderr = os.Stderr
	fatal(b, cmd.Start())
	b.Cleanup(func() {
		fatal(b, cmd.Process.Signal(syscall.SIGTERM))
		fatal(b, cmd.Wait())
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			fatal(b, conn.Close())
			return "http://" + address
		}
		if time.Now().After(deadline) {
			b.Fatalf("nginx does not answer: %v", err)
		}
	}
}
