package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// CertificateConfig says what the webhook's own certificate is for and how long
// things live.
type CertificateConfig struct {
	// Namespace is where the Service and the Secret are: Pratique's own.
	Namespace string `yaml:"namespace"`
	// Service is the Service that the webhook configurations name.
	Service string `yaml:"service"`
	// Secret keeps the authority and the certificate for all replicas. It is made
	// if it is not there.
	Secret string `yaml:"secret"`
	// Names are further DNS names that API servers call the webhook by.
	Names []string `yaml:"names"`
	// Validating and Mutating are the names of the webhook configurations whose
	// caBundle is kept current.
	Validating []string `yaml:"validating"`
	Mutating   []string `yaml:"mutating"`
	// AuthorityLifetime is how long an authority lives. The next one is made when
	// a third of it is left. Default 8760h, a year.
	AuthorityLifetime time.Duration `yaml:"authority_lifetime"`
	// Lifetime is how long a certificate lives. The next one is made when a third
	// of it is left. Default 720h.
	Lifetime time.Duration `yaml:"lifetime"`
	// Overlap is how long an authority stands in every caBundle before it signs
	// anything. Default 24h.
	Overlap time.Duration `yaml:"overlap"`
}

// Validate says what is wrong with the configuration.
func (c CertificateConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	for field, value := range map[string]string{"namespace": c.Namespace, "service": c.Service, "secret": c.Secret} {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s: is missing", field))
		}
	}
	switch {
	case c.Lifetime < time.Minute:
		errs = append(errs, errors.New("lifetime: less than a minute"))
	case c.AuthorityLifetime < 3*c.Lifetime:
		errs = append(errs, errors.New("authority_lifetime: less than three times the lifetime"))
	case c.Overlap < 0 || c.Overlap > c.AuthorityLifetime/6:
		errs = append(errs, errors.New("overlap: negative, or more than a sixth of the authority's lifetime"))
	}
	return errors.Join(errs...)
}

func (c CertificateConfig) withDefaults() CertificateConfig {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.AuthorityLifetime, 365 * 24 * time.Hour}, {&c.Lifetime, 30 * 24 * time.Hour}, {&c.Overlap, 24 * time.Hour}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

func (c CertificateConfig) cycle() cycle {
	name := c.Service + "." + c.Namespace + ".svc"
	names := append([]string{name, c.Service + "." + c.Namespace, name + ".cluster.local"}, c.Names...)
	slices.Sort(names)
	return cycle{slices.Compact(names), c.AuthorityLifetime, c.Lifetime, c.Overlap}
}

const (
	certificateResync = 5 * time.Minute
	certificateRetry  = 5 * time.Second
	maxConflicts      = 10
)

var (
	errNoCertificate = errors.New("the webhook has no certificate yet")
	errNotAnnounced  = errors.New("the webhook configurations do not have the webhook's authority yet")
	errExpired       = errors.New("the webhook's certificate has expired")
	errConflicts     = errors.New("others kept changing it")
)

// Certificates makes the webhook's certificate and sees to it that API servers
// trust it. Every replica runs one; they agree through the Secret alone, without
// a leader: whoever finds something due does it, and of two that do, the second
// finds that the object has changed, and looks again.
type Certificates struct {
	config CertificateConfig
	cycle  cycle
	client kubernetes.Interface
	log    *slog.Logger
	now    func() time.Time

	poke    chan struct{}
	current atomic.Pointer[trust] // the last that was good
	settled atomic.Bool           // a first pass has been made
	stale   *staleBundles
}

// NewCertificates returns certificates that Run makes. now is the clock; nil for
// the machine's.
func NewCertificates(cfg CertificateConfig, client kubernetes.Interface, log *slog.Logger, now func() time.Time) (*Certificates, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	cfg = cfg.withDefaults()
	return &Certificates{
		config: cfg, cycle: cfg.cycle(), client: client, log: log, now: now,
		poke: make(chan struct{}, 1), stale: newStaleBundles(),
	}, nil
}

// GetCertificate is for tls.Config.
func (c *Certificates) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	t := c.current.Load()
	if t == nil {
		return nil, errNoCertificate
	}
	return t.pair(), nil
}

// Ready says why the webhook cannot be called, nil when it can. A webhook
// configuration that is not there is no reason: taking it away is how a cluster
// is helped out, and the replicas must be there when it comes back.
func (c *Certificates) Ready() error {
	t := c.current.Load()
	switch {
	case t == nil:
		return errNoCertificate
	case !c.settled.Load():
		return errNotAnnounced
	case !c.now().Before(t.leaf.cert.NotAfter):
		return errExpired
	}
	return nil
}

// Run keeps the certificate, the Secret and the webhook configurations as they
// should be until ctx ends.
func (c *Certificates) Run(ctx context.Context) error {
	defer c.watch(ctx)()
	// Somebody who keeps undoing what is written here gets no endless race.
	pace := rate.NewLimiter(rate.Every(time.Second), 10)
	for pace.Wait(ctx) == nil {
		wait := certificateResync
		if err := c.pass(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("admission certificate not kept", "error", err)
			wait = certificateRetry
		} else if t := c.current.Load(); t != nil {
			wait = min(wait, max(time.Second, c.cycle.until(t).Sub(c.now())))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-c.poke:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// pass looks at everything once and does what is due. The webhook configurations
// are read before the Secret, and written only if they are still as read: so
// nobody writes an older bundle over a newer one.
func (c *Certificates) pass(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	hooks, hooksErr := c.hooks(ctx)
	t, err := c.settle(ctx, hooks, hooksErr == nil)
	if err != nil {
		return errors.Join(err, hooksErr)
	}
	c.take(t)
	if err := errors.Join(hooksErr, c.announce(ctx, hooks, t)); err != nil {
		return err
	}
	c.settled.Store(true)
	return nil
}

// settle brings the Secret to what is due now and returns what it holds.
func (c *Certificates) settle(ctx context.Context, hooks []hook, complete bool) (*trust, error) {
	secrets := c.client.CoreV1().Secrets(c.config.Namespace)
	for range maxConflicts {
		secret, err := secrets.Get(ctx, c.config.Secret, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			secret, err = nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read secret %s: %w", c.config.Secret, err)
		}
		found, due, err := c.due(secret, hooks, complete)
		if err != nil {
			return nil, err
		}
		if found != nil && due == found {
			return found, nil
		}
		fields, err := due.encode()
		if err != nil {
			return nil, err
		}
		if secret == nil {
			_, err = secrets.Create(ctx, c.secret(fields), metav1.CreateOptions{})
		} else {
			_, err = secrets.Update(ctx, withFields(secret, fields), metav1.UpdateOptions{})
		}
		switch {
		case err == nil:
			return due, nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
			// Another replica was first: what it wrote holds.
		default:
			return nil, fmt.Errorf("write secret %s: %w", c.config.Secret, err)
		}
	}
	return nil, fmt.Errorf("write secret %s: %w", c.config.Secret, errConflicts)
}

// due returns what the Secret holds, nil if that is nothing usable, and what it
// should hold. What was good last is put back in the place of what is broken or
// gone: the certificates in use stay good.
func (c *Certificates) due(secret *corev1.Secret, hooks []hook, complete bool) (found, due *trust, err error) {
	now := c.now()
	if secret != nil && len(secret.Data) > 0 { // empty: made by a chart, for us to fill
		if found, err = decodeTrust(secret.Data); err != nil {
			c.log.Error("admission secret is broken: it is written anew", "secret", c.config.Secret, "error", err)
		}
	}
	base := found
	if base == nil {
		if base = c.current.Load(); base == nil || !now.Before(base.signing.cert.NotAfter) {
			due, err = c.cycle.found(now)
			return nil, due, err
		}
	}
	due, err = c.cycle.advance(base, now, complete && announced(hooks, base))
	return found, due, err
}

// take puts a trust in force.
func (c *Certificates) take(t *trust) {
	old := c.current.Swap(t)
	if old == nil || !old.leaf.cert.Equal(t.leaf.cert) {
		c.log.Info("admission certificate in force", "valid_until", t.leaf.cert.NotAfter,
			"authority", t.signing.cert.Subject.CommonName, "authority_valid_until", t.signing.cert.NotAfter)
	}
}

func (c *Certificates) secret(fields map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: c.config.Secret, Namespace: c.config.Namespace, Labels: managed()},
		Type:       corev1.SecretTypeOpaque,
		Data:       fields,
	}
}

// withFields replaces the fields that are ours and leaves those of others alone.
func withFields(secret *corev1.Secret, fields map[string][]byte) *corev1.Secret {
	s := secret.DeepCopy()
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	delete(s.Data, fieldNext)
	for name, value := range fields {
		s.Data[name] = value
	}
	return s
}

// Describe is part of prometheus.Collector.
func (c *Certificates) Describe(ch chan<- *prometheus.Desc) { describeCertificate(ch) }

// Collect is part of prometheus.Collector.
func (c *Certificates) Collect(ch chan<- prometheus.Metric) {
	if t := c.current.Load(); t != nil {
		collectExpiry(ch, "server", t.leaf.cert.NotAfter)
		collectExpiry(ch, "authority", t.signing.cert.NotAfter)
	}
	c.stale.collect(ch)
}
