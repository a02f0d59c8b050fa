package cluster

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pratique/pratique/internal/serve"
)

// FileCertificates take the certificate from files, which somebody else renews:
// cert-manager, or a Secret made by hand. The caBundle is theirs to write then,
// and is left alone. It has the methods of Certificates.
type FileCertificates struct {
	files *serve.FollowedCertificate
	now   func() time.Time
}

// NewFileCertificates reads the files. now is the clock; nil for the machine's.
func NewFileCertificates(files serve.TLSFiles, log *slog.Logger, now func() time.Time) (*FileCertificates, error) {
	followed, err := files.Follow("admission", log)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &FileCertificates{followed, now}, nil
}

// GetCertificate is for tls.Config. Every few seconds a handshake looks whether
// the files have changed.
func (f *FileCertificates) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.files.GetCertificate(hello)
}

// Ready says why the webhook cannot be called, nil when it can.
func (f *FileCertificates) Ready() error {
	if !f.now().Before(f.files.Expiry()) {
		return errExpired
	}
	return nil
}

// Run has nothing to do, and waits for the end of ctx.
func (f *FileCertificates) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Describe is part of prometheus.Collector.
func (f *FileCertificates) Describe(ch chan<- *prometheus.Desc) { describeCertificate(ch) }

// Collect is part of prometheus.Collector.
func (f *FileCertificates) Collect(ch chan<- prometheus.Metric) {
	collectExpiry(ch, "server", f.files.Expiry())
}
