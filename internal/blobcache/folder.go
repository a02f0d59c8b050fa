package blobcache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

const (
	noteSuffix = ".json"
	maxNote    = 64 << 10 // bytes; maxHomes names of at most some 600 bytes each
)

// folder is the cache on disk: <dir>/<algorithm>/<first two digits>/<digits> for
// a blob, the same with .json for the note beside it, <dir>/filling/* for what is
// not whole. A blob without a note that fits does not count.
type folder struct {
	dir string
	// create makes the file that a blob is filled into.
	create func(path string) (sink, error)
}

// sink is a file that is being written.
type sink interface {
	io.WriteCloser
	Sync() error
}

func newFolder(dir string) folder {
	return folder{dir: dir, create: func(path string) (sink, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}}
}

// note is what is kept beside a blob.
type note struct {
	Size  int64  `json:"size"`  // bytes of the blob
	Homes []home `json:"homes"` // the last learnt last
}

func parseNote(raw []byte) (note, error) {
	var n note
	if len(raw) > maxNote {
		return note{}, errors.New("note is too long")
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return note{}, err
	}
	if n.Size < 0 || len(n.Homes) > maxHomes {
		return note{}, errors.New("note says what none does")
	}
	return n, nil
}

func (f folder) path(d digest.Digest) string {
	return filepath.Join(f.dir, d.Algorithm().String(), d.Encoded()[:2], d.Encoded())
}

func (f folder) filling() string { return filepath.Join(f.dir, "filling") }

// open makes the folder, removes what is not whole, and returns the blobs, the
// least recently used first.
func (f folder) open() ([]*blob, error) {
	if err := os.RemoveAll(f.filling()); err != nil {
		return nil, fmt.Errorf("open blob cache: %w", err)
	}
	if err := os.MkdirAll(f.filling(), 0o700); err != nil {
		return nil, fmt.Errorf("open blob cache: %w", err)
	}
	var all []*blob
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		dirs, err := os.ReadDir(filepath.Join(f.dir, algorithm.String()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open blob cache: %w", err)
		}
		for _, dir := range dirs {
			if !dir.IsDir() || len(dir.Name()) != 2 {
				continue // nothing of the cache's
			}
			found, err := f.scan(algorithm, dir.Name())
			if err != nil {
				return nil, fmt.Errorf("open blob cache: %w", err)
			}
			all = append(all, found...)
		}
	}
	slices.SortFunc(all, func(a, b *blob) int { return a.touched.Compare(b.touched) })
	return all, nil
}

// scan reads one of the folders that hold blobs.
func (f folder) scan(algorithm digest.Algorithm, prefix string) ([]*blob, error) {
	dir := filepath.Join(f.dir, algorithm.String(), prefix)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []*blob
	whole := map[string]bool{}
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(algorithm, e.Name())
		if image.SupportedDigest(d) != nil || f.path(d) != filepath.Join(dir, e.Name()) {
			continue
		}
		if b, ok := f.load(d, e); ok {
			found = append(found, b)
			whole[e.Name()], whole[e.Name()+noteSuffix] = true, true
		}
	}
	for _, e := range entries {
		if !whole[e.Name()] && !e.IsDir() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// load reads what is known of the blob, if its file is what the note says.
func (f folder) load(d digest.Digest, e fs.DirEntry) (*blob, bool) {
	info, err := e.Info()
	if err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	file, err := os.Open(f.path(d) + noteSuffix)
	if err != nil {
		return nil, false
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxNote+1))
	if err != nil {
		return nil, false
	}
	n, err := parseNote(raw)
	if err != nil || n.Size != info.Size() {
		return nil, false
	}
	return &blob{digest: d, size: n.Size, homes: n.Homes, touched: info.ModTime()}, true
}

// keep moves a whole file to its place and notes it, so that both outlast a
// crash.
func (f folder) keep(b blob, from string) error {
	path := f.path(b.digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, path); err != nil {
		return err
	}
	if err := f.note(b); err != nil {
		return errors.Join(err, f.remove(b.digest))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return errors.Join(err, f.remove(b.digest))
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return errors.Join(err, f.remove(b.digest))
	}
	return nil
}

// note writes the note beside a blob. A crash may lose it, and with it the blob.
func (f folder) note(b blob) error {
	raw, err := json.Marshal(note{Size: b.size, Homes: b.homes})
	if err != nil {
		return err
	}
	path := f.path(b.digest) + noteSuffix
	next := filepath.Join(f.filling(), strings.ReplaceAll(b.digest.String(), ":", "-")+noteSuffix)
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// touch notes on disk that the blob was used.
func (f folder) touch(d digest.Digest, now time.Time) error {
	return os.Chtimes(f.path(d), time.Time{}, now)
}

// remove deletes blob and note. What has an open file goes on reading.
func (f folder) remove(d digest.Digest) error {
	var errs []error
	for _, path := range []string{f.path(d), f.path(d) + noteSuffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
