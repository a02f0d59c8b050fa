package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// byteRange is the part of a blob that is sent.
type byteRange struct {
	start, length, size int64
	partial             bool
}

// wantedRange is the Range header, where it counts: of GET, and with If-Range
// only for the content that the client has a part of.
// https://www.rfc-editor.org/rfc/rfc9110#section-14.2 and 13.1.5
func wantedRange(r *http.Request, d digest.Digest) string {
	if held := r.Header.Get("If-Range"); r.Method != http.MethodGet || held != "" && held != `"`+d.String()+`"` {
		return ""
	}
	return r.Header.Get("Range")
}

var errRange = errors.New("range not satisfiable")

// parseRange reads a Range header with one byte range. Anything else (several
// ranges, other units, nonsense) counts as absent, as RFC 9110 section 14.2
// allows.
func parseRange(header string, size int64) (byteRange, error) {
	whole := byteRange{length: size, size: size}
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, ok2 := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || !ok2 || strings.Contains(spec, ",") {
		return whole, nil
	}
	if first == "" { // the last N bytes
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			return whole, nil
		}
		if n == 0 || size == 0 {
			return byteRange{}, errRange
		}
		n = min(n, size)
		return byteRange{size - n, n, size, true}, nil
	}
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 {
		return whole, nil
	}
	end := size - 1
	if last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < start {
			return whole, nil
		}
		end = min(n, end)
	}
	if start >= size {
		return byteRange{}, errRange
	}
	return byteRange{start, end - start + 1, size, true}, nil
}

func (b byteRange) writeHeader(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(b.length, 10))
	if !b.partial {
		w.WriteHeader(http.StatusOK)
		return
	}
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", b.start, b.start+b.length-1, b.size))
	w.WriteHeader(http.StatusPartialContent)
}
