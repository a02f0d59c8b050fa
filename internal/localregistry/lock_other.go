//go:build !unix

package localregistry

import (
	"io"
	"os"
	"path/filepath"
)

// lockDir opens the lock file; where the system has no flock, keeping a second
// process away is left to the operator.
func lockDir(dir string) (io.Closer, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
