package cataloger

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
)

var errNotYaml = errors.New("a line is no key of YAML")

// yamlEntries reads the entries of the section "packages:" as tools write it:
// keys indented by two blanks, their simple fields by four. It is no whole
// YAML, in which a few bytes can stand for a million values.
func yamlEntries(raw []byte, told func(key string, fields map[string]string)) error {
	var err error
	inside, key, fields := false, "", map[string]string{}
	flush := func() {
		if key != "" {
			told(key, fields)
		}
		key = ""
		clear(fields)
	}
	for in := newLines(bytes.NewReader(raw)); in.next(); {
		line := strings.TrimRight(in.text, " ")
		text := strings.TrimLeft(line, " ")
		indent := len(line) - len(text)
		switch {
		case text == "" || text[0] == '#':
		case indent == 0:
			flush()
			inside = text == "packages:"
			if text != "---" && !strings.Contains(text, ":") {
				err = errNotYaml
			}
		case !inside:
		case indent == 2:
			flush()
			key = yamlScalar(strings.TrimSuffix(yamlKey(text), ":"))
		case indent == 4 && key != "":
			name, value, _ := strings.Cut(text, ":")
			if isLockField[name] {
				fields[name] = yamlScalar(strings.TrimSpace(value))
			}
		}
	}
	flush()
	return err
}

// yamlKey cuts off an empty map that stands behind a key.
func yamlKey(text string) string { return strings.TrimSuffix(text, " {}") }

func yamlScalar(s string) string {
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// pnpmKey is "/name/1.2.3_peers" up to version 5 of the format,
// "/name@1.2.3(peers)" in 6, without the slash since 9.
// https://github.com/pnpm/spec/tree/master/lockfile
var pnpmKey = regexp.MustCompile(`^/?((?:@[^/@]+/)?[^/@]+)[/@]([0-9][^(_/:]*)(?:[(_].*)?$`)

// readPnpmLock leaves out directories and the repositories without a version.
func readPnpmLock(raw []byte, l *lock) error {
	return yamlEntries(raw, func(key string, fields map[string]string) {
		name, where := splitAt(key)
		host, rest, _ := strings.Cut(key, "/")
		match := pnpmKey.FindStringSubmatch(key)
		if match == nil && strings.Contains(host, ".") { // another registry, or a repository
			match = pnpmKey.FindStringSubmatch(rest)
		}
		switch {
		case fields["name"] != "" && fields["version"] != "":
			l.add(fields["name"], fields["version"])
		case match != nil:
			l.add(match[1], match[2])
		case strings.Contains(where, "://") && fields["version"] != "":
			l.add(name, fields["version"])
		case !strings.Contains(key, ":") && !strings.Contains(host, "."):
			l.out.bad("a key tells no name and version")
		}
	})
}

// readPubspecLock leaves out what comes with the SDK or from a directory.
// https://dart.dev/tools/pub/glossary#lockfile
func readPubspecLock(raw []byte, l *lock) error {
	return yamlEntries(raw, func(key string, fields map[string]string) {
		if fields["source"] != "sdk" && fields["source"] != "path" {
			l.add(key, fields["version"])
		}
	})
}
