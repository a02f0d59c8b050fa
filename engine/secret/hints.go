package secret

import "bytes"

// Some of gitleaks' expressions begin with something common, and what is special
// about them stands far behind it. These are looks ahead that spare the
// expression.

// beginnings are conditions on what follows a keyword.
var beginnings = map[string]func(text []byte, stop int) bool{
	"private-key": mayBeKey,
}

// options are what must stand in a window, behind a blank: one of these.
var options = map[string][]string{
	"curl-auth-header": {"-H", "--header"},
	"curl-auth-user":   {"-u", "--user"},
}

// longestLabel is how much may stand between "-----BEGIN" and "-----", in bytes.
const longestLabel = 120

// mayBeKey reports whether "-----BEGIN" goes on as the first line of a private key.
func mayBeKey(text []byte, stop int) bool {
	label := text[stop:min(stop+longestLabel, len(text))]
	if end := bytes.IndexAny(label, "\r\n"); end >= 0 {
		label = label[:end]
	}
	for ; len(label) >= len("private"); label = label[1:] {
		if lower(label[0]) == 'p' && bytes.EqualFold(label[:len("private")], []byte("private")) {
			return true
		}
	}
	return false
}

// hasOption reports whether one of the options stands in a text, or whether none
// is wanted.
func hasOption(text []byte, wanted []string) bool {
	for _, option := range wanted {
		for at := 0; ; at++ {
			next := bytes.Index(text[at:], []byte(option))
			if next < 0 {
				break
			}
			if at += next; at > 0 && text[at-1] <= ' ' {
				return true
			}
		}
	}
	return len(wanted) == 0
}
