package cataloger

import (
	"io"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isUnread(p string) bool { return unreadKind(p) != "" }

// readUnread records a database or archive that this version knows and does
// not read, so that the squash can say so.
func readUnread(_ io.Reader, out *Result) { out.database(unreadKind(out.Path)) }

func unreadKind(p string) string {
	base := path.Base(p)
	switch base {
	case "Packages", "Packages.db", "rpmdb.sqlite":
		if isAt(path.Dir(p), "rpm") {
			return inventory.DatabaseRPM
		}
	case "desc":
		if isUnder(p, "pacman/local") {
			return inventory.DatabasePacman
		}
	case "status":
		if isAt(p, "opkg/status") {
			return inventory.DatabaseOpkg
		}
	case "db.sqlite":
		if isAt(p, "nix/db/db.sqlite") {
			return inventory.DatabaseNix
		}
	case "PF":
		if isUnder(p, "var/db/pkg") {
			return inventory.DatabasePortage
		}
	case "installed.json":
		if isAt(p, "composer/installed.json") {
			return inventory.DatabaseComposer
		}
	}
	switch strings.ToLower(path.Ext(base)) {
	case ".jar", ".war", ".ear":
		return inventory.DatabaseJava
	case ".egg":
		return inventory.DatabaseEgg
	case ".gemspec":
		if isIn(p, "specifications") || isIn(p, "specifications/default") {
			return inventory.DatabaseGem
		}
	case ".json":
		if strings.HasSuffix(base, ".deps.json") {
			return inventory.DatabaseDotnet
		}
	}
	return ""
}
