package gate

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/catalog"
)

// Registry is an upstream registry, embedded or remote. All methods are safe
// for concurrent use and may block on the network. Errors wrap those of
// engine/image; what fits none of them is an *image.UpstreamError. The upload
// state is opaque text, handed back as it came.
type Registry interface {
	// Manifest returns at most image.MaxManifestSize bytes. For a digest they
	// are verified.
	Manifest(ctx context.Context, repo, ref string) (raw []byte, mediaType string, err error)
	Resolve(ctx context.Context, repo, tag string) (digest.Digest, error)
	PutManifest(ctx context.Context, repo, ref, mediaType string, raw []byte) error
	DeleteManifest(ctx context.Context, repo string, d digest.Digest) error
	DeleteTag(ctx context.Context, repo, tag string) error
	// Tags lists in lexical order, after last, at most n.
	Tags(ctx context.Context, repo, last string, n int) (tags []string, more bool, err error)
	// Referrers may be image.ErrUnsupported: the catalog then knows.
	Referrers(ctx context.Context, repo string, subject digest.Digest) ([]image.Descriptor, error)

	StatBlob(ctx context.Context, repo string, d digest.Digest) (size int64, err error)
	// Blob opens length bytes from offset, to the end when length is negative,
	// and tells the size of the whole. A body that ends early is an error of
	// Read, never io.EOF.
	Blob(ctx context.Context, repo string, d digest.Digest, offset, length int64) (body io.ReadCloser, size int64, err error)
	DeleteBlob(ctx context.Context, repo string, d digest.Digest) error
	MountBlob(ctx context.Context, repo, from string, d digest.Digest) (mounted bool, err error)
	StartUpload(ctx context.Context, repo string) (state string, err error)
	// AppendUpload streams body once; written is what the registry has taken,
	// also when err is not nil.
	AppendUpload(ctx context.Context, repo, state string, offset int64, body io.Reader) (next string, written int64, err error)
	CommitUpload(ctx context.Context, repo, state string, offset int64, d digest.Digest, body io.Reader, size int64) error
	CancelUpload(ctx context.Context, repo, state string) error
	Ping(ctx context.Context) error
}

// Upstream is a registry behind Pratique.
type Upstream struct {
	Name    string
	Prefix  string // first part of the names that lead here; "" for none
	Default bool   // names without a registry host lead here
	// Hostnames are what policies see as the registry: never what a client
	// claims in a header.
	Hostnames []string
	// Library is true where a name of one segment means library/NAME.
	Library  bool
	Registry Registry
}

// Upstreams are all registries behind Pratique.
type Upstreams []*Upstream

// Target is a repository of an upstream.
type Target struct {
	Upstream   *Upstream
	Repository string // as the upstream knows it
}

// Lookup finds the upstream that a name leads to. namespace is containerd's ns
// parameter: a registry host that chooses among the configured upstreams only.
// A name that begins with a registry host that is none of ours is
// image.ErrNameUnknown, never a repository of the default upstream.
func (us Upstreams) Lookup(name, namespace string) (Target, error) {
	if namespace != "" {
		return us.within(name, namespace)
	}
	var found *Upstream
	for _, u := range us {
		if u.Prefix != "" && strings.HasPrefix(name, u.Prefix+"/") && (found == nil || len(u.Prefix) > len(found.Prefix)) {
			found = u
		}
	}
	if found != nil {
		return found.target(name[len(found.Prefix)+1:])
	}
	first, _, _ := strings.Cut(name, "/")
	if image.IsHost(first) {
		return Target{}, fmt.Errorf("%w: no upstream is configured for the registry %q", image.ErrNameUnknown, clean(first))
	}
	for _, u := range us {
		if u.Default {
			return u.target(name)
		}
	}
	return Target{}, fmt.Errorf("%w: the name has no registry and there is no default upstream", image.ErrNameUnknown)
}

// within finds the upstream of a registry host. What it leads to must also be
// what the full name leads to: a repository has one name, by which rights are
// given, whatever way it is asked for.
func (us Upstreams) within(name, namespace string) (Target, error) {
	for _, u := range us {
		if u.Prefix != namespace && !slices.Contains(u.Hostnames, namespace) {
			continue
		}
		t, err := u.target(name)
		if err != nil {
			return Target{}, err
		}
		if again, err := us.Lookup(t.Name(), ""); err != nil || again != t {
			return Target{}, fmt.Errorf("%w: %q of the registry %q has no name here", image.ErrNameUnknown, clean(name), clean(namespace))
		}
		return t, nil
	}
	return Target{}, fmt.Errorf("%w: no upstream is configured for the registry %q", image.ErrNameUnknown, clean(namespace))
}

// Names are the names of all repositories that a name may stand for, with any
// namespace or none.
func (us Upstreams) Names(name string) []string {
	var all []string
	add := func(t Target, err error) {
		if err == nil && !slices.Contains(all, t.Name()) {
			all = append(all, t.Name())
		}
	}
	add(us.Lookup(name, ""))
	for _, u := range us {
		for _, host := range append([]string{u.Prefix}, u.Hostnames...) {
			if host != "" {
				add(us.Lookup(name, host))
			}
		}
	}
	return all
}

// Named returns the upstream with this name, or nil.
func (us Upstreams) Named(name string) *Upstream {
	for _, u := range us {
		if u.Name == name {
			return u
		}
	}
	return nil
}

func (u *Upstream) target(repository string) (Target, error) {
	if u.Library && repository != "" && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	if !image.ValidRepository(repository) {
		return Target{}, fmt.Errorf("%w: %q is not a repository name", image.ErrNameUnknown, clean(repository))
	}
	return Target{u, repository}, nil
}

// Name gives the name as it is pulled, without the proxy's own host.
func (t Target) Name() string {
	if t.Upstream.Prefix == "" {
		return t.Repository
	}
	return t.Upstream.Prefix + "/" + t.Repository
}

// Key names the repository in the catalog.
func (t Target) Key() catalog.Repository {
	return catalog.Repository{Upstream: t.Upstream.Name, Name: t.Repository}
}

// spellings are the names under which policies may know the repository.
func (t Target) spellings() []string {
	if rest, ok := strings.CutPrefix(t.Repository, "library/"); ok && t.Upstream.Library {
		return []string{t.Repository, rest}
	}
	return []string{t.Repository}
}

// clean makes foreign text fit for a message: short, printable.
func clean(s string) string {
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
