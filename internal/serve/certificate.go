package serve

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// TLSFiles name a certificate and its key; both empty means plain HTTP. They are
// read again within seconds of a change, and at SIGHUP. While the pair cannot be
// read, or its halves do not belong together, the one before stays in force.
type TLSFiles struct {
	Cert string `yaml:"cert"` // PEM file, leaf first
	Key  string `yaml:"key"`  // PEM file
}

// Enabled reports whether TLS is configured.
func (t TLSFiles) Enabled() bool { return t.Cert != "" || t.Key != "" }

const (
	// renewalCheck is how long a handshake goes by what was read before.
	renewalCheck = 2 * time.Second
	// maxPEM is far above any chain of certificates.
	maxPEM = 1 << 20
)

// certificate is the pair in force. It is held against what is in the files: how
// they are replaced (written over, renamed, the swapped symlink of a Kubernetes
// secret or of certbot) makes no difference, nor does the clock of a file system.
type certificate struct {
	door  string
	files TLSFiles
	log   *slog.Logger

	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held while the files are read
	checked time.Time
	failed  string // what was wrong with the files when last read, "" for nothing
}

// get is called for each handshake. One of them looks at the files, at most
// every renewalCheck; the others go on with what is in force.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		if time.Since(c.checked) >= renewalCheck {
			// Logged by take; the pair before serves on.
			_ = c.take()
		}
		c.mu.Unlock()
	}
	return c.current.Load(), nil
}

// reload takes over what the files hold now.
func (c *certificate) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take()
}

// take puts the pair in the files in force, if it is a pair. What is wrong with
// it is logged when it is new. Called with the lock held.
func (c *certificate) take() error {
	c.checked = time.Now()
	pair, err := c.files.load()
	old := c.current.Load()
	if err != nil {
		err = fmt.Errorf("%s.tls: %w", c.door, err)
		if old != nil && err.Error() != c.failed {
			c.log.Error("certificate not renewed: the one in force stays", "door", c.door, "error", err)
		}
		c.failed = err.Error()
		return err
	}
	c.failed = ""
	if old != nil && slices.EqualFunc(old.Certificate, pair.Certificate, bytes.Equal) {
		return nil
	}
	c.current.Store(pair)
	if old != nil {
		c.log.Info("certificate renewed", "door", c.door, "valid_until", pair.Leaf.NotAfter)
	}
	return nil
}

// load reads the pair.
func (t TLSFiles) load() (*tls.Certificate, error) {
	cert, certErr := readPEM(t.Cert)
	key, keyErr := readPEM(t.Key)
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", t.Cert, t.Key, err)
	}
	return &pair, nil
}

// readPEM reads a file of the certificate. What it holds stands in no error.
func readPEM(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(raw) > maxPEM {
		return nil, fmt.Errorf("read %s: more than %d bytes", name, maxPEM)
	}
	return raw, nil
}
