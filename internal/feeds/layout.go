package feeds

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// A bundle in a folder of the OCI image layout, to be copied to a registry or
// carried by hand. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
const (
	layoutName = "oci-layout"
	layoutText = `{"imageLayoutVersion":"1.0.0"}`
	indexName  = "index.json"
)

// layoutIndex is index.json.
type layoutIndex struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType,omitempty"`
	Manifests     []image.Descriptor `json:"manifests"`
	Annotations   map[string]string  `json:"annotations,omitempty"`
}

// exportLayout adds the bundle to a layout, or makes one. A bundle that is there
// is replaced; other content stays.
func exportLayout(ctx context.Context, dataDir, dir string, key ed25519.PrivateKey) (b Bundle, err error) {
	index, err := prepareLayout(dir)
	if err != nil {
		return b, err
	}
	if b, err = packBlob(ctx, dataDir, dir); err != nil {
		return b, err
	}
	raw, err := b.manifest(key)
	if err != nil {
		return b, err
	}
	d := image.Descriptor{MediaType: image.MediaTypeManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw)), ArtifactType: artifactType}
	isBundle := func(m image.Descriptor) bool { return m.ArtifactType == artifactType }
	var old []image.Descriptor
	for _, m := range index.Manifests {
		if isBundle(m) {
			old = append(old, m)
		}
	}
	index.Manifests = append(slices.DeleteFunc(index.Manifests, isBundle), d)
	text, err := json.Marshal(index)
	if err != nil {
		return b, fmt.Errorf("write layout: %w", err)
	}
	for _, blob := range [][]byte{[]byte(emptyBlob), raw} {
		if err := replace(blobPath(dir, digest.FromBytes(blob)), blob); err != nil {
			return b, err
		}
	}
	if err := replace(filepath.Join(dir, indexName), text); err != nil {
		return b, err
	}
	return b, removeBundles(dir, old, d.Digest, b.Digest)
}

// packBlob writes the packed bytes as a blob of the layout.
func packBlob(ctx context.Context, dataDir, dir string) (b Bundle, err error) {
	f, err := os.CreateTemp(blobDir(dir), tempDownload+"*")
	if err != nil {
		return b, fmt.Errorf("write layout: %w", err)
	}
	b, err = pack(ctx, dataDir, f)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), blobPath(dir, b.Digest))
	}
	if err != nil {
		return b, errors.Join(fmt.Errorf("write layout: %w", err), os.Remove(f.Name()))
	}
	return b, nil
}

// prepareLayout makes a new folder a layout and refuses one that holds other
// things.
func prepareLayout(dir string) (layoutIndex, error) {
	index := layoutIndex{SchemaVersion: 2, MediaType: image.MediaTypeIndex}
	if err := os.MkdirAll(blobDir(dir), 0o750); err != nil {
		return index, fmt.Errorf("make layout: %w", err)
	}
	raw, err := readLimited(filepath.Join(dir, indexName), image.MaxManifestSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return index, replace(filepath.Join(dir, layoutName), []byte(layoutText))
	case err != nil:
		return index, fmt.Errorf("read layout: %w", err)
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return index, fmt.Errorf("read layout: %w", err)
	}
	return index, nil
}

// removeBundles removes the bundles that were replaced.
func removeBundles(dir string, old []image.Descriptor, keep ...digest.Digest) error {
	for _, d := range old {
		if slices.Contains(keep, d.Digest) || d.Validate() != nil {
			continue
		}
		raw, err := readLimited(blobPath(dir, d.Digest), image.MaxManifestSize)
		if err != nil {
			continue // gone already
		}
		gone := []digest.Digest{d.Digest}
		if layer, _, err := readArtifact(raw, image.MediaTypeManifest, ImportOptions{}); err == nil && !slices.Contains(keep, layer.Digest) {
			gone = append(gone, layer.Digest)
		}
		for _, d := range gone {
			if err := os.Remove(blobPath(dir, d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove old bundle: %w", err)
			}
		}
	}
	return nil
}

// openLayout finds the bundle of a layout.
func openLayout(ctx context.Context, dir string, o ImportOptions) (*packed, error) {
	raw, err := readLimited(filepath.Join(dir, indexName), image.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	index, err := image.ParseManifest(raw, image.MediaTypeIndex)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(index.Manifests, func(d image.Descriptor) bool { return d.ArtifactType == artifactType })
	if at < 0 && len(index.Manifests) == 1 {
		at = 0 // tools that copy artifacts may leave the type out of the index
	}
	if at < 0 {
		return nil, fmt.Errorf("%w: no such artifact among %d manifests", errBundle, len(index.Manifests))
	}
	d := index.Manifests[at]
	if d.Digest.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("%w: manifest %s", errBundle, d.Digest)
	}
	if raw, err = readLimited(blobPath(dir, d.Digest), image.MaxManifestSize); err != nil {
		return nil, err
	}
	if digest.FromBytes(raw) != d.Digest {
		return nil, fmt.Errorf("%w: manifest is not %s", errBundle, d.Digest)
	}
	layer, signature, err := readArtifact(raw, d.MediaType, o)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(blobPath(dir, layer.Digest))
	if err != nil {
		return nil, err
	}
	return openLayer(ctx, f, layer, signature)
}

func blobDir(dir string) string { return filepath.Join(dir, "blobs", "sha256") }

// blobPath is where a blob is. The digest has been validated.
func blobPath(dir string, d digest.Digest) string { return filepath.Join(blobDir(dir), d.Encoded()) }

func readLimited(path string, limit int64) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if b, err = io.ReadAll(io.LimitReader(f, limit+1)); err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, err
}
