package advisory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// OpenNewest opens the newest index file of dir that is whole in its head, to be
// read as a file; fs.ErrNotExist when there is none. The file stays readable
// when it is removed meanwhile.
func OpenNewest(dir string) (*os.File, Revision, error) {
	files, err := indexFiles(dir)
	if err != nil {
		return nil, Revision{}, err
	}
	errs := []error{}
	for _, file := range files {
		ix, err := Open(file.path)
		if err == nil {
			rev := ix.Revision()
			var f *os.File
			if err = ix.Close(); err == nil {
				f, err = os.Open(file.path)
			}
			if err == nil {
				return f, rev, nil
			}
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, Revision{}, fmt.Errorf("open vulnerability index: %w", os.ErrNotExist)
	}
	return nil, Revision{}, errors.Join(errs...)
}

// CreateTemp makes a file in dir for an index that comes from elsewhere; the
// next builder removes it if it is left behind.
func CreateTemp(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("make vulnerability index: %w", err)
	}
	return f, nil
}

// Check reads the whole index and holds it to its checksums.
func (ix *Index) Check() error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.file == nil {
		return ErrClosed
	}
	return ix.touch(headerSize, ix.header.sumsAt)
}

// Place checks a whole index file and puts it into dir, by one rename, under a
// sequence of this installation. If the newest file there has the same content,
// that one is kept and returned. The file at temp is gone afterwards unless
// there is an error.
func Place(dir, temp string, sequence uint64) (path string, rev Revision, err error) {
	ix, err := Open(temp)
	if err != nil {
		return "", rev, err
	}
	h := ix.header
	if err := errors.Join(ix.Check(), ix.Close()); err != nil {
		return "", rev, fmt.Errorf("check %s: %w", temp, err)
	}
	h.sequence = sequence
	if same, rev, ok := newestEqual(dir, h); ok {
		if err := os.Remove(temp); err != nil {
			return "", rev, fmt.Errorf("remove vulnerability index: %w", err)
		}
		return same, rev, nil
	}
	f, err := os.OpenFile(temp, os.O_WRONLY, 0)
	if err != nil {
		return "", rev, fmt.Errorf("write vulnerability index: %w", err)
	}
	_, err = f.WriteAt(h.encode(), 0)
	path = filepath.Join(dir, h.fileName())
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return "", rev, fmt.Errorf("write vulnerability index: %w", err)
	}
	return path, h.revision(), syncDir(dir)
}
