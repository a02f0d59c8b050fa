package serve_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/serve"
)

// start runs a server until stop is called or the test ends; stop gives what
// Run returned.
func start(t testing.TB, s *serve.Server) (cancel func(), stop func() error) {
	t.Helper()
	s.Name = "test"
	if s.Listen == "" {
		s.Listen = "127.0.0.1:0"
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if err := s.Bind(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return cancel, stop
}

// TestDrain: a transfer that is under way when the server is told to stop is
// finished; nothing new begins.
func TestDrain(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := &serve.Server{Drain: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first half, ")
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-goOn
		_, _ = io.WriteString(w, "second half")
	})}
	cancel, stop := start(t, s)
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		body, err := read(t, s.URL())
		got <- result{body, err}
	}()
	<-begun
	cancel()
	for deadline := time.Now().Add(5 * time.Second); ; {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("takes new connections while it drains")
		}
	}
	close(goOn)
	if r := <-got; r.err != nil || r.body != "first half, second half" {
		t.Errorf("the transfer: %q, %v", r.body, r.err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestDrainEnds: what has not finished by then is cut, and said to be.
func TestDrainEnds(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	defer close(goOn)
	var log bytes.Buffer
	s := &serve.Server{Drain: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil)), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-goOn
	})}
	_, stop := start(t, s)
	failed := make(chan error, 1)
	go func() {
		_, err := read(t, s.URL())
		failed <- err
	}()
	<-begun
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("a transfer that was cut ended well for the client")
	}
	if !strings.Contains(log.String(), "transfers cut") {
		t.Errorf("log: %s", &log)
	}
}

const silence = 600 * time.Millisecond

// TestSilence: a transfer may take as long as it likes, as long as it moves.
func TestSilence(t *testing.T) {
	slowly := func(each func()) {
		for range 6 { // more than the silence in all
			time.Sleep(silence / 4)
			each()
		}
	}
	moved := make(chan error, 1)
	s := &serve.Server{Silence: silence, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/up":
			body, err := io.ReadAll(r.Body)
			moved <- err
			_, _ = w.Write(body)
		case "/down":
			slowly(func() {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
			})
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					moved <- err
					return
				}
			}
		}
	})}
	start(t, s)
	t.Run("slow upload", func(t *testing.T) {
		conn := send(t, s, "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
		slowly(func() { write(t, conn, "x") })
		if err := <-moved; err != nil {
			t.Errorf("reading the body: %v", err)
		}
		if got := answer(t, conn); !strings.Contains(got, "200 OK") || !strings.HasSuffix(got, "xxxxxx") {
			t.Errorf("answer %q", got)
		}
	})
	t.Run("upload that stops", func(t *testing.T) {
		send(t, s, "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nxx")
		begun := time.Now()
		if err := <-moved; !isTimeout(err) || time.Since(begun) > 20*silence {
			t.Errorf("reading the body: %v after %s", err, time.Since(begun))
		}
	})
	t.Run("slow download", func(t *testing.T) {
		if body, err := read(t, s.URL()+"/down"); err != nil || body != "xxxxxx" {
			t.Errorf("%q, %v", body, err)
		}
	})
	t.Run("download that nobody takes", func(t *testing.T) {
		send(t, s, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := <-moved; !isTimeout(err) {
			t.Errorf("writing the body: %v", err)
		}
	})
}

// send opens a connection and sends text on it.
func send(t *testing.T, s *serve.Server, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	write(t, conn, text)
	return conn
}

func write(t *testing.T, conn io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
}

// answer reads what comes until nothing does.
func answer(t *testing.T, conn net.Conn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(conn)
	if err != nil && !isTimeout(err) {
		t.Error(err)
	}
	return string(body)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestAddressInUse(t *testing.T) {
	first := &serve.Server{Handler: http.NotFoundHandler()}
	start(t, first)
	second := &serve.Server{Name: "registry", Listen: first.Addr()}
	if err := second.Bind(); err == nil || !strings.Contains(err.Error(), "listen for the registry") {
		t.Errorf("Bind = %v", err)
	}
}
