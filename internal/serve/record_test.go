package serve_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/serve"
)

// TestRecorded: each request is one line and one count, with the bytes that
// moved either way.
func TestRecorded(t *testing.T) {
	for _, tt := range []struct {
		name, method, path, body string
		handler                  http.HandlerFunc
		want                     map[string]any
		metric                   string
	}{
		{"nothing noted", "GET", "/x", "", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "12345") },
			map[string]any{"operation": "other", "status": 200.0, "in": 0.0, "out": 5.0, "level": "INFO"}, `{door="registry",operation="other",status="200"} 1`},
		{"noted", "PUT", "/x", "abc", func(w http.ResponseWriter, r *http.Request) {
			serve.Note(r.Context(), "put manifest", slog.String("repository", "app"))
			serve.Note(r.Context(), "", slog.String("digest", "d"))
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}, map[string]any{"operation": "put manifest", "status": 201.0, "in": 3.0, "out": 0.0, "repository": "app", "digest": "d", "level": "INFO"},
			`{door="registry",operation="put manifest",status="201"} 1`},
		{"a body that is not read", "PUT", "/x", "abc", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
			map[string]any{"operation": "other", "status": 403.0, "in": 0.0, "out": 3.0, "level": "INFO"}, `{door="registry",operation="other",status="403"} 1`},
		{"copied from a reader", "GET", "/x", "", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 1<<17)), 100_000))
		}, map[string]any{"operation": "other", "status": 200.0, "in": 0.0, "out": 100_000.0, "level": "INFO"}, `{door="registry",operation="other",status="200"} 1`},
		{"a quiet path", "GET", "/healthz", "", func(_ http.ResponseWriter, r *http.Request) { serve.Note(r.Context(), "alive") },
			map[string]any{"operation": "alive", "status": 200.0, "in": 0.0, "out": 0.0, "level": "DEBUG"}, `{door="registry",operation="alive",status="200"} 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			m := serve.NewMetrics()
			logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			server := httptest.NewServer(serve.Recorded("registry", logger, m, map[string]bool{"/healthz": true}, tt.handler))
			req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("User-Agent", "test/1")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Error(err)
			}
			if err := res.Body.Close(); err != nil {
				t.Error(err)
			}
			server.Close() // the line is written after the answer
			got := line(t, &log)
			for key, value := range map[string]any{"msg": "request answered", "door": "registry", "method": tt.method, "path": tt.path, "agent": "test/1"} {
				tt.want[key] = value
			}
			for _, key := range []string{"time", "took", "client"} {
				if got[key] == nil {
					t.Errorf("the line has no %s", key)
				}
				delete(got, key)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
			if figures := exposed(m); !strings.Contains(figures, "pratique_requests_total"+tt.metric+"\n") || strings.Count(figures, "\npratique_requests_total{") != 1 {
				t.Errorf("figures do not have %s:\n%s", tt.metric, figures)
			}
		})
	}
}

// line reads the only line of a log.
func line(t *testing.T, log *bytes.Buffer) map[string]any {
	t.Helper()
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Fatalf("%d lines:\n%s", n, log)
	}
	var got map[string]any
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func exposed(m *serve.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// TestNoteOutsideOfARequest: work that no request waits for has nothing to note.
func TestNoteOutsideOfARequest(t *testing.T) {
	serve.Note(t.Context(), "operation", slog.String("k", "v"))
}

func TestMetrics(t *testing.T) {
	m := serve.NewMetrics()
	m.Request("registry", "pull", 200, time.Second, 1, 2)
	m.Request("registry", "pull", 200, time.Second, 10, 20)
	m.Verdict("stop")
	m.Lookup("memory")
	m.Analysis("layer", time.Second)
	m.Overflow()
	m.FeedAge(func() map[string]time.Duration {
		return map[string]time.Duration{"npm": time.Minute, "Go": time.Hour}
	})
	figures := exposed(m)
	for _, want := range []string{
		`pratique_requests_total{door="registry",operation="pull",status="200"} 2`,
		`pratique_request_seconds_count{door="registry",operation="pull"} 2`,
		`pratique_bytes_total{direction="in",door="registry"} 11`,
		`pratique_bytes_total{direction="out",door="registry"} 22`,
		`pratique_verdicts_total{action="stop"} 1`,
		`pratique_verdict_lookups_total{tier="memory"} 1`,
		`pratique_analysis_seconds_count{step="layer"} 1`,
		`pratique_spool_overflows_total 1`,
		`pratique_feed_age_seconds{feed="npm"} 60`,
		`pratique_feed_age_seconds{feed="Go"} 3600`,
	} {
		if !strings.Contains(figures, "\n"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
