package admission_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique/pratique/internal/admission"
)

// BenchmarkReviews is a load generator: API servers that create pods of known
// images, over TLS, at the same time. It reports reviews a second and how long
// they take; both ends share the machine.
func BenchmarkReviews(b *testing.B) {
	for _, bm := range []struct {
		name, path string
		images     []string
		change     func(*admission.Options)
		rate       int // reviews a second; 0: as many as go
	}{
		{"one image, 2000 a second", "/validate?timeout=3s", []string{good}, nil, 2000},
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

// load sends b.N reviews, eight at a time; at a rate, each when it is due, and its
// time counts from then.
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
				time.Sleep(time.Until(begun))
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
