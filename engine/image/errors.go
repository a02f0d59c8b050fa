// Package image holds what a registry stores: references, digests, manifests,
// indexes and image configurations, read strictly.
//
// It knows no network and no storage. Start with ParseManifest and Reference.
package image

import (
	"errors"
	"fmt"
	"time"
)

// Errors that every registry, embedded or remote, answers with. They may be
// wrapped.
var (
	ErrNameUnknown     = errors.New("repository name not known to registry")
	ErrManifestUnknown = errors.New("manifest unknown to registry")
	ErrBlobUnknown     = errors.New("blob unknown to registry")
	ErrUploadUnknown   = errors.New("blob upload unknown to registry")
	ErrDigestInvalid   = errors.New("content does not match the digest")
	ErrRangeInvalid    = errors.New("range is not the next of the upload")
	ErrUnsupported     = errors.New("operation not supported by the registry")
	// ErrReferenceMissing: a manifest names a blob or manifest that is not there.
	ErrReferenceMissing = errors.New("manifest names content that the registry does not have")
	// ErrQuotaExceeded: the repository may not hold more bytes.
	ErrQuotaExceeded = errors.New("repository is full")
)

// UpstreamError is what a remote registry answered when it was none of the
// errors above, or that it could not be reached (Status 0).
type UpstreamError struct {
	Registry   string
	Status     int           // HTTP status; 0 when there was no answer
	Code       string        // OCI error code, if any
	Message    string        // the registry's words, cut to a sane length
	RetryAfter time.Duration // from Retry-After; 0 when not given
	// RateLimit are the answer's headers about rate limits (ratelimit-limit,
	// ratelimit-remaining, ...), for the client.
	RateLimit map[string]string
	Err       error // transport error when Status is 0
}

// Error names the registry and what it said.
func (e *UpstreamError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("registry %s: %v", e.Registry, e.Err)
	}
	return fmt.Sprintf("registry %s: HTTP %d %s %s", e.Registry, e.Status, e.Code, e.Message)
}

// Unwrap returns the transport error.
func (e *UpstreamError) Unwrap() error { return e.Err }
