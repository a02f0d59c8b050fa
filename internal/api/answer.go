package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
)

// refusal is an error that is written for the client.
type refusal struct {
	status  int
	message string
	detail  map[string]any
}

func (e *refusal) Error() string { return e.message }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, message: fmt.Sprintf(format, args...)}
}

// explained is the one table from errors to answers. An error that is not in it
// is ours alone: the client learns that something failed, the log what.
func explained(err error) *refusal {
	var told *refusal
	var invalid *bundle.ValidationError
	var upstream *image.UpstreamError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &invalid):
		return &refusal{http.StatusBadRequest, "Bundle failed validation", map[string]any{"validation_details": invalid.Problems}}
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", large.Limit)
	case errors.Is(err, catalog.ErrBundleUnknown):
		return refuse(http.StatusNotFound, "there is no policy with this id")
	case errors.Is(err, image.ErrInvalidReference):
		return refuse(http.StatusBadRequest, "this is no image reference: want name:tag or name@sha256:...")
	case errors.Is(err, image.ErrManifestUnknown):
		return coded(http.StatusNotFound, "REGISTRY_IMAGE_NOT_FOUND", "image data not found: no such image here, or no such tag in the registry")
	case errors.Is(err, image.ErrNameUnknown):
		return coded(http.StatusNotFound, "REGISTRY_IMAGE_NOT_FOUND", "there is no repository of this name: a name begins with the prefix of an upstream, or with none for the default one")
	case errors.Is(err, image.ErrManifestInvalid):
		return refuse(http.StatusBadGateway, "what the registry has under this name is no manifest that can be judged")
	case errors.Is(err, gate.ErrNoData):
		return refuse(http.StatusServiceUnavailable, "%v", err)
	case errors.As(err, &upstream):
		return coded(http.StatusBadGateway, "REGISTRY_NOT_ACCESSIBLE", "the upstream registry does not answer as it should; the log of pratique says more")
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusGatewayTimeout, "this took too long; try again in a moment")
	}
	return nil
}

// coded is a refusal with one of Anchore's error codes.
func coded(status int, code, message string) *refusal {
	return &refusal{status, message, map[string]any{"error_codes": []string{code}}}
}

// answerError answers in Anchore's shape, or with a page for a browser.
func (a *API) answerError(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == context.Canceled {
		return // nobody listens
	}
	told := explained(err)
	if told == nil {
		a.Log.Error("request failed", "path", r.URL.Path, "error", err)
		told = refuse(http.StatusInternalServerError, "something went wrong inside; the log of pratique says what")
	}
	if retry, ok := told.detail["retry_after"].(string); ok {
		w.Header().Set("Retry-After", retry)
	}
	if told.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="pratique", charset="UTF-8"`)
	}
	if acceptsHTML(r) && !strings.HasPrefix(r.URL.Path, "/v1") {
		a.writePage(w, told.status, "problem", problemPage{Title: http.StatusText(told.status), Message: told.message})
		return
	}
	detail := told.detail
	if detail == nil {
		detail = map[string]any{}
	}
	if detail["error_codes"] == nil {
		detail["error_codes"] = []string{}
	}
	writeJSON(w, told.status, map[string]any{"message": told.message, "httpcode": told.status, "detail": detail})
}

// Limited answers a request that a limit of the door turned away.
func Limited(w http.ResponseWriter, _ *http.Request, _ time.Duration) {
	const status = http.StatusTooManyRequests
	writeJSON(w, status, map[string]any{"message": "too many requests or connections from this address: come back later (api.limits)", "httpcode": status, "detail": map[string]any{"error_codes": []string{}}})
}

// writeJSON answers with a document. A client that has gone away is no error.
func writeJSON(w http.ResponseWriter, status int, doc any) {
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"message": "the answer cannot be written as JSON", "httpcode": 500, "detail": {}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n'))
}

// acceptsHTML reports whether a browser asks.
func acceptsHTML(r *http.Request) bool {
	return r.URL.Query().Get("format") != "json" && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// wantsJSON reports whether a client asks for JSON in so many words.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return r.URL.Query().Get("format") == "json" || (strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html"))
}

// flag reads a boolean of the query as Anchore's clients write it: "True".
func flag(r *http.Request, name string, fallback bool) bool {
	switch strings.ToLower(r.URL.Query().Get(name)) {
	case "true", "1", "yes":
		return true
	case "false", "0", "no":
		return false
	}
	return fallback
}

// parseDigest reads the digest of a path.
func parseDigest(text string) (digest.Digest, error) {
	d, err := digest.Parse(text)
	if err != nil || d.Algorithm() != digest.SHA256 {
		return "", refuse(http.StatusBadRequest, "this is no digest: want sha256: and 64 hexadecimal digits")
	}
	return d, nil
}
