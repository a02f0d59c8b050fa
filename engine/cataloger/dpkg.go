package cataloger

import (
	"io"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// isDpkgStatus: dpkg's status file wherever its admin directory is, and the
// control files of distroless images.
func isDpkgStatus(p string) bool {
	return isAt(p, "dpkg/status") || isIn(p, "dpkg/status.d") && !strings.HasSuffix(p, ".md5sums")
}

func isDpkgList(p string) bool {
	return strings.HasSuffix(p, ".list") && isIn(p, "dpkg/info")
}

func isOpkgStatus(p string) bool { return isAt(p, "opkg/status") }

func isOpkgList(p string) bool {
	return strings.HasSuffix(p, ".list") && isIn(p, "opkg/info")
}

func readDpkgStatus(r io.Reader, out *Result) {
	out.database(inventory.TypeDeb)
	defer out.close("dpkg-records")
	readStatus(r, inventory.TypeDeb, out)
}

// readOpkgStatus reads what OpenWrt's package manager keeps in dpkg's form.
func readOpkgStatus(r io.Reader, out *Result) {
	out.database(inventory.TypeOpkg)
	defer out.close("opkg-records")
	readStatus(r, inventory.TypeOpkg, out)
}

// readStatus reads the paragraphs of a status file.
// https://www.debian.org/doc/debian-policy/ch-controlfields.html
func readStatus(r io.Reader, kind string, out *Result) {
	fields := map[string]string{}
	in := newLines(r)
	for more := true; more; {
		more = in.next()
		if !more || strings.TrimSpace(in.text) == "" {
			if len(fields) > 0 && !addDeb(fields, kind, out) {
				return
			}
			clear(fields)
			continue
		}
		if in.cut {
			out.bad("a line is too long")
		}
		if in.text[0] == ' ' || in.text[0] == '\t' {
			continue // of a folded field; none of those is read
		}
		name, value, ok := strings.Cut(in.text, ":")
		if !ok {
			out.bad("a line is no field")
			continue
		}
		if name = strings.ToLower(name); isDebField[name] {
			fields[name] = strings.TrimSpace(value)
		}
	}
}

var isDebField = map[string]bool{"package": true, "version": true, "status": true, "architecture": true, "source": true, "license": true}

func addDeb(fields map[string]string, kind string, out *Result) bool {
	if fields["package"] == "" || fields["version"] == "" {
		if !isAbsent(fields["status"]) {
			out.bad("a paragraph has no Package or no Version")
		}
		return true
	}
	if isAbsent(fields["status"]) {
		return true
	}
	p := inventory.Package{Type: kind, Name: fields["package"], Version: fields["version"], Arch: fields["architecture"]}
	if kind == inventory.TypeOpkg {
		p.License = fields["license"]
	}
	source, version, _ := strings.Cut(fields["source"], "(")
	p.Source = strings.TrimSpace(source)
	p.SourceVersion = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(version), ")"))
	return out.add(p)
}

// isAbsent reports whether the third word of Status says that no file of the
// package is there. Any other state, or none, leaves files on the disk.
// dpkg(1), "Package states".
func isAbsent(status string) bool {
	words := strings.Fields(status)
	if len(words) < 3 {
		return false
	}
	return words[2] == "not-installed" || words[2] == "config-files"
}

// readDpkgList reads the list of one package's files, opkg's too: there, mode
// and link target follow a tab.
func readDpkgList(r io.Reader, out *Result) {
	name := strings.TrimSuffix(path.Base(out.Path), ".list")
	name, _, _ = strings.Cut(name, ":")
	for in := newLines(r); in.next(); {
		file, _, _ := strings.Cut(in.text, "\t")
		out.addOwned(name, strings.TrimPrefix(file, "/"))
	}
}
