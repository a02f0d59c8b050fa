// Package serve runs HTTP servers: listening, draining, one log line for each
// request, and the figures for /metrics.
//
// It knows nothing of what is served. Start with Server.
package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// TLSFiles name a certificate and its key; both empty means plain HTTP.
type TLSFiles struct {
	Cert string `yaml:"cert"` // PEM file, leaf first
	Key  string `yaml:"key"`  // PEM file
}

// Enabled reports whether TLS is configured.
func (t TLSFiles) Enabled() bool { return t.Cert != "" || t.Key != "" }

// Limits at every door. A body has no deadline of its own: a slow upload of a
// large layer is lawful. What is bounded is silence.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	defaultSilence    = 5 * time.Minute
)

// Server is one door. Run blocks until ctx ends, then lets transfers that are
// under way finish for Drain.
type Server struct {
	Name    string // "registry", "api": for logs
	Listen  string
	TLS     TLSFiles
	Handler http.Handler
	Drain   time.Duration
	// Silence is how long a connection may go without a byte from the client, or
	// taken by it. Default 5m.
	Silence time.Duration
	Log     *slog.Logger

	listener net.Listener
}

// Bind opens the port, so that an address in use is known before anything else
// starts. Addr is known afterwards.
func (s *Server) Bind() error {
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen for the %s: %w", s.Name, err)
	}
	s.listener = l
	if !s.TLS.Enabled() {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key)
	if err != nil {
		return errors.Join(fmt.Errorf("%s.tls: %w", s.Name, err), l.Close())
	}
	s.listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	return nil
}

// URL returns the address that a person types.
func (s *Server) URL() string {
	scheme := "http"
	if s.TLS.Enabled() {
		scheme = "https"
	}
	return scheme + "://" + s.Addr()
}

// Addr returns host:port as bound, as a person on this machine types it: what
// listens on every address ("0.0.0.0:5000") is reached at 127.0.0.1.
func (s *Server) Addr() string {
	bound := s.listener.Addr().String()
	host, port, err := net.SplitHostPort(bound)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return bound
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler: quiet(cmp.Or(s.Silence, defaultSilence), s.Handler), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", s.Name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), s.Drain)
	defer cancel()
	err := srv.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		s.Log.Warn("transfers cut", "door", s.Name, "after", s.Drain)
		err = srv.Close()
	}
	if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// quiet ends connections on which nothing has moved for the time of silence.
func quiet(silence time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &patience{ResponseWriter: w, body: r.Body, rc: http.NewResponseController(w), silence: silence}
		p.extend()
		r.Body = patientBody{p}
		next.ServeHTTP(p, r)
	})
}

// patience moves the deadlines of a connection with every byte that moves in
// either direction: an upload that is under way may answer late, a download may
// be taken slowly.
type patience struct {
	http.ResponseWriter
	body    io.ReadCloser
	rc      *http.ResponseController
	silence time.Duration
}

// extend cannot fail on the connections of net/http's own server; on others
// (tests) there is no deadline to move.
func (p *patience) extend() {
	until := time.Now().Add(p.silence)
	_ = p.rc.SetWriteDeadline(until)
	_ = p.rc.SetReadDeadline(until)
}

func (p *patience) Write(b []byte) (int, error) {
	p.extend()
	return p.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (p *patience) Unwrap() http.ResponseWriter { return p.ResponseWriter }

type patientBody struct{ p *patience }

func (b patientBody) Read(buf []byte) (int, error) {
	b.p.extend()
	return b.p.body.Read(buf)
}

func (b patientBody) Close() error { return b.p.body.Close() }
