package cataloger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// readRequirements takes the requirements that name one version.
// https://pip.pypa.io/en/stable/reference/requirements-file-format/
func readRequirements(raw []byte, l *lock) error {
	return eachMatch(requirement, raw, l)
}

var requirement = regexp.MustCompile(`^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*={2,3}\s*([A-Za-z0-9][A-Za-z0-9.!+_-]*)(?:\s*[;#\\].*|\s+-.*|\s*)$`)

// readGradleLock: "group:artifact:version=configurations".
// https://docs.gradle.org/current/userguide/dependency_locking.html
func readGradleLock(raw []byte, l *lock) error { return eachMatch(gradleLocked, raw, l) }

var gradleLocked = regexp.MustCompile(`^([^#:=\s]+:[^:=\s]+):([^:=\s]+)=`)

// readMixLock: `"name": {:hex, :package, "1.2.3", ...`.
func readMixLock(raw []byte, l *lock) error {
	return cmp.Or(beginsWith("%{", raw), eachMatch(mixLocked, raw, l))
}

var mixLocked = regexp.MustCompile(`^\s*"[^"]+":\s*\{:hex,\s*:"?([^",\s]+)"?,\s*"([^"]+)"`)

// readStackLock: "hackage: name-1.2.3@sha256:...".
func readStackLock(raw []byte, l *lock) error { return eachMatch(stackLocked, raw, l) }

var stackLocked = regexp.MustCompile(`^[\s-]*hackage:\s*(\S+)-([0-9][0-9.]*)(?:@|\s*$)`)

// readCabalFreeze: "constraints: any.name ==1.2.3,".
func readCabalFreeze(raw []byte, l *lock) error { return eachMatch(cabalFrozen, raw, l) }

var cabalFrozen = regexp.MustCompile(`^\s*(?:constraints:)?\s*any\.(\S+)\s*==\s*([0-9][0-9.]*)\s*,?\s*$`)

// readBunLock: `"name": ["name@1.2.3", ...`.
func readBunLock(raw []byte, l *lock) error {
	return cmp.Or(beginsWith("{", raw), eachMatch(bunLocked, raw, l))
}

var bunLocked = regexp.MustCompile(`^\s*"[^"]+":\s*\["(@?[^"@]+)@(?:npm:)?([0-9][^":/@]*)"`)

// beginsWith complains about what is no lock file at all.
func beginsWith(open string, raw []byte) error {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && !bytes.HasPrefix(raw, []byte(open)) {
		return fmt.Errorf("it does not begin with %s", open)
	}
	return nil
}

// eachMatch adds the name and version of each line that matches.
func eachMatch(re *regexp.Regexp, raw []byte, l *lock) error {
	for in := newLines(bytes.NewReader(raw)); in.next(); {
		if match := re.FindStringSubmatch(in.text); match != nil {
			l.add(match[1], match[2])
		}
	}
	return nil
}

// readGemfileLock reads the specs of Bundler's sections, "    name (version)",
// but for those of the project's own directories.
func readGemfileLock(raw []byte, l *lock) error {
	section := ""
	for in := newLines(bytes.NewReader(raw)); in.next(); {
		if in.text != "" && in.text[0] != ' ' {
			section = in.text
		}
		match := gemLocked.FindStringSubmatch(in.text)
		if match != nil && (section == "GEM" || section == "GIT" || section == "PLUGIN SOURCE") {
			l.add(match[1], match[2])
		}
	}
	return nil
}

// gemLocked has exactly four blanks; a platform may follow the version.
var gemLocked = regexp.MustCompile(`^    ([^\s(]+) \(([^\s()-]+)(?:-[^\s()]+)?\)$`)

// readYarnLock reads both forms: version 1's own and Berry's, which is YAML.
// Entries begin with the ranges that they satisfy: `"a@^1.0.0", "a@^1.1.0":`.
func readYarnLock(raw []byte, l *lock) error {
	name := ""
	var err error
	for in := newLines(bytes.NewReader(raw)); in.next(); {
		line := in.text
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] != ' ' {
			name = yarnName(line)
			if !strings.HasSuffix(line, ":") {
				err = errNotYarn
			}
			continue
		}
		match := yarnVersion.FindStringSubmatch(line)
		if match != nil && name != "" {
			l.add(name, match[1])
			name = ""
		}
	}
	return err
}

var errNotYarn = errors.New("a line begins no entry")

var yarnVersion = regexp.MustCompile(`^  "?version"?:? "?([\w.+-]+)"?$`)

// yarnName gives the package of an entry; "" for what is no package, or one of
// a directory.
func yarnName(header string) string {
	range1, _, _ := strings.Cut(strings.TrimSuffix(header, ":"), ",")
	range1 = strings.Trim(range1, `"`)
	if range1 == "__metadata" {
		return ""
	}
	name, where := splitAt(range1)
	if rest, ok := strings.CutPrefix(where, "npm:"); ok {
		if alias, _ := splitAt(rest); alias != "" && strings.LastIndexByte(rest, '@') > 0 {
			return alias
		}
	}
	for _, local := range []string{"workspace:", "link:", "portal:", "file:"} {
		if strings.HasPrefix(where, local) {
			return ""
		}
	}
	return name
}

// splitAt cuts at the first "@" that is not the scope's.
func splitAt(s string) (name, rest string) {
	i := strings.IndexByte(s[min(len(s), 1):], '@')
	if i < 0 {
		return s, ""
	}
	return s[:i+1], s[i+2:]
}
