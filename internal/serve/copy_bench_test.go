package serve_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/pratique/pratique/internal/serve"
)

// BenchmarkFile sends a file of 64 MiB as a blob is sent, over loopback.
func BenchmarkFile(b *testing.B) {
	const size = 64 << 20
	name, _ := blob(b, size)
	s := &serve.Server{}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		if r.URL.Path == "/buffered" {
			w = bare{w}
		}
		file(name, -1)(w, r)
	})
	start(b, s)
	for _, path := range []string{"/buffered", "/file"} {
		b.Run(path[1:], func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				res, err := http.Get(s.URL() + path)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, res.Body); err != nil || n != size {
					b.Fatalf("%d bytes, %v", n, err)
				}
				_ = res.Body.Close()
			}
		})
	}
}

// bare is a writer that takes no file.
type bare struct{ http.ResponseWriter }
