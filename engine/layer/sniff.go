package layer

import (
	"bytes"
	"strconv"
	"strings"
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

// looksLikeTar: a header with the magic of POSIX or GNU, or, for the older
// format, with a right checksum; or the zeros that end an archive. A header that
// claims to be tar and is wrong is for the walk to complain about.
func looksLikeTar(head []byte) bool {
	if len(head) < sniffSize {
		return false
	}
	if string(head[257:262]) == "ustar" {
		return true
	}
	sum, zero := int64(0), true
	for i, b := range head[:sniffSize] {
		zero = zero && b == 0
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int64(b)
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[148:156]), " \x00"), 8, 64)
	return zero || err == nil && sum == want
}
