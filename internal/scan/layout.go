package scan

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/pratique/pratique/engine/image"
)

// Layout is a folder or an archive in the OCI image layout.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
type Layout struct {
	open  func(name string) (io.ReadCloser, error) // fs.ErrNotExist when it is not there
	close func() error
}

// OpenDir opens a folder.
func OpenDir(dir string) (*Layout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open layout: %w", err)
	}
	return &Layout{open: func(name string) (io.ReadCloser, error) { return root.Open(name) }, close: root.Close}, nil
}

// maxMembers bounds the files of an archive.
const maxMembers = 100_000

// OpenArchive opens an uncompressed tar of a layout.
func OpenArchive(file string) (*Layout, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	members, err := listArchive(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open archive %s: %w", file, err), f.Close())
	}
	return &Layout{close: f.Close, open: func(name string) (io.ReadCloser, error) {
		m, ok := members[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return io.NopCloser(io.NewSectionReader(f, m.offset, m.size)), nil
	}}, nil
}

type member struct{ offset, size int64 }

// listArchive notes where each file of the archive begins.
func listArchive(f *os.File) (map[string]member, error) {
	members := map[string]member{}
	t := tar.NewReader(f)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return members, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not an uncompressed tar: %w", err)
		}
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			members[path.Clean(h.Name)] = member{offset, h.Size}
		}
		if len(members) > maxMembers {
			return nil, fmt.Errorf("more than %d files", maxMembers)
		}
	}
}

// Close closes the layout.
func (l *Layout) Close() error { return l.close() }

// Root returns the descriptor of the layout's index. Its digest is empty: the
// index of a layout has no name.
func (l *Layout) Root() image.Descriptor { return image.Descriptor{} }

// Manifest is part of Images.
func (l *Layout) Manifest(_ context.Context, d image.Descriptor) ([]byte, error) {
	name := "index.json"
	if d.Digest != "" {
		name = blobName(d)
	}
	f, err := l.open(name)
	if errors.Is(err, fs.ErrNotExist) && d.Digest == "" {
		return nil, fmt.Errorf("no index.json: this is not an OCI image layout (a docker archive is not one)")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", image.ErrManifestUnknown, d.Digest)
	}
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, image.MaxManifestSize+1))
	return raw, errors.Join(err, f.Close())
}

// Blob is part of Images.
func (l *Layout) Blob(_ context.Context, d image.Descriptor) (io.ReadCloser, error) {
	f, err := l.open(blobName(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", image.ErrBlobUnknown, d.Digest)
	}
	return f, err
}

func blobName(d image.Descriptor) string {
	return path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}
