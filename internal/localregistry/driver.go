package localregistry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"
)

// durableDriver is distribution's filesystem driver, made durable. The driver
// syncs the bytes of a file before it is moved into place, but after the move
// not the directories that were made for it, and for blobs not even the
// directory that now holds it: a power cut could take back what was
// acknowledged. Here every move and every small write ends with a sync of the
// directories from the file up to the root.
type durableDriver struct {
	storagedriver.StorageDriver
	root string
}

func newDriver(root string) *durableDriver {
	return &durableDriver{
		StorageDriver: filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: 100}),
		root:          root,
	}
}

// PutContent replaces a small file. The bookkeeping of an upload is worth
// nothing before the upload is committed, so it is not synced further.
func (d *durableDriver) PutContent(ctx context.Context, name string, content []byte) error {
	if err := d.StorageDriver.PutContent(ctx, name, content); err != nil {
		return err
	}
	if strings.Contains(name, "/_uploads/") {
		return nil
	}
	return d.syncUp(name)
}

// Move puts a written file in its place.
func (d *durableDriver) Move(ctx context.Context, source, dest string) error {
	if err := d.StorageDriver.Move(ctx, source, dest); err != nil {
		return err
	}
	return d.syncUp(dest)
}

// touch makes the file look as if it had been written now. That is not synced:
// it matters to a request under way, which a power cut ends.
func (d *durableDriver) touch(name string) error {
	now := time.Now()
	return os.Chtimes(filepath.Join(d.root, filepath.FromSlash(name)), now, now)
}

// syncUp makes the entry of name durable, and those of all directories above it.
func (d *durableDriver) syncUp(name string) error { return d.syncFrom(path.Dir(name)) }

// syncFrom makes all entries of the folder durable, and those of all directories
// above it. A directory without changes costs next to nothing to sync.
func (d *durableDriver) syncFrom(folder string) error {
	for dir := filepath.Join(d.root, filepath.FromSlash(folder)); ; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("sync %s: %w", folder, err)
		}
		if len(dir) <= len(d.root) {
			return nil
		}
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// The layout on disk is the one that distribution documents and has kept since
// its version 2 (registry/storage/paths.go there). The library keeps its path
// functions to itself; these are needed to read a blob without its 4 MiB buffer
// for each reader, and to drop uploads.
const layoutRoot = "/docker/registry/v2"

func blobPath(d digest.Digest) string {
	hex := d.Encoded()
	return path.Join(layoutRoot, "blobs", d.Algorithm().String(), hex[:2], hex, "data")
}

func repositoryPath(repo string, parts ...string) string {
	return path.Join(append([]string{layoutRoot, "repositories", repo}, parts...)...)
}
