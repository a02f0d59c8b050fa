package admission_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/opencontainers/go-digest"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/verdicts"
)

// BenchmarkReviews is a load generator: API servers that create pods of known
// images, over TLS, at the same time. It reports reviews a second and how long
// they take; both ends share the machine. The first two are answered from what a
// real gate has left in Redis, the others by a gate that takes no time.
func BenchmarkReviews(b *testing.B) {
	byRedis, judged := withRedisAlone(b)
	for _, bm := range []struct {
		name, path string
		images     []string
		change     func(*admission.Options)
		rate       int // reviews a second; 0: as many as go
	}{
		{"from Redis, 2000 a second", "/validate?timeout=3s", []string{judged}, byRedis, 2000},
		{"from Redis", "/validate?timeout=3s", []string{judged}, byRedis, 0},
		{"one image", "/validate?timeout=3s", []string{good}, nil, 0},
		{"five images", "/validate?timeout=3s", []string{good, "good:2@" + digestOf(good).String(), "a@" + digestOf(good).String(), "b@" + digestOf(good).String(), doubt}, nil, 0},
		{"refused", "/validate?timeout=3s", []string{evil}, nil, 0},
		{"pinned", "/mutate?timeout=3s", []string{good}, config(func(c *admission.Config) { c.Mutation.Pin = true }), 0},
	} {
		b.Run(bm.name, func(b *testing.B) {
			_, url, bundle, _ := serving(b, time.Now().Add(time.Hour), func(o *admission.Options) {
				o.Config.Limits.Requests, o.Config.Resolutions = -1, time.Hour
				if bm.change != nil {
					bm.change(o)
				}
			})
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(bundle)
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 256, ForceAttemptHTTP2: true}
			b.Cleanup(transport.CloseIdleConnections)
			load(b, &http.Client{Transport: transport}, url+bm.path, encode(admissionv1.AdmissionReview{
				TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: creation(pod(bm.images...)),
			}), bm.rate)
		})
	}
}

// withRedisAlone is admission beside a gate that has judged an image, with Redis
// between the two.
func withRedisAlone(b *testing.B) (setup func(*admission.Options), judged string) {
	b.Helper()
	server := miniredis.RunT(b)
	s := gatetest.New(b, gatetest.Options{Redis: server.Addr()})
	im, t := imagetest.Clean(), gate.Target{Upstream: s.Upstreams[0], Repository: "team/app"}
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	for d, blob := range im.Blobs() {
		state, err := s.Local.StartUpload(ctx, t.Repository)
		must(err)
		must(s.Local.CommitUpload(ctx, t.Repository, state, 0, d, bytes.NewReader(blob), int64(len(blob))))
		must(s.Catalog.Uploaded(ctx, t.Key(), d, "bench", s.Clock.Now()))
	}
	m, err := image.ParseManifest(im.Manifest, "")
	must(err)
	_, _, err = s.Gate.Tag(ctx, gate.Question{Target: t, Tag: "1", Principal: "bench"}, m)
	must(err)
	redis, err := verdicts.NewRedis(verdicts.RedisConfig{URL: "redis://" + server.Addr()}, slog.New(slog.DiscardHandler))
	must(err)
	b.Cleanup(func() { _ = redis.Close() })
	remote := gate.NewRemote(verdicts.NewReader(redis, time.Now, func(string) {}), time.Now)
	name := "127.0.0.1:5000/team/app:1"
	for begun := time.Now(); remote.Standing(ctx, gate.Inquiry{Reference: name, Digest: im.Digest()}).State != gate.StatePass; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			b.Fatal("the image is not judged")
		}
	}
	return func(o *admission.Options) {
		o.Standings, o.Resolver = remote, &registryStub{moved: map[string]digest.Digest{name: im.Digest()}}
	}, name
}

// load sends b.N reviews, eight at a time; at a rate, each when it is due. The time
// of one that is late because those before it are slow counts from when it was
// due; that the generator slept too long is not the webhook's time.
func load(b *testing.B, client *http.Client, url string, body []byte, rate int) {
	var mu sync.Mutex
	var times []time.Duration
	var sent atomic.Int64
	b.SetParallelism(4)
	if rate > 0 {
		b.SetParallelism(64)
	}
	b.ResetTimer()
	start := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		var own []time.Duration
		for pb.Next() {
			begun := time.Now()
			if rate > 0 {
				begun = start.Add(time.Duration(sent.Add(1)) * time.Second / time.Duration(rate))
				if early := time.Until(begun); early > 0 {
					time.Sleep(early)
					begun = time.Now()
				}
			}
			res, err := client.Post(url, "application/json", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, res.Body)
			if err != nil || res.StatusCode != http.StatusOK || res.Body.Close() != nil {
				b.Errorf("%d %v", res.StatusCode, err)
			}
			own = append(own, time.Since(begun))
		}
		mu.Lock()
		defer mu.Unlock()
		times = append(times, own...)
	})
	b.StopTimer()
	slices.Sort(times)
	ms := func(share float64) float64 { return times[int(share*float64(len(times)-1))].Seconds() * 1000 }
	b.ReportMetric(float64(len(times))/b.Elapsed().Seconds(), "reviews/s")
	b.ReportMetric(ms(0.50), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
}
