package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// DockerArchive is an image in an archive of `docker save`: a manifest.json that
// names a configuration and the layers, which are named by no digest. The
// manifest that Pratique makes of it names the layers by their diffIDs.
// https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md
type DockerArchive struct {
	layout   *Layout
	manifest []byte
	root     image.Descriptor
	files    map[digest.Digest]string // of configuration and layers
}

// dockerEntry is one image of a manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// maxDockerManifest bounds a manifest.json, in bytes.
const maxDockerManifest = 4 << 20

// openDocker finds an image in an archive: the one with the tag, or the only
// one. An archive that is an OCI layout too, as newer engines write it, is read
// as what it says for older ones.
func openDocker(l *Layout, tag string) (*DockerArchive, error) {
	raw, err := l.read("manifest.json", maxDockerManifest)
	if err != nil {
		return nil, err
	}
	var entries []dockerEntry
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("read manifest.json: %w", err)
	}
	e, err := pick(entries, tag)
	if err != nil {
		return nil, err
	}
	config, err := l.read(path.Clean(e.Config), image.MaxConfigSize)
	if err != nil {
		return nil, err
	}
	parsed, err := image.ParseConfig(config)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(parsed.DiffIDs) != len(e.Layers) {
		return nil, fmt.Errorf("the configuration names %d layers, manifest.json %d", len(parsed.DiffIDs), len(e.Layers))
	}
	a := &DockerArchive{layout: l, files: map[digest.Digest]string{}}
	return a, a.describe(e, config, parsed.DiffIDs)
}

func pick(entries []dockerEntry, tag string) (dockerEntry, error) {
	var known []string
	for _, e := range entries {
		if tag != "" && slices.Contains(e.RepoTags, tag) {
			return e, nil
		}
		known = append(known, e.RepoTags...)
	}
	if tag == "" && len(entries) == 1 {
		return entries[0], nil
	}
	if tag == "" {
		return dockerEntry{}, fmt.Errorf("the archive has %d images: name one of %q behind an @", len(entries), known)
	}
	return dockerEntry{}, fmt.Errorf("the archive has no image %q, only %q", tag, known)
}

// describe makes the manifest.
func (a *DockerArchive) describe(e dockerEntry, config []byte, diffIDs []digest.Digest) error {
	type descriptor struct {
		MediaType string        `json:"mediaType"`
		Digest    digest.Digest `json:"digest"`
		Size      int64         `json:"size"`
	}
	layers := make([]descriptor, len(e.Layers))
	for i, name := range e.Layers {
		if err := diffIDs[i].Validate(); err != nil {
			return fmt.Errorf("read configuration: layer %d: %w", i, err)
		}
		a.files[diffIDs[i]] = path.Clean(name)
		size, err := a.size(diffIDs[i])
		if err != nil {
			return err
		}
		layers[i] = descriptor{image.MediaTypeLayer, diffIDs[i], size}
	}
	id := digest.FromBytes(config)
	a.files[id] = path.Clean(e.Config)
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest,
		"config": descriptor{image.MediaTypeConfig, id, int64(len(config))}, "layers": layers,
	})
	if err != nil {
		return fmt.Errorf("describe the archive: %w", err)
	}
	a.manifest = raw
	a.root = image.Descriptor{MediaType: image.MediaTypeManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return nil
}

// size is that of the layer's tar, which has to be inflated to be measured when
// the archive holds it compressed.
func (a *DockerArchive) size(d digest.Digest) (n int64, err error) {
	r, err := a.open(d)
	if err != nil {
		return 0, err
	}
	if m, ok := r.(interface{ Size() int64 }); ok {
		return m.Size(), r.Close()
	}
	n, err = io.Copy(io.Discard, r)
	return n, errors.Join(err, r.Close())
}

// open gives the bytes whose digest is d.
func (a *DockerArchive) open(d digest.Digest) (io.ReadCloser, error) {
	name, ok := a.files[d]
	if !ok {
		return nil, fmt.Errorf("%w: %s", image.ErrBlobUnknown, d)
	}
	f, err := a.layout.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", image.ErrBlobUnknown, name)
	}
	if err != nil {
		return nil, err
	}
	head := make([]byte, 2)
	n, _ := io.ReadFull(f, head)
	if err := f.Close(); err != nil {
		return nil, err
	}
	if f, err = a.layout.open(name); err != nil || !bytes.Equal(head[:n], []byte{0x1f, 0x8b}) {
		return f, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", name, err), f.Close())
	}
	return &inflated{z, f}, nil
}

// inflated is a compressed file of an archive.
type inflated struct {
	io.Reader
	file io.Closer
}

func (f *inflated) Close() error { return f.file.Close() }

// Root returns the descriptor of the manifest that was made.
func (a *DockerArchive) Root() image.Descriptor { return a.root }

// Manifest is part of Images.
func (a *DockerArchive) Manifest(_ context.Context, d image.Descriptor) ([]byte, error) {
	if d.Digest != a.root.Digest {
		return nil, fmt.Errorf("%w: %s", image.ErrManifestUnknown, d.Digest)
	}
	return a.manifest, nil
}

// Blob is part of Images.
func (a *DockerArchive) Blob(_ context.Context, d image.Descriptor) (io.ReadCloser, error) {
	return a.open(d.Digest)
}

// Identity is part of identifier.
func (a *DockerArchive) Identity(d image.Descriptor) string {
	name, ok := a.files[d.Digest]
	if !ok {
		return ""
	}
	return a.layout.stat(name)
}

// Close closes the archive.
func (a *DockerArchive) Close() error { return a.layout.Close() }
