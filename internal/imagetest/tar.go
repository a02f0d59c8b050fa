// Package imagetest makes images for tests, in memory: layers from a list of
// entries, images from layers, and a few ready ones with known packages.
//
// It is for tests alone and knows nothing of how images are analysed. Start
// with Build and Vulnerable.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"path"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Entry is the header of one entry of a layer.
type Entry = tar.Header

// Content is an entry with its bytes.
type Content struct {
	Entry
	Body string
}

// File is a regular file.
func File(name, body string) Content {
	return Content{Entry{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}, body}
}

// Dir is a directory.
func Dir(name string) Content {
	return Content{Entry: Entry{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}}
}

// Symlink is a symbolic link.
func Symlink(name, target string) Content {
	return Content{Entry: Entry{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

// HardLink is a second name for a file.
func HardLink(name, target string) Content {
	return Content{Entry: Entry{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}}
}

// Fifo is a named pipe.
func Fifo(name string) Content {
	return Content{Entry: Entry{Name: name, Typeflag: tar.TypeFifo, Mode: 0o644}}
}

// Whiteout deletes name from the layers below.
func Whiteout(name string) Content {
	return File(path.Join(path.Dir(name), ".wh."+path.Base(name)), "")
}

// Opaque hides what the layers below have in a directory.
func Opaque(dir string) Content { return File(path.Join(dir, ".wh..wh..opq"), "") }

// Tar writes the entries, always the same bytes for the same entries.
func Tar(entries ...Content) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Entry
		h.ModTime = time.Unix(1_700_000_000, 0)
		must(w.WriteHeader(&h))
		_, err := w.Write([]byte(e.Body))
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// Layer is a layer as a registry stores it.
type Layer struct {
	Blob      []byte
	DiffID    digest.Digest
	MediaType string
}

// Descriptor is the manifest's entry for the layer.
func (l Layer) Descriptor() image.Descriptor {
	return image.Descriptor{MediaType: l.MediaType, Digest: digest.FromBytes(l.Blob), Size: int64(len(l.Blob))}
}

// Plain is a layer without compression.
func Plain(entries ...Content) Layer {
	raw := Tar(entries...)
	return Layer{Blob: raw, DiffID: digest.FromBytes(raw), MediaType: image.MediaTypeLayer}
}

// Gzip is a layer as docker pushes it.
func Gzip(entries ...Content) Layer {
	l := Plain(entries...)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(l.Blob)
	must(err)
	must(w.Close())
	return Layer{Blob: b.Bytes(), DiffID: l.DiffID, MediaType: image.MediaTypeLayer + "+gzip"}
}

// Zstd is a layer compressed with zstd.
func Zstd(entries ...Content) Layer {
	l := Plain(entries...)
	w, err := zstd.NewWriter(nil)
	must(err)
	return Layer{Blob: w.EncodeAll(l.Blob, nil), DiffID: l.DiffID, MediaType: image.MediaTypeLayer + "+zstd"}
}

// must is for what cannot fail in memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
