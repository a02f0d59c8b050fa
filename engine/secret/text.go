package secret

import "bytes"

// IsText reports whether a file is one to look into, by its first bytes: what
// has no NUL and few other control characters. UTF-16 counts as binary.
func IsText(head []byte) bool {
	if len(head) == 0 || bytes.IndexByte(head, 0) >= 0 {
		return false
	}
	odd := 0
	for _, c := range head {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1b || c == 0x7f {
			odd++
		}
	}
	return odd*20 <= len(head)
}
