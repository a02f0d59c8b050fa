package serve_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/serve"
)

// ended waits until the server has closed a connection, and tells how long it
// took.
func ended(t *testing.T, conn net.Conn, within time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	if err := conn.SetReadDeadline(begun.Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		t.Errorf("still open after %s", within)
	}
	return time.Since(begun)
}

// drip sends text byte by byte until the connection is closed or the test ends.
func drip(t *testing.T, conn net.Conn, text string, every time.Duration) {
	done := make(chan struct{})
	stop := make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	go func() {
		defer close(done)
		for i := range len(text) {
			select {
			case <-stop:
				return
			case <-time.After(every):
			}
			if _, err := conn.Write([]byte{text[i]}); err != nil {
				return
			}
		}
	}()
}

// TestSlowToSpeak: a client that never comes to the point is given up after the
// ten seconds that the header may take.
func TestSlowToSpeak(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for time-outs of ten seconds")
	}
	t.Parallel()
	const header, margin = 10 * time.Second, 10 * time.Second
	files, _ := certificate(t)
	served := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was made of it") })
	plain, secured := &serve.Server{Handler: served}, &serve.Server{TLS: files, Handler: served}
	start(t, plain)
	start(t, secured)
	for _, tt := range []struct {
		name  string
		s     *serve.Server
		drips string
	}{
		{"nothing at all", plain, ""},
		{"a header that never ends", plain, "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 1000)},
		{"no TLS handshake", secured, ""},
		{"a TLS handshake that never ends", secured, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 1000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn := send(t, tt.s, "")
			drip(t, conn, tt.drips, 200*time.Millisecond)
			if took := ended(t, conn, header+margin); took < header/2 {
				t.Errorf("after %s already", took)
			}
		})
	}
}

// TestHugeHeader is refused as such, and costs no more than it may.
func TestHugeHeader(t *testing.T) {
	t.Parallel()
	s := &serve.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was made of it") })}
	start(t, s)
	for name, text := range map[string]string{
		"one header":   "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 128<<10) + "\r\n\r\n",
		"many headers": "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: a\r\n", 16<<10) + "\r\n",
		"a long query": "GET /?" + strings.Repeat("a", 128<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := send(t, s, "")
			go func() { _, _ = io.WriteString(conn, text) }() // cut short by the answer
			if got := status(t, conn); got != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("HTTP %d", got)
			}
		})
	}
}

// TestPace: bytes now and then are no transfer, in neither direction; and what
// keeps the pace may be as slow as that.
func TestPace(t *testing.T) {
	t.Parallel()
	errs := make(chan error, 1)
	s := &serve.Server{
		Silence: 2 * time.Second, Pace: serve.Pace{Rate: 100, Window: time.Second}, Metrics: serve.NewMetrics(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/up" {
				_, err := io.Copy(io.Discard, r.Body)
				errs <- err
				if err != nil {
					http.Error(w, "too slow", http.StatusBadRequest)
				}
				return
			}
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					errs <- err
					return
				}
			}
		}),
	}
	start(t, s)
	const upload = "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n"
	t.Run("an upload of a byte now and then", func(t *testing.T) {
		conn := send(t, s, upload)
		drip(t, conn, strings.Repeat("x", 300), 100*time.Millisecond)
		if err := <-errs; !isTimeout(err) {
			t.Errorf("reading the body: %v", err)
		}
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusBadRequest || !res.Close {
			t.Fatalf("answer %v, %v", res, err)
		}
		ended(t, conn, 5*time.Second)
	})
	t.Run("a slow upload that keeps the pace", func(t *testing.T) {
		conn := send(t, s, upload)
		for range 10 {
			time.Sleep(150 * time.Millisecond)
			write(t, conn, strings.Repeat("x", 30))
		}
		if err := <-errs; err != nil {
			t.Errorf("reading the body: %v", err)
		}
		if got := status(t, conn); got != http.StatusOK {
			t.Errorf("HTTP %d", got)
		}
	})
	t.Run("a body that is late and whole", func(t *testing.T) {
		conn := send(t, s, "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
		time.Sleep(1200 * time.Millisecond)
		write(t, conn, "x")
		if err := <-errs; err != nil {
			t.Errorf("reading the body: %v", err)
		}
	})
	t.Run("a download taken by a byte now and then", func(t *testing.T) {
		conn := send(t, s, "GET /down HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); ; {
			select {
			case err := <-errs:
				if !isTimeout(err) {
					t.Errorf("writing the body: %v", err)
				}
				return
			case <-time.After(50 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatal("still served")
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second)) // the window may close for long
			_, _ = conn.Read(make([]byte, 1))
		}
	})
	if got := counted(s.Metrics, "test", "pace"); got == "" {
		t.Error("not counted")
	}
}

// TestIdleConnections: a thousand connections that say nothing cost little, and
// nothing when they are gone.
func TestIdleConnections(t *testing.T) {
	s := &serve.Server{Handler: http.NotFoundHandler()}
	start(t, s)
	goroutines, memory := runtime.NumGoroutine(), heap()
	const n = 1000
	conns := make([]net.Conn, 0, n)
	for range n {
		conns = append(conns, send(t, s, hello))
	}
	for _, conn := range conns {
		if got := status(t, conn); got != http.StatusNotFound {
			t.Fatalf("HTTP %d", got)
		}
	}
	if grown := heap() - memory; grown > n*64<<10 {
		t.Errorf("%d bytes for each connection", grown/n)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	eventually(t, "the goroutines are gone", 10*time.Second, func() bool { return runtime.NumGoroutine() <= goroutines+20 })
	clear(conns)
	eventually(t, "the memory is free", 10*time.Second, func() bool { return heap()-memory < 8<<20 })
}

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// blob writes a file of some length, and returns what is in it.
func blob(t testing.TB, size int) (name string, content []byte) {
	t.Helper()
	content = bytes.Repeat([]byte("thirty-two bytes of a large file"), size/32+1)[:size]
	name = filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, content
}

// file serves a file as a door serves a blob.
func file(name string, limit int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		var src io.Reader = f
		if limit >= 0 {
			src = io.LimitReader(f, limit)
			w.Header().Set("Content-Length", strconv.FormatInt(limit, 10))
		}
		n, err := io.Copy(w, src)
		if err = errors.Join(err, f.Close()); err != nil || limit >= 0 && n != limit {
			panic(http.ErrAbortHandler)
		}
	}
}

// TestCopyOfAFile: whole, in part and empty, on every kind of connection, and
// counted.
func TestCopyOfAFile(t *testing.T) {
	t.Parallel()
	const size = 3<<20 + 17
	name, content := blob(t, size)
	files, pool := certificate(t)
	for _, tt := range []struct {
		name  string
		keys  serve.TLSFiles
		limit int64
	}{
		{"plain, in chunks", serve.TLSFiles{}, -1},
		{"plain", serve.TLSFiles{}, size},
		{"a part", serve.TLSFiles{}, 1<<20 + 1},
		{"a part that ends with a piece", serve.TLSFiles{}, 1 << 20},
		{"nothing of it", serve.TLSFiles{}, 0},
		{"TLS", files, size},
		{"a part by TLS", files, 1<<20 + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log lines
			m := serve.NewMetrics()
			s := &serve.Server{TLS: tt.keys, Handler: serve.Recorded("test", log.logger(), m, nil, file(name, tt.limit))}
			start(t, s)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
			res, err := client.Get(s.URL() + "/?token=hush")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			want := content
			if tt.limit >= 0 {
				want = content[:tt.limit]
			}
			if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
			}
			eventually(t, "the log says it", 5*time.Second, func() bool { return log.count("request answered") == 1 })
			if log.count("out="+strconv.Itoa(len(want))) != 1 || log.count("hush") != 0 {
				t.Errorf("log: %s", &log.all)
			}
		})
	}
}
