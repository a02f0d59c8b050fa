package cataloger

import (
	"io"

	"github.com/pratique/pratique/engine/inventory"
)

func isUnread(p string) bool { return isAt(p, "nix/db/db.sqlite") }

// readUnread records a database that this version knows and does not read, so
// that the squash can say so.
func readUnread(_ io.Reader, out *Result) { out.database(inventory.DatabaseNix) }
