package layer

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Formats of a blob, as inventory.Report names them.
const (
	formatTar   = "tar"
	formatGzip  = "tar+gzip"
	formatZstd  = "tar+zstd"
	formatJSON  = "json"
	formatEmpty = "empty"
	formatOther = "other"
)

const sniffSize = 512 // one tar header

// sniff tells by the first bytes what a blob is.
func sniff(head []byte) string {
	switch {
	case len(head) == 0:
		return formatEmpty
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return formatGzip
	case isZstd(head):
		return formatZstd
	case looksLikeTar(head):
		return formatTar
	}
	if first := bytes.TrimLeft(head, "\xef\xbb\xbf \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		return formatJSON
	}
	return formatOther
}

// isZstd: a frame, or a skippable one, with which zstd:chunked may begin.
// RFC 8878, section 3.1.
func isZstd(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	return bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) || head[0]&0xf0 == 0x50 && bytes.HasPrefix(head[1:], []byte{0x2a, 0x4d, 0x18})
}

// looksLikeTar: a header with the magic of POSIX or GNU, the zeros that end an
// archive, or whatever else archive/tar takes for a header, odd checksums and
// all: container runtimes read layers with it. A header that claims to be tar
// and is wrong is for the walk to complain about.
func looksLikeTar(head []byte) bool {
	if len(head) < sniffSize {
		return false
	}
	if string(head[257:262]) == "ustar" {
		return true
	}
	_, err := tar.NewReader(bytes.NewReader(head[:sniffSize])).Next()
	return !errors.Is(err, tar.ErrHeader)
}

// maxDocument bounds a JSON document that stands where a layer could, in bytes.
const maxDocument = 16 << 20

// isDocument reads in to its end, and reports whether it is one JSON text and
// nothing else: what only begins like one could be anything to a runtime.
func isDocument(in io.Reader) (bool, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxDocument+1))
	if err != nil {
		return false, fmt.Errorf("read document: %w", err)
	}
	return len(text) <= maxDocument && json.Valid(text), nil
}
