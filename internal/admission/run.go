package admission

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// filesCheck is how often Anchore's files are held against what is in force.
const filesCheck = 2 * time.Second

// Bind opens the port, so that an address in use, or a certificate that cannot
// be read, is known before anything else starts.
func (w *Webhook) Bind() error { return w.server.Bind() }

// Addr is host:port as bound.
func (w *Webhook) Addr() string { return w.server.Addr() }

// Run serves over TLS until ctx ends. Then it is no longer ready, goes on to
// answer for the time that the cluster takes to notice, and ends when the
// requests that are under way are answered. Bind comes first.
func (w *Webhook) Run(ctx context.Context) error {
	defer w.Close()
	if !w.server.Secure() {
		return errors.New("serve admission: API servers speak TLS alone, and there is no certificate")
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- w.server.Run(serving) }()
	noting, enough := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.write(noting)
	}()
	defer func() { // when no request is under way any more
		stop()
		enough()
		<-written
	}()
	tick := time.NewTicker(filesCheck)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			w.follow()
			continue
		case <-ctx.Done():
		}
		break
	}
	w.draining.Store(true)
	select {
	case err := <-done:
		return err
	case <-time.After(w.rules.Load().ShutdownDelay):
	}
	stop()
	return <-done
}

// Close ends look-ups that are still under way, and waits for them. Run does so
// by itself; it is for those who use the Handler alone.
func (w *Webhook) Close() {
	w.flights.close()
	w.resolutions.flights.close()
}

// follow takes over changed files of Anchore. While they are wrong, what is in
// force stays; that is said once for each change.
func (w *Webhook) follow() {
	rs := w.rules.Load()
	if rs.Anchore.Config == "" {
		return
	}
	text, err := rs.Anchore.read()
	problem := text.key()
	if err != nil {
		problem = err.Error()
	}
	if err == nil && text == rs.anchore || problem == w.failed {
		return
	}
	if err := w.Reload(rs.Config); err != nil {
		w.failed = problem
		w.log.Error("changed files not taken: what is in force stays", "error", err)
		return
	}
	w.failed = ""
	w.log.Info("files taken over", "config", rs.Anchore.Config)
}

func (w *Webhook) alive(rw http.ResponseWriter, _ *http.Request) error {
	_, err := io.WriteString(rw, "ok\n")
	return err
}

// ready answers /readyz. The gate and the registries are not asked: without them
// there is still an answer to give, and a cluster that is told nothing is worse.
func (w *Webhook) ready(rw http.ResponseWriter, _ *http.Request) error {
	if err := w.Ready(); err != nil {
		return bad(http.StatusServiceUnavailable, "not ready: %v", err)
	}
	_, err := io.WriteString(rw, "ok\n")
	return err
}

// Ready tells why requests should go elsewhere, nil if they are welcome: there
// is a configuration, a certificate that is valid now and known to API servers,
// and no end in sight.
func (w *Webhook) Ready() error {
	if w.draining.Load() {
		return errors.New("stopping")
	}
	if w.rules.Load() == nil {
		return errors.New("no configuration")
	}
	until, err := w.certified()
	if err != nil {
		return err
	}
	if now := w.now(); !until.IsZero() && now.After(until) {
		return fmt.Errorf("the certificate ran out at %s", until.UTC().Format(time.RFC3339))
	}
	return w.callable()
}

// certified tells until when the certificate is valid; zero for a server that
// has none.
func (w *Webhook) certified() (time.Time, error) {
	if !w.server.Secure() {
		return time.Time{}, nil
	}
	pair, err := w.server.Certificate(&tls.ClientHelloInfo{})
	if err != nil {
		return time.Time{}, fmt.Errorf("no certificate: %w", err)
	}
	leaf, err := leafOf(pair)
	if err != nil {
		return time.Time{}, fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if w.now().Before(leaf.NotBefore) {
		return time.Time{}, fmt.Errorf("the certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return leaf.NotAfter, nil
}

func leafOf(pair *tls.Certificate) (*x509.Certificate, error) {
	switch {
	case pair == nil || len(pair.Certificate) == 0:
		return nil, errors.New("there is none")
	case pair.Leaf != nil:
		return pair.Leaf, nil
	}
	return x509.ParseCertificate(pair.Certificate[0])
}
