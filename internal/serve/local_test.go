package serve_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pratique/pratique/internal/serve"
)

func TestLocalRequest(t *testing.T) {
	for _, c := range []struct {
		name, host, header, value string
		want                      bool
	}{
		{"by address", "127.0.0.1:8228", "", "", true},
		{"by name, without port", "localhost", "", "", true},
		{"IPv6", "[::1]:8228", "", "", true},
		{"a page of our own", "localhost:8228", "Origin", "http://localhost:8228", true},
		{"rebound name", "evil.example:8228", "", "", false},
		{"name that begins like ours", "localhost.evil.example", "", "", false},
		{"foreign page", "127.0.0.1:8228", "Origin", "https://evil.example", false},
		{"opaque origin", "127.0.0.1:8228", "Origin", "null", false},
		{"forwarded", "127.0.0.1:8228", "Forwarded", "for=192.0.2.1", false},
		{"forwarded, older", "127.0.0.1:8228", "X-Forwarded-For", "192.0.2.1", false},
		{"forwarded by nginx", "127.0.0.1:8228", "X-Real-IP", "192.0.2.1", false},
		{"no host", "", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = c.host
			if c.header != "" {
				r.Header.Set(c.header, c.value)
			}
			if got := serve.LocalRequest(r); got != c.want {
				t.Errorf("LocalRequest = %v, want %v", got, c.want)
			}
		})
	}
}
