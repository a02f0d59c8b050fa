package serve

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// FollowedCertificate is the certificate in the files, for a server that is not
// a Server: it follows them as a Server does. Safe for concurrent use.
type FollowedCertificate struct{ certificate certificate }

// Follow reads the files, and takes over what they hold later. door names them
// in logs.
func (t TLSFiles) Follow(door string, log *slog.Logger) (*FollowedCertificate, error) {
	f := &FollowedCertificate{certificate{door: door, files: t, log: log}}
	if err := f.certificate.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// GetCertificate is for tls.Config.
func (f *FollowedCertificate) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.certificate.get(hello)
}

// Expiry is when the certificate in force ends. It looks at the files as a
// handshake does.
func (f *FollowedCertificate) Expiry() time.Time {
	pair, err := f.certificate.get(nil)
	if err != nil || pair.Leaf == nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter
}

// Reload reads the files now. A pair that cannot be read is an error, and the
// one in force stays.
func (f *FollowedCertificate) Reload() error { return f.certificate.reload() }
