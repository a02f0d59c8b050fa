package image

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ErrInvalidReference is wrapped by every complaint about a reference.
var ErrInvalidReference = errors.New("invalid image reference")

// Grammar of the distribution specification 1.1, "Pulling manifests".
var (
	repositoryRE = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagRE        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	hostRE       = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$`)
)

// MaxRepositoryLength bounds a repository name, in bytes.
const MaxRepositoryLength = 255

// ValidRepository reports whether name is a repository name.
func ValidRepository(name string) bool {
	return len(name) <= MaxRepositoryLength && repositoryRE.MatchString(name)
}

// ValidTag reports whether tag is a tag.
func ValidTag(tag string) bool { return tagRE.MatchString(tag) }

// ValidHost reports whether host is a registry host, with or without a port.
func ValidHost(host string) bool { return hostRE.MatchString(host) }

// Reference is what a person types: host/repository:tag@digest.
type Reference struct {
	Registry   string // host[:port], "docker.io" when none was typed
	Repository string // "library/nginx"
	Tag        string // "" only when Digest is set
	Digest     digest.Digest
}

// ParseReference reads a reference the way docker does: the first segment is a
// registry if it has a dot or a colon or is localhost, Docker Hub and its
// library/ are implied, and so is the tag latest.
func ParseReference(s string) (Reference, error) {
	rest, r := s, Reference{}
	if name, dg, ok := strings.Cut(rest, "@"); ok {
		r.Digest, rest = digest.Digest(dg), name
		if err := SupportedDigest(r.Digest); err != nil {
			return Reference{}, fmt.Errorf("%w %q: %w", ErrInvalidReference, s, err)
		}
	}
	if host, path, ok := strings.Cut(rest, "/"); ok && IsHost(host) {
		r.Registry, rest = host, path
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		r.Tag, rest = rest[i+1:], rest[:i]
		if !ValidTag(r.Tag) {
			return Reference{}, fmt.Errorf("%w %q: %q is no tag", ErrInvalidReference, s, r.Tag)
		}
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	if r.Registry == "" || r.Registry == "index.docker.io" || r.Registry == "registry-1.docker.io" {
		r.Registry = "docker.io"
	}
	if r.Registry == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	r.Repository = rest
	if !ValidRepository(rest) || !ValidHost(r.Registry) {
		return Reference{}, fmt.Errorf("%w %q", ErrInvalidReference, s)
	}
	return r, nil
}

// IsHost reports whether the first segment of a name is a registry host: it has
// a dot or a colon, or is localhost.
func IsHost(segment string) bool {
	return strings.ContainsAny(segment, ".:") || segment == "localhost"
}

// String gives the reference in full.
func (r Reference) String() string {
	s := r.Registry + "/" + r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Identifier gives the digest if there is one, else the tag.
func (r Reference) Identifier() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}
