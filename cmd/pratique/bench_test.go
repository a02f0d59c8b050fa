package main_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/registrytest"
)

// The benchmarks measure the real program against distribution's own registry,
// each in a process of its own, in one run: see docs/benchmarks.md.

// bareEnv makes the test binary be the bare registry.
const bareEnv = "PRATIQUE_TEST_BARE_REGISTRY"

// TestBareRegistry is no test: the benchmarks run it as a process.
func TestBareRegistry(t *testing.T) {
	dir := os.Getenv(bareEnv)
	if dir == "" {
		return
	}
	fmt.Println(registrytest.StartDistribution(t, registrytest.Options{Storage: dir}).URL)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until the benchmark ends
		t.Error(err)
	}
}

// startBare starts a bare registry as a process and returns its URL.
func startBare(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBareRegistry$")
	cmd.Env = append(os.Environ(), bareEnv+"="+b.TempDir())
	stdin, err := cmd.StdinPipe()
	fatal(b, err)
	stdout, err := cmd.StdoutPipe()
	fatal(b, err)
	fatal(b, cmd.Start())
	b.Cleanup(func() {
		fatal(b, stdin.Close())
		fatal(b, cmd.Wait())
	})
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	fatal(b, err)
	go io.Copy(io.Discard, out) // ends with the process
	return strings.TrimSpace(line)
}

// behind makes a server whose default upstream is the bare registry.
func behind(b *testing.B, bare string) *server {
	return serve(b, synced(b), append(feedSettings(b), "--set", fmt.Sprintf(`upstreams=[{name: bare, url: "%s", default: true}]`, bare), "--set", "log.level=warn")...)
}

// BenchmarkPush pushes an image of about 300 MB in four layers, four at a time,
// to the bare registry and through Pratique in front of it.
func BenchmarkPush(b *testing.B) {
	bare := startBare(b)
	s := behind(b, bare)
	through := imagetest.Registry{URL: "http://" + s.registry, Header: s.token("app")}
	var direct, proxied, total float64
	for i := 0; b.Loop(); i++ {
		layers := makeLayers(b, uint64(i), 4, 75<<20)
		direct += pushTimed(b, imagetest.Registry{URL: bare}, "direct", layers)
		proxied += pushTimed(b, through, "app", layers)
		for _, l := range layers {
			total += float64(l.Descriptor().Size)
		}
	}
	b.ReportMetric(total/1e6/direct, "bare-MB/s")
	b.ReportMetric(total/1e6/proxied, "through-MB/s")
	b.ReportMetric(direct/proxied, "through/bare")
	b.ReportMetric(peakMB(b, s), "peak-MB")
}

// pushTimed pushes the layers side by side, then config and manifest.
func pushTimed(b *testing.B, r imagetest.Registry, repo string, layers []imagetest.Layer) float64 {
	b.Helper()
	start := time.Now()
	var group sync.WaitGroup
	for _, l := range layers {
		group.Go(func() {
			if err := r.PushBlob(context.Background(), repo, l.Descriptor().Digest, l.Blob); err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
	im := imagetest.Build(layers...)
	fatal(b, r.PushBlob(context.Background(), repo, im.ID(), im.Config))
	fatal(b, r.PutManifest(context.Background(), repo, "latest", image.MediaTypeManifest, im.Manifest))
	return time.Since(start).Seconds()
}

// BenchmarkVerdict measures the time from the manifest's last byte to the answer
// of its PUT, verdict included, when the layers have been analysed: an image of
// 20,000 files with a vulnerable package.
func BenchmarkVerdict(b *testing.B) {
	s := serve(b, synced(b), append(feedSettings(b), "--set", "log.level=warn")...)
	r := imagetest.Registry{URL: "http://" + s.registry, Header: s.token("app")}
	ctx := context.Background()
	var spent time.Duration
	for i := 0; b.Loop(); i++ {
		im := imagetest.Build(fileLayer(i, 20_000), imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...))
		fatal(b, r.PushBlobs(ctx, "app", im))
		s.await(func() error { return analysed(s, 3*(i+1)) }) // two layers and the config
		start := time.Now()
		fatal(b, r.PutManifest(ctx, "app", "latest", image.MediaTypeManifest, im.Manifest))
		spent += time.Since(start)
	}
	b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "verdict-ms")
}

// BenchmarkManifestGet compares GETs of a known image's manifest, by tag, bare
// and through.
func BenchmarkManifestGet(b *testing.B) {
	bare := startBare(b)
	s := behind(b, bare)
	embedded := serve(b, synced(b), append(feedSettings(b), "--set", "log.level=warn")...)
	im := imagetest.Clean()
	for _, r := range []imagetest.Registry{{URL: bare}, {URL: "http://" + embedded.registry, Header: embedded.token("app")}} {
		fatal(b, r.Push(context.Background(), "app", "1", im))
	}
	rates := map[string]float64{}
	for b.Loop() {
		for name, url := range map[string]string{"bare": bare, "through": "http://" + s.registry, "embedded": "http://" + embedded.registry} {
			rates[name] += getRate(b, url+"/v2/app/manifests/1", 3*time.Second)
		}
	}
	n := float64(b.N)
	b.ReportMetric(rates["bare"]/n, "bare/s")
	b.ReportMetric(rates["through"]/n, "through/s")
	b.ReportMetric(rates["embedded"]/n, "embedded/s")
	b.ReportMetric(rates["through"]/rates["bare"], "through/bare")
	b.ReportMetric(rates["embedded"]/rates["bare"], "embedded/bare")
}

// getRate asks for an address from eight connections and returns answers a
// second.
func getRate(b *testing.B, url string, span time.Duration) float64 {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	answers := 0
	var group sync.WaitGroup
	start := time.Now()
	for range 8 {
		group.Go(func() {
			n := 0
			for time.Since(start) < span {
				req, err := http.NewRequest(http.MethodGet, url, nil)
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Accept", image.MediaTypeManifest)
				res, err := client.Do(req)
				if err != nil || res.StatusCode != 200 {
					b.Errorf("GET: %v %v", res, err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				if err = errors.Join(err, res.Body.Close()); err != nil {
					b.Error(err)
					return
				}
				n++
			}
			mu.Lock()
			answers += n
			mu.Unlock()
		})
	}
	group.Wait()
	return float64(answers) / time.Since(start).Seconds()
}

// BenchmarkLargeLayer pushes one layer of 2 GB (uncompressed 4 GB) through
// Pratique with the embedded registry and tells the peak memory of serve.
func BenchmarkLargeLayer(b *testing.B) {
	s := serve(b, synced(b), append(feedSettings(b), "--set", "log.level=warn")...)
	auth := s.token("app")
	var size int64
	var spent time.Duration
	for i := 0; b.Loop(); i++ {
		path, d, n := largeLayer(b, i, 2<<30)
		size += n
		start := time.Now()
		pushFile(b, "http://"+s.registry, auth, path, d, n)
		s.await(func() error { return analysed(s, i+1) })
		spent += time.Since(start)
		fatal(b, os.Remove(path))
	}
	b.ReportMetric(float64(size)/1e6/spent.Seconds(), "analysed-MB/s")
	b.ReportMetric(peakMB(b, s), "peak-MB")
}

// pushFile pushes a blob of any size in one stream.
func pushFile(b *testing.B, url string, auth http.Header, path string, d digest.Digest, n int64) {
	b.Helper()
	f, err := os.Open(path)
	fatal(b, err)
	req, err := http.NewRequest(http.MethodPost, url+"/v2/app/blobs/uploads/?digest="+d.String(), f)
	fatal(b, err)
	req.ContentLength, req.Header = n, auth.Clone()
	res, err := http.DefaultClient.Do(req)
	fatal(b, err)
	fatal(b, res.Body.Close())
	if res.StatusCode != http.StatusCreated {
		b.Fatalf("push: HTTP %d", res.StatusCode)
	}
}

// makeLayers makes gzip layers of about size bytes each: half of what they hold
// can be compressed, as in real images.
func makeLayers(b *testing.B, seed uint64, count, size int) []imagetest.Layer {
	b.Helper()
	layers := make([]imagetest.Layer, count)
	for i := range layers {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		var entries []imagetest.Content
		for held := 0; held < size; held += 1 << 20 {
			entries = append(entries, imagetest.File(fmt.Sprintf("usr/lib/%d/%d/%d.bin", seed, i, held), string(noise(r, 1<<20))),
				imagetest.File(fmt.Sprintf("usr/share/%d/%d/%d.txt", seed, i, held), strings.Repeat("the quick brown fox jumps over the lazy dog\n", 1<<20/44)))
		}
		layers[i] = imagetest.Gzip(entries...)
	}
	return layers
}

func fileLayer(seed, files int) imagetest.Layer {
	entries := []imagetest.Content{imagetest.File("seed", strconv.Itoa(seed))}
	for i := range files {
		entries = append(entries, imagetest.File(fmt.Sprintf("usr/share/app/%d/file-%d.txt", i%100, i), "content"))
	}
	return imagetest.Gzip(entries...)
}

// largeLayer writes a gzip layer of about size bytes to a file.
func largeLayer(b *testing.B, seed int, size int64) (path string, d digest.Digest, n int64) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "layer")
	f, err := os.Create(path)
	fatal(b, err)
	h := digest.SHA256.Digester()
	z, err := gzip.NewWriterLevel(io.MultiWriter(f, h.Hash()), gzip.BestSpeed)
	fatal(b, err)
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	text := strings.Repeat("the quick brown fox jumps over the lazy dog\n", 1<<20/44)
	for held := int64(0); held < size; held += 64 << 20 {
		var entries []imagetest.Content
		for i := range 64 {
			entries = append(entries, imagetest.File(fmt.Sprintf("data/%d/%d.bin", held, i), string(noise(r, 1<<20))), imagetest.File(fmt.Sprintf("data/%d/%d.txt", held, i), text))
		}
		part := imagetest.Tar(entries...)
		_, err := io.Copy(z, bytes.NewReader(part[:len(part)-1024])) // without the end of the archive
		fatal(b, err)
	}
	_, err = z.Write(make([]byte, 1024))
	fatal(b, err)
	fatal(b, z.Close())
	info, err := f.Stat()
	fatal(b, err)
	fatal(b, f.Close())
	return path, h.Digest(), info.Size()
}

func noise(r *rand.Rand, n int) []byte {
	buf := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		v := r.Uint64()
		for k := range 8 {
			buf[i+k] = byte(v >> (8 * k))
		}
	}
	return buf
}

// analysed fails until serve has analysed so many layers.
func analysed(s *server, layers int) error {
	res, err := http.Get(s.api + "/metrics")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), `pratique_analysis_seconds_count{step="layer"} `); ok {
			if got, err := strconv.Atoi(n); err == nil && got >= layers {
				return nil
			}
			return fmt.Errorf("%s of %d layers are analysed", n, layers)
		}
	}
	return fmt.Errorf("no layer is analysed yet")
}

// peakMB is the most memory that serve has had, resident.
func peakMB(b *testing.B, s *server) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	fatal(b, err)
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	fatal(b, err)
	return kb / 1024
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
