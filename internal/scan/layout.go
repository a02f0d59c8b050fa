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
	stat  func(name string) (identity string)      // "" when that cannot be told
	close func() error
}

// OpenDir opens a folder.
func OpenDir(dir string) (*Layout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open layout: %w", err)
	}
	return &Layout{
		open: func(name string) (io.ReadCloser, error) { return root.Open(name) },
		stat: func(name string) string {
			info, err := root.Stat(name)
			if err != nil {
				return ""
			}
			return fileIdentity(info)
		},
		close: root.Close,
	}, nil
}

// maxMembers bounds the files of an archive.
const maxMembers = 100_000

// OpenArchive opens an uncompressed tar of a layout.
func OpenArchive(file string) (*Layout, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	l, err := openTar(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open archive %s: %w", file, err), f.Close())
	}
	return l, nil
}

// openTar opens an archive that is read through f and closed with it.
func openTar(f *os.File) (*Layout, error) {
	members, err := listArchive(f)
	if err != nil {
		return nil, err
	}
	find := func(name string) member {
		m := members[name]
		for range maxLinks {
			if m.link == "" {
				break
			}
			m = members[m.link]
		}
		return m
	}
	return &Layout{
		open: func(name string) (io.ReadCloser, error) {
			m := find(name)
			if !m.file {
				return nil, fs.ErrNotExist
			}
			return section{io.NewSectionReader(f, m.offset, m.size)}, nil
		},
		stat: func(name string) string {
			info, err := f.Stat()
			if err != nil {
				return ""
			}
			return fmt.Sprintf("%s@%d", fileIdentity(info), find(name).offset)
		},
		close: f.Close,
	}, nil
}

// member is a file of an archive, or a link to another one: older engines save a
// layer that occurs twice like this.
type member struct {
	file         bool
	offset, size int64
	link         string
}

// maxLinks is how many links are followed for one file.
const maxLinks = 4

// section is a part of an archive.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// read reads a small file whole.
func (l *Layout) read(name string, limit int64) ([]byte, error) {
	f, err := l.open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", name, limit)
	}
	return raw, nil
}

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
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			members[name] = member{file: true, offset: offset, size: h.Size}
		case tar.TypeSymlink:
			members[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			members[name] = member{link: path.Clean(h.Linkname)}
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
		return nil, fmt.Errorf("no index.json: this is not an OCI image layout (for one of docker save there is docker-archive:FILE)")
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

// Identity is part of identifier.
func (l *Layout) Identity(d image.Descriptor) string { return l.stat(blobName(d)) }

func blobName(d image.Descriptor) string {
	return path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}
