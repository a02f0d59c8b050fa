package cataloger

import (
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// isGemspec: RubyGems writes one specification for each gem it installs, and
// Ruby's build one for each gem that comes with Ruby.
func isGemspec(p string) bool {
	return strings.HasSuffix(p, ".gemspec") && (isIn(p, "specifications") || isIn(p, "specifications/default"))
}

// Lines of a specification as Gem::Specification#to_ruby writes them:
//
//	s.name = "rack".freeze
//	s.version = Gem::Version.new("2.2.4")
//	s.licenses = ["MIT".freeze, "Ruby".freeze]
var (
	gemName     = regexp.MustCompile(`^\s*\w+\.name\s*=\s*["']([^"'#]+)["']`)
	gemVersion  = regexp.MustCompile(`^\s*\w+\.version\s*=\s*(?:Gem::Version\.new[ (]\s*)?["']([^"'#]+)["']`)
	gemLicenses = regexp.MustCompile(`^\s*\w+\.licenses?\s*=\s*(\[.*\]|["'][^"']*["'])`)
	gemString   = regexp.MustCompile(`["']([^"']+)["']`)
	// gemFile is name-version, with a platform or not. The version has a dot,
	// which neither a name's last part nor a platform has; or there is none.
	gemFile  = regexp.MustCompile(`^(.+?)-([0-9]+(?:\.[0-9A-Za-z]+)+)(?:-.*)?$`)
	gemShort = regexp.MustCompile(`^(.+?)-([0-9]+)(?:-.*)?$`)
)

// readGemspec lists the gem of a specification. That is a program in Ruby, of
// which the usual lines are understood; the file is named by RubyGems itself,
// which finds gems by it, so its name decides.
func readGemspec(r io.Reader, out *Result) {
	p := inventory.Package{Type: inventory.TypeGem}
	for in := newLines(r); in.next(); {
		if p.Name == "" {
			p.Name = first(gemName, in.text)
		}
		if p.Version == "" {
			p.Version = first(gemVersion, in.text)
		}
		if p.License == "" {
			p.License = gemLicense(in.text)
		}
	}
	file := strings.TrimSuffix(path.Base(out.Path), ".gemspec")
	rest, ok := strings.CutPrefix(file, p.Name+"-"+p.Version)
	if p.Name != "" && p.Version != "" && ok && (rest == "" || rest[0] == '-') {
		out.add(p)
		return
	}
	name, version := gemOfFile(file)
	if name == "" {
		out.gap(inventory.Partial, "gem-specification", "neither the specification nor its file name tell the name and version of a gem")
		return
	}
	out.gap(inventory.Partial, "gem-specification", "the specification of a gem could not be read or names another than its file; the file's name was believed")
	p.Name, p.Version = name, version
	out.add(p)
}

func gemOfFile(file string) (name, version string) {
	if len(file) > maxField {
		return "", ""
	}
	match := gemFile.FindStringSubmatch(file)
	if match == nil {
		match = gemShort.FindStringSubmatch(file)
	}
	if match == nil {
		return "", ""
	}
	return match[1], match[2]
}

func gemLicense(line string) string {
	list := first(gemLicenses, line)
	if list == "" {
		return ""
	}
	var names []string
	for _, match := range gemString.FindAllStringSubmatch(list, maxLicenses) {
		names = append(names, match[1])
	}
	return anyOf(names)
}

// first gives the first group of a match, or "".
func first(re *regexp.Regexp, line string) string {
	if match := re.FindStringSubmatch(line); match != nil {
		return match[1]
	}
	return ""
}
