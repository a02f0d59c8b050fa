// Package serve runs HTTP servers: listening, certificates and their renewal,
// limits for clients, draining, one log line for each request, and the figures
// for /metrics.
//
// It knows nothing of what is served. Start with Server.
package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// What every door bounds. A body has no deadline of its own: a slow upload of a
// large layer is lawful. What is bounded is silence, and slowness that no honest
// line has; see silence.go.
const (
	// readHeaderTimeout is also the time for a TLS handshake.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	defaultSilence    = 5 * time.Minute
)

// Server is one door. Run blocks until ctx ends, then lets transfers that are
// under way finish for Drain.
type Server struct {
	Name   string // "registry", "api": for logs
	Listen string
	TLS    TLSFiles
	// GetCertificate gives the certificate in force where it does not come from
	// files; TLS is not looked at then.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// HTTP2 lets clients send many requests at the same time over one connection,
	// where there is TLS.
	HTTP2   bool
	Limits  Limits
	Handler http.Handler
	// Limited answers a request that a limit turns away: status 429, in the form
	// that the door's clients read. Retry-After is set already, from retry. The
	// request does not reach Handler. Default: a line of text.
	Limited func(w http.ResponseWriter, r *http.Request, retry time.Duration)
	Drain   time.Duration
	// Silence is how long a connection may go without a byte from the client, or
	// taken by it. Default 5m.
	Silence time.Duration
	// Pace is what a transfer has to keep up beyond that. Default: 1 KiB/s.
	Pace    Pace
	Metrics *Metrics // nil: not counted
	Log     *slog.Logger

	listener    net.Listener
	turnstile   *turnstile
	certificate *certificate // nil without TLS
	turnedAway  turnedAway
}

// Bind opens the port, so that an address in use is known before anything else
// starts. Addr is known afterwards.
func (s *Server) Bind() error {
	if err := s.Limits.Validate(); err != nil {
		return fmt.Errorf("%s.limits: %w", s.Name, err)
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen for the %s: %w", s.Name, err)
	}
	s.turnedAway = turnedAway{door: s.Name, metrics: s.Metrics, log: s.Log, line: &rate.Sometimes{Interval: time.Second}}
	s.turnstile = newTurnstile(l.(*net.TCPListener), s.Limits, s.turnedAway.note)
	s.listener = s.turnstile
	if !s.Secure() {
		return nil
	}
	if s.GetCertificate == nil {
		s.certificate = &certificate{door: s.Name, files: s.TLS, log: s.Log}
		if err := s.certificate.reload(); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	protocols := []string{"http/1.1"}
	if s.HTTP2 {
		protocols = []string{"h2", "http/1.1"}
	}
	s.listener = tls.NewListener(s.turnstile, &tls.Config{GetCertificate: s.Certificate, MinVersion: tls.VersionTLS12, NextProtos: protocols})
	return nil
}

// Secure reports whether clients speak TLS.
func (s *Server) Secure() bool { return s.GetCertificate != nil || s.TLS.Enabled() }

// Certificate gives the certificate in force. Without one, and before Bind where
// it comes from files, it is an error.
func (s *Server) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	switch {
	case s.GetCertificate != nil:
		return s.GetCertificate(hello)
	case s.certificate == nil:
		return nil, fmt.Errorf("%s.tls: no certificate has been read", s.Name)
	}
	return s.certificate.get(hello)
}

// Reload reads the certificate again now. A pair that cannot be read is an
// error, and the one in force stays. Connections that are open are not touched.
func (s *Server) Reload() error {
	if s.certificate == nil {
		return nil
	}
	return s.certificate.reload()
}

// URL returns the address that a person types.
func (s *Server) URL() string {
	scheme := "http"
	if s.Secure() {
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
	q := quiet{silence: cmp.Or(s.Silence, defaultSilence), pace: s.Pace.withDefaults(), cut: s.turnedAway.note}
	srv := &http.Server{
		Handler:           q.handler(s.limited(s.Handler)),
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ConnState: s.turnstile.state, ConnContext: withGuest,
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
