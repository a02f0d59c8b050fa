package admission

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/lru"
)

// Resolver finds the digest that a tag stands for now. It is safe for concurrent
// use and waits no longer than ctx lets it. The credentials are of the
// reference's own host, or zero: it sends them nowhere else, redirects included.
// That there is no such image is image.ErrManifestUnknown or
// image.ErrNameUnknown.
type Resolver interface {
	Resolve(ctx context.Context, ref image.Reference, c Credentials) (digest.Digest, error)
}

// Credentials are for one registry host.
type Credentials struct {
	Host               string // as in a reference: "docker.io", "registry.example:5000"
	Username, Password string
	Token              string // a bearer or identity token, instead of the two
}

// PullSecrets reads the credentials that a pod would pull with. It is safe for
// concurrent use. None is no error; they are tried in order.
type PullSecrets interface {
	Credentials(ctx context.Context, from PullSource, ref image.Reference) ([]Credentials, error)
}

// PullSource is where a pod has its credentials from.
type PullSource struct {
	Namespace      string
	ServiceAccount string
	Secrets        []string // imagePullSecrets, by name
}

// NoPullSecrets has no credentials: the resolver's own are all there are.
type NoPullSecrets struct{}

// Credentials is part of PullSecrets.
func (NoPullSecrets) Credentials(context.Context, PullSource, image.Reference) ([]Credentials, error) {
	return nil, nil
}

const (
	rememberedTags = 8192
	// resolveTime bounds the look-up of one tag, whoever waits for it.
	resolveTime = 10 * time.Second
)

// resolutions resolves tags, each once for all who ask at the same time, and
// remembers digests for a short time. Keys hold the whole reference and whose
// credentials were used: nobody learns a digest by another's rights.
type resolutions struct {
	resolver Resolver
	secrets  PullSecrets
	figures  *figures
	now      func() time.Time
	flights  *flights[resolution]
	known    *lru.Cache[string, resolution]
}

type resolution struct {
	digest digest.Digest
	at     time.Time
	err    error
}

func newResolutions(o Options, f *figures) *resolutions {
	return &resolutions{
		resolver: o.Resolver, secrets: o.PullSecrets, figures: f, now: o.Now,
		flights: newFlights[resolution](resolveTime, o.Log), known: lru.New[string, resolution](rememberedTags, lru.Each),
	}
}

// resolve returns the digest that a reference names or stands for.
func (rs *resolutions) resolve(ctx context.Context, p pull, from PullSource, believed time.Duration) (digest.Digest, error) {
	if p.ref.Digest != "" && p.ref.Digest.Algorithm() == digest.SHA256 {
		return p.ref.Digest, nil
	}
	credentials, err := rs.credentials(ctx, from, p.ref)
	key := p.ref.String() + fingerprint(credentials)
	if known, ok := rs.remembered(key, believed); ok {
		rs.figures.resolution("hit")
		return known.digest, nil
	}
	rs.figures.resolution("miss")
	found, landed := rs.flights.do(ctx, key, func(ctx context.Context) resolution {
		if found, ok := rs.remembered(key, believed); ok { // by a look-up that has just ended
			return found
		}
		begun := rs.now()
		d, err := rs.tryAll(ctx, p.ref, credentials)
		rs.figures.call("resolve", rs.now().Sub(begun), err)
		found := resolution{d, rs.now(), err}
		if err == nil {
			rs.known.Put(key, found)
		}
		return found
	})
	if !landed {
		return "", fmt.Errorf("resolve %s: %w", p.ref, context.DeadlineExceeded)
	}
	if found.err != nil {
		return "", errors.Join(fmt.Errorf("resolve %s: %w", p.ref, found.err), err)
	}
	return found.digest, nil
}

func (rs *resolutions) remembered(key string, believed time.Duration) (resolution, bool) {
	known, ok := rs.known.Get(key)
	return known, ok && rs.now().Sub(known.at) < believed
}

// credentials reads those for exactly the reference's host. A secret that cannot
// be read does not stop what needs none; it stands in the error of what does.
func (rs *resolutions) credentials(ctx context.Context, from PullSource, ref image.Reference) ([]Credentials, error) {
	all, err := rs.secrets.Credentials(ctx, from, ref)
	if err != nil {
		err = fmt.Errorf("read pull secrets of namespace %q: %w", from.Namespace, err)
	}
	var own []Credentials
	for _, c := range all {
		if strings.EqualFold(c.Host, ref.Registry) {
			own = append(own, c)
		}
	}
	return own, err
}

// tryAll asks with each of the credentials, as a kubelet does, and at last
// without.
func (rs *resolutions) tryAll(ctx context.Context, ref image.Reference, credentials []Credentials) (digest.Digest, error) {
	var first error
	for _, c := range append(credentials, Credentials{}) {
		d, err := rs.resolver.Resolve(ctx, ref, c)
		if err == nil {
			err = image.SupportedDigest(d)
		}
		if err == nil {
			return d, nil
		}
		if first == nil || ctx.Err() != nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", first
}

// fingerprint tells credentials apart without keeping them.
func fingerprint(all []Credentials) string {
	if len(all) == 0 {
		return ""
	}
	h := sha256.New()
	for _, c := range all {
		fmt.Fprintf(h, "%q %q %q %q\n", c.Host, c.Username, c.Password, c.Token)
	}
	return fmt.Sprintf(" %x", h.Sum(nil))
}
