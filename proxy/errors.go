package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// failure is an answer that says no. Its text is written for the client.
type failure struct {
	status  int
	code    string // of the distribution specification, section "Error Codes"
	message string
	detail  any
	retry   time.Duration
	audit   string            // kind of the entry in the audit trail; "" for none
	digest  digest.Digest     // of what was refused, for the trail
	headers map[string]string // that the client is to see besides
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func refuse(status int, code, message string) error {
	return &failure{status: status, code: code, message: message}
}

// challenge sends the client to the token service. known is true when it came
// with a token that does not allow what it wants.
type challenge struct {
	scopes []auth.Scope
	known  bool
}

func (*challenge) Error() string { return "authentication required" }

// pendingRetry is what a client is told to wait for an analysis.
const pendingRetry = 5 * time.Second

// denied turns a decision of the gate into an answer. 403 and DENIED, because
// docker loses the text of a 5xx and containerd that of anything but 403; the
// message is complete by itself, because few clients show the detail.
func denied(d gate.Decision, kind string, content digest.Digest) error {
	f := &failure{status: http.StatusForbidden, code: "DENIED", message: "pratique: " + d.Message, detail: detail(d.Verdict), audit: kind, digest: content}
	if d.Outcome == gate.Pending {
		f.status, f.code, f.retry, f.audit = http.StatusTooManyRequests, "TOOMANYREQUESTS", pendingRetry, ""
	}
	return f
}

// detail is the refusal for machines.
func detail(v *policy.Verdict) any {
	if v == nil {
		return nil
	}
	rows := make([]policy.Row, 0, len(v.Rows))
	for _, r := range v.Rows {
		if r.Action == policy.Stop && len(rows) < 50 {
			rows = append(rows, r)
		}
	}
	return map[string]any{"policy": v.BundleID, "action": v.Action, "reason": v.Reason, "digest": v.Manifest, "reasons": rows, "gaps": (v.Gaps)[:min(len(v.Gaps), 50)]}
}

// table is what errors from inside become for a client. Nothing else of their
// text leaves the process.
var table = []struct {
	err     error
	status  int
	code    string
	message string
}{
	{image.ErrNameUnknown, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry"},
	{image.ErrManifestUnknown, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown"},
	{image.ErrBlobUnknown, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry"},
	{image.ErrUploadUnknown, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry: start it again"},
	{image.ErrDigestInvalid, http.StatusBadRequest, "DIGEST_INVALID", "the content is not what the digest says"},
	{image.ErrRangeInvalid, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "the chunk does not begin where the upload is"},
	{image.ErrReferenceMissing, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", "the manifest names content that is not in the repository: push it first"},
	{image.ErrUnsupported, http.StatusMethodNotAllowed, "UNSUPPORTED", "the registry behind does not support this"},
}

// tellable are errors whose own words are for the client: they speak of what it
// sent.
var tellable = []struct {
	err    error
	status int
	code   string
}{
	{image.ErrManifestInvalid, http.StatusBadRequest, "MANIFEST_INVALID"},
	{image.ErrConfigInvalid, http.StatusBadRequest, "MANIFEST_INVALID"},
}

// noteRefusal keeps refusals in the audit trail.
func (p *Proxy) noteRefusal(ctx context.Context, q request, err error) error {
	f := translate(err)
	if f.audit == "" {
		return nil
	}
	reference := q.vars["reference"]
	if reference == "" {
		reference = q.vars["digest"]
	}
	return p.note(ctx, q, f.audit, reference, f.digest, f.message)
}

// note keeps an entry in the audit trail.
func (p *Proxy) note(ctx context.Context, q request, kind, reference string, d digest.Digest, message string) error {
	return p.Audit.Add(ctx, catalog.AuditEntry{
		Kind: kind, Principal: q.caller.Name, Client: q.client, Repository: q.target.Name(), Reference: reference, Digest: d.String(), Message: brief(message),
	})
}

// answerError writes any error as the distribution specification wants it.
func (p *Proxy) answerError(w http.ResponseWriter, r *http.Request, err error) {
	var c *challenge
	if errors.As(err, &c) {
		p.answerChallenge(w, r, c)
		return
	}
	f := translate(err)
	f.message = brief(f.message)
	attrs := []slog.Attr{slog.String("code", f.code), slog.String("reason", f.message)}
	if f.status >= 500 {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	serve.Note(r.Context(), "", attrs...)
	if f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retry.Seconds()+0.5)))
	}
	for name, value := range f.headers {
		w.Header().Set(name, value)
	}
	if f.digest != "" { // what a tag stands for is no secret, and admission has to know it
		w.Header().Set("Docker-Content-Digest", f.digest.String())
	}
	writeErrors(w, f)
}

// Limited answers a request that a limit of the door turned away.
func Limited(w http.ResponseWriter, _ *http.Request, _ time.Duration) {
	writeErrors(w, &failure{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", message: "too many requests or connections from this address: come back later (registry.limits)"})
}

// maxMessage bounds what a client is told in one message, in bytes.
const maxMessage = 4 << 10

// brief cuts a message that quotes too much of what somebody sent.
func brief(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + " ..."
}

func translate(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var immutable *gate.ImmutableError
	if errors.As(err, &immutable) {
		return &failure{status: http.StatusForbidden, code: "DENIED", message: "pratique: " + immutable.Error(), audit: audit.PushRefused, digest: immutable.Manifest}
	}
	if errors.Is(err, image.ErrQuotaExceeded) {
		return &failure{status: http.StatusForbidden, code: "DENIED", message: "pratique: the repository is full: delete what is not needed, or ask for a larger quota (storage.quotas)", audit: audit.PushRefused}
	}
	for _, t := range tellable {
		if errors.Is(err, t.err) {
			return &failure{status: t.status, code: t.code, message: err.Error()}
		}
	}
	for _, t := range table {
		if errors.Is(err, t.err) {
			return &failure{status: t.status, code: t.code, message: t.message}
		}
	}
	var up *image.UpstreamError
	if errors.As(err, &up) {
		return fromUpstream(up)
	}
	return &failure{status: http.StatusInternalServerError, code: "UNKNOWN", message: "something went wrong in pratique; its log says what"}
}

// fromUpstream passes on what the registry behind said, as far as it is about
// the request; its 401 and 403 are about our credentials, not the client's.
func fromUpstream(up *image.UpstreamError) *failure {
	f := &failure{status: http.StatusBadGateway, code: "UNKNOWN"}
	switch {
	case up.Status == 0:
		f.message = fmt.Sprintf("the upstream registry %s cannot be reached", up.Registry)
	case up.Status == http.StatusTooManyRequests:
		f.status, f.code, f.retry = up.Status, "TOOMANYREQUESTS", cmp.Or(up.RetryAfter, pendingRetry)
		f.message, f.headers = fmt.Sprintf("the upstream registry %s asks to come back later", up.Registry), up.RateLimit
	case up.Status == http.StatusForbidden && up.Code == "DENIED" && strings.HasPrefix(up.Message, "pratique: "):
		f.status, f.code, f.message = http.StatusForbidden, "DENIED", up.Message // another Pratique has said why
	case up.Status == http.StatusUnauthorized || up.Status == http.StatusForbidden:
		f.status, f.code = http.StatusForbidden, "DENIED"
		f.message = fmt.Sprintf("pratique: the upstream registry %s refused the credentials that pratique has for it, or has no such repository", up.Registry)
	default:
		f.message = fmt.Sprintf("the upstream registry %s answered HTTP %d", up.Registry, up.Status)
	}
	return f
}

func (p *Proxy) answerChallenge(w http.ResponseWriter, r *http.Request, c *challenge) {
	h := p.Auth.Challenge(r, c.scopes...)
	if c.known {
		h += `,error="insufficient_scope"`
	}
	w.Header().Set("WWW-Authenticate", h)
	writeErrors(w, &failure{status: http.StatusUnauthorized, code: "UNAUTHORIZED", message: "authentication required: ask the token service for what you want to do"})
}

type wireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

func writeErrors(w http.ResponseWriter, f *failure) {
	writeJSON(w, f.status, "application/json", map[string][]wireError{"errors": {{f.code, f.message, f.detail}}})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, doc any) {
	body, err := json.Marshal(doc)
	if err != nil { // of a type of ours: cannot be
		http.Error(w, "answer cannot be written", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A client that has gone away needs no error.
	_, _ = w.Write(body)
}
