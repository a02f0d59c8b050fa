package cataloger

import (
	"io"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isApkInstalled(p string) bool { return isAt(p, "apk/db/installed") }

// readApkInstalled reads the installed database: records of lines "X:value",
// with the package's directories (F) and the files in them (R).
// https://wiki.alpinelinux.org/wiki/Apk_spec
func readApkInstalled(r io.Reader, out *Result) {
	out.database(inventory.TypeApk)
	defer out.close("apk-records")
	var record apkRecord
	in := newLines(r)
	for more := true; more; {
		more = in.next()
		if !more || in.text == "" {
			if !record.add(out) {
				return
			}
			record = apkRecord{}
			continue
		}
		if in.cut {
			out.bad("a line is too long")
		}
		if len(in.text) < 2 || in.text[1] != ':' {
			out.bad("a line is no field")
			continue
		}
		record.field(in.text[0], in.text[2:], out)
	}
}

type apkRecord struct {
	seen bool
	p    inventory.Package
	dir  string
}

func (a *apkRecord) field(name byte, value string, out *Result) {
	a.seen = true
	switch name {
	case 'P':
		a.p.Name = value
	case 'V':
		a.p.Version = value
	case 'A':
		a.p.Arch = value
	case 'L':
		a.p.License = value
	case 'o':
		a.p.Source = value
	case 'F':
		a.dir = strings.Trim(value, "/") + "/"
	case 'R':
		out.addOwned(a.p.Name, strings.TrimPrefix(a.dir+value, "/"))
	}
}

func (a *apkRecord) add(out *Result) bool {
	if !a.seen {
		return true
	}
	if a.p.Name == "" || a.p.Version == "" {
		out.bad("a record has no name or no version")
		return true
	}
	a.p.Type = inventory.TypeApk
	return out.add(a.p)
}
