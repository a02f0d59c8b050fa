package upstream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pratique/pratique/engine/image"
)

const (
	maxErrorAnswer  = 64 << 10 // bytes that are read of an error
	maxErrorMessage = 4 << 10  // bytes that are kept: the whole story that another Pratique tells
	maxRateLimit    = 128      // bytes that are kept of a header about limits
	maxRetryAfter   = 24 * time.Hour
)

// rateLimits are the headers that tell of limits; the last is Docker Hub's, and
// names the account or address that is counted.
// https://docs.docker.com/docker-hub/usage/pulls/
var rateLimits = []string{"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "docker-ratelimit-source"}

// codes says what the error codes of the distribution specification mean here.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
var codes = map[string]error{
	"NAME_UNKNOWN":          image.ErrNameUnknown,
	"NAME_INVALID":          image.ErrNameUnknown,
	"MANIFEST_UNKNOWN":      image.ErrManifestUnknown,
	"TAG_UNKNOWN":           image.ErrManifestUnknown,
	"BLOB_UNKNOWN":          image.ErrBlobUnknown,
	"BLOB_UPLOAD_UNKNOWN":   image.ErrUploadUnknown,
	"DIGEST_INVALID":        image.ErrDigestInvalid,
	"RANGE_INVALID":         image.ErrRangeInvalid,
	"MANIFEST_BLOB_UNKNOWN": image.ErrReferenceMissing,
	"UNSUPPORTED":           image.ErrUnsupported,
}

// answerError turns an answer that is no success into an error. missing is what
// a bare 404 means for the operation; nil when it means nothing in particular.
// Refusals, limits and failures are never read as "not there": what could not be
// looked up is not absent.
func (r *Registry) answerError(resp *http.Response, missing error) error {
	raw, err := readAll(resp.Body, maxErrorAnswer)
	if err != nil {
		raw = nil // the status says enough
	}
	code, message := parseErrors(raw)
	answer := &image.UpstreamError{
		Registry:   r.name,
		Status:     resp.StatusCode,
		Code:       code,
		Message:    message,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
		RateLimit:  rateLimit(resp.Header),
	}
	switch resp.StatusCode {
	case http.StatusNotFound:
		if codes[code] != nil && codes[code] != image.ErrUnsupported {
			return fmt.Errorf("%w: %w", codes[code], answer)
		}
		if missing != nil {
			return fmt.Errorf("%w: %w", missing, answer)
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %w", image.ErrRangeInvalid, answer)
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return fmt.Errorf("%w: %w", image.ErrUnsupported, answer)
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusConflict:
		if codes[code] != nil {
			return fmt.Errorf("%w: %w", codes[code], answer)
		}
	}
	return answer
}

// parseErrors reads the code and the words of an error answer. Of several
// errors, the first that has a meaning here counts. Docker Hub's limits come as
// a bare message; whatever is no JSON is not repeated.
func parseErrors(raw []byte) (code, message string) {
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Message string `json:"message"`
		Details string `json:"details"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		return "", ""
	}
	message = doc.Message
	if message == "" {
		message = doc.Details
	}
	for i, e := range doc.Errors {
		known := codes[e.Code] != nil && codes[code] == nil
		if i == 0 || known {
			code, message = e.Code, e.Message
		}
	}
	return clean(code, 64), clean(message, maxErrorMessage)
}

// clean makes foreign text fit for one line of a log.
func clean(s string, limit int) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return strings.TrimSpace(s)
}

// rateLimit keeps the headers that tell of limits.
func rateLimit(h http.Header) map[string]string {
	var kept map[string]string
	for _, name := range rateLimits {
		if value := clean(h.Get(name), maxRateLimit); value != "" {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[name] = value
		}
	}
	return kept
}

// retryAfter reads seconds or a date; 0 for none.
func retryAfter(s string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, maxRetryAfter))
}
