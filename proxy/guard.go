package proxy

import (
	"net/http"
	"strings"

	"github.com/pratique/pratique/internal/serve"
)

// guard turns away requests that no registry client sends: paths with escapes
// in them (an encoded slash is read differently by different servers) and, on
// an open loopback, what a browser or another proxy brings from elsewhere.
func (p *Proxy) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve.Note(r.Context(), "turned away")
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		switch {
		case strings.Contains(r.URL.EscapedPath(), "%"), strings.Contains(r.URL.Path, "//"), dotted(r.URL.Path):
			p.answerError(w, r, refuse(http.StatusBadRequest, "NAME_INVALID", "the path has escapes, empty or dot segments: no name or reference has any"))
		case p.OpenLoopback && p.Auth.Open() && !serve.LocalRequest(r):
			p.answerError(w, r, refuse(http.StatusForbidden, "DENIED", "pratique: open to this machine alone: the request names another host (Host, Origin or Forwarded header)"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func dotted(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
