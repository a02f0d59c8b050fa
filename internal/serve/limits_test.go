package serve_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/serve"
)

// counted returns a figure of /metrics, "" if there is none.
func counted(m *serve.Metrics, door, limit string) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, after, _ := strings.Cut(w.Body.String(), fmt.Sprintf("pratique_limited_total{door=%q,limit=%q} ", door, limit))
	value, _, _ := strings.Cut(after, "\n")
	return value
}

func TestLimitsValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits serve.Limits
		says   string
	}{
		{"defaults", serve.Limits{}, ""},
		{"none", serve.Limits{Connections: -1, PerClient: -1, Requests: -1}, ""},
		{"below none", serve.Limits{Connections: -2}, "connections is -2"},
		{"no burst", serve.Limits{Burst: -1}, "burst is -1"},
		{"both", serve.Limits{PerClient: -5, Requests: -7}, "requests is -7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.limits.Validate(); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Validate = %v", err)
			}
		})
	}
	s := &serve.Server{Name: "registry", Listen: "127.0.0.1:0", Limits: serve.Limits{Requests: -2}, Log: slog.New(slog.DiscardHandler)}
	if err := s.Bind(); err == nil || !strings.HasPrefix(err.Error(), "registry.limits: ") {
		t.Errorf("Bind = %v", err)
	}
}

// TestRequestRate: a client that is too fast is told when to come back, in the
// words of the door, and may then.
func TestRequestRate(t *testing.T) {
	t.Parallel()
	var log lines
	s := &serve.Server{
		Limits: serve.Limits{Requests: 2, Burst: 3}, Metrics: serve.NewMetrics(), Log: log.logger(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }),
		Limited: func(w http.ResponseWriter, _ *http.Request, retry time.Duration) {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = fmt.Fprint(w, retry)
		},
	}
	start(t, s)
	ask := func(forwarded string) (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/?token=hush", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", forwarded)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Retry-After"), string(body)
	}
	statuses := map[int]int{}
	for i := range 20 {
		status, retry, body := ask(fmt.Sprintf("192.0.2.%d", i)) // makes no other client of it
		statuses[status]++
		if status == http.StatusTooManyRequests && (retry != "1" || body != "1s") {
			t.Errorf("Retry-After %q, body %q", retry, body)
		}
	}
	if statuses[http.StatusOK] < 3 || statuses[http.StatusOK] > 10 || statuses[http.StatusOK]+statuses[http.StatusTooManyRequests] != 20 {
		t.Errorf("answers by status: %v", statuses)
	}
	if want := fmt.Sprint(statuses[http.StatusTooManyRequests]); counted(s.Metrics, "test", "requests") != want {
		t.Errorf("counted %q, want %s", counted(s.Metrics, "test", "requests"), want)
	}
	if n := log.count("limit reached"); n < 1 || n > 3 || log.count("hush") > 0 {
		t.Errorf("%d lines in the log", n)
	}
	eventually(t, "the client may come back", 5*time.Second, func() bool {
		status, _, _ := ask("")
		return status == http.StatusOK
	})
}

// TestNoRateOnThisMachine: by default, what speaks from this machine may be a
// proxy that speaks for many.
func TestNoRateOnThisMachine(t *testing.T) {
	t.Parallel()
	s := &serve.Server{Handler: http.NotFoundHandler()}
	start(t, s)
	conn := send(t, s, "")
	go func() { write(t, conn, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 4000)) }()
	r := bufio.NewReader(conn)
	for i := range 4000 {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusNotFound {
			t.Fatalf("request %d: HTTP %d, %v", i, res.StatusCode, err)
		}
	}
}

const hello = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// status reads the status of one answer.
func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// TestConnectionsPerClient: what is too many is told so, what is far too many
// is closed, and who leaves makes room.
func TestConnectionsPerClient(t *testing.T) {
	t.Parallel()
	files, pool := certificate(t)
	for name, keys := range map[string]serve.TLSFiles{"plain": {}, "TLS": files} {
		t.Run(name, func(t *testing.T) {
			s := &serve.Server{TLS: keys, Limits: serve.Limits{PerClient: 3}, Metrics: serve.NewMetrics(), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
			start(t, s)
			open := func() net.Conn {
				conn, err := net.Dial("tcp", s.Addr())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				if keys.Enabled() {
					conn = tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
				}
				_, _ = io.WriteString(conn, hello) // may be closed already
				return conn
			}
			var allowed []net.Conn
			for range 3 {
				allowed = append(allowed, open())
			}
			for i, conn := range allowed {
				if got := status(t, conn); got != http.StatusOK {
					t.Fatalf("connection %d: HTTP %d", i, got)
				}
			}
			if got := status(t, open()); got != http.StatusTooManyRequests {
				t.Errorf("one more: HTTP %d", got)
			}
			var many []net.Conn
			for range 60 {
				many = append(many, send(t, s, ""))
			}
			eventually(t, "most are closed unheard", 5*time.Second, func() bool {
				closed := 0
				for _, conn := range many {
					_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
					if _, err := conn.Read(make([]byte, 1)); err != nil && !isTimeout(err) {
						closed++
					}
				}
				return closed == 60-16
			})
			for _, conn := range append(many, allowed[0]) {
				_ = conn.Close()
			}
			eventually(t, "there is room again", 5*time.Second, func() bool { return status(t, open()) == http.StatusOK })
			if counted(s.Metrics, "test", "per_client") == "" {
				t.Error("not counted")
			}
		})
	}
}

// TestConnections: the one that is idle for the longest makes room; if all are
// at work, the next one waits and is served.
func TestConnections(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	s := &serve.Server{Limits: serve.Limits{Connections: 2}, Metrics: serve.NewMetrics(), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/work" {
			<-goOn
		}
	})}
	start(t, s)
	oldest, newer := send(t, s, hello), send(t, s, "")
	if got := status(t, oldest); got != http.StatusOK {
		t.Fatalf("HTTP %d", got)
	}
	write(t, newer, hello)
	if got := status(t, newer); got != http.StatusOK {
		t.Fatalf("HTTP %d", got)
	}
	working := send(t, s, "GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := oldest.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the one idle for the longest: %v", err)
	}
	write(t, newer, "GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(100 * time.Millisecond)
	waiting := make(chan int, 5)
	for range cap(waiting) {
		conn := send(t, s, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		go func() { waiting <- status(t, conn) }()
	}
	select {
	case got := <-waiting:
		t.Errorf("served beyond the limit: HTTP %d", got)
	case <-time.After(300 * time.Millisecond):
	}
	close(goOn)
	for range cap(waiting) {
		if got := <-waiting; got != http.StatusOK {
			t.Errorf("after the wait: HTTP %d", got)
		}
	}
	if got := status(t, working); got != http.StatusOK {
		t.Errorf("the one at work: HTTP %d", got)
	}
	if counted(s.Metrics, "test", "connections") == "" {
		t.Error("not counted")
	}
}

// TestStopWhileFull: a connection that waits for room does not hold the server
// up when it is to stop.
func TestStopWhileFull(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	s := &serve.Server{Limits: serve.Limits{Connections: 1}, Drain: 50 * time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})}
	_, stop := start(t, s)
	send(t, s, hello)
	<-begun
	waiting := send(t, s, hello)
	time.Sleep(100 * time.Millisecond)
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if got := status(t, waiting); got != 0 {
		t.Errorf("the one that waited: HTTP %d", got)
	}
}
