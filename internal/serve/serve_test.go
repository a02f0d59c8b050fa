package serve_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/serve"
)

// TestServerAddress: what a person is told to type answers, also when the
// server listens on every address, as it does in a container.
func TestServerAddress(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			s := &serve.Server{
				Name: "test", Listen: listen, Drain: time.Second, Log: slog.New(slog.DiscardHandler),
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }),
			}
			if err := s.Bind(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			if want := regexp.MustCompile(`^127\.0\.0\.1:[0-9]+$`); !want.MatchString(s.Addr()) {
				t.Errorf("Addr() = %s, want %s", s.Addr(), want)
			}
			body, err := read(t, s.URL())
			if err != nil || body != "here" {
				t.Errorf("GET %s = %q, %v", s.URL(), body, err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

func read(t *testing.T, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(res.Body)
	return string(body), errors.Join(err, res.Body.Close())
}
