package imagetest

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Image is an image in memory.
type Image struct {
	Manifest []byte
	Config   []byte
	Layers   []Layer
	Platform image.Platform
}

// Build makes an OCI image for linux/amd64 of the layers, lowest first.
func Build(layers ...Layer) Image {
	return BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, layers...)
}

// BuildFor makes an OCI image for a platform.
func BuildFor(platform image.Platform, layers ...Layer) Image {
	im := Image{Layers: layers, Platform: platform}
	diffIDs, descriptors := []digest.Digest{}, []image.Descriptor{}
	for _, l := range layers {
		diffIDs = append(diffIDs, l.DiffID)
		descriptors = append(descriptors, l.Descriptor())
	}
	im.Config = encode(map[string]any{
		"os": platform.OS, "architecture": platform.Architecture, "variant": platform.Variant,
		"config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	im.Manifest = encode(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "layers": descriptors,
		"config": image.Descriptor{MediaType: image.MediaTypeConfig, Digest: digest.FromBytes(im.Config), Size: int64(len(im.Config))},
	})
	return im
}

// Digest is the manifest's.
func (im Image) Digest() digest.Digest { return digest.FromBytes(im.Manifest) }

// ID is the config's digest.
func (im Image) ID() digest.Digest { return digest.FromBytes(im.Config) }

// Descriptor is what an index says of the image.
func (im Image) Descriptor() image.Descriptor {
	platform := im.Platform
	return image.Descriptor{MediaType: image.MediaTypeManifest, Digest: im.Digest(), Size: int64(len(im.Manifest)), Platform: &platform}
}

// Blobs are config and layers, as a registry stores them.
func (im Image) Blobs() map[digest.Digest][]byte {
	blobs := map[digest.Digest][]byte{im.ID(): im.Config}
	for _, l := range im.Layers {
		blobs[digest.FromBytes(l.Blob)] = l.Blob
	}
	return blobs
}

// Index is an image index in memory.
type Index struct {
	Raw    []byte
	Images []Image
}

// BuildIndex makes an index of images.
func BuildIndex(images ...Image) Index {
	children := []image.Descriptor{}
	for _, im := range images {
		children = append(children, im.Descriptor())
	}
	return Index{Images: images, Raw: encode(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": children,
	})}
}

// Digest is the index's.
func (x Index) Digest() digest.Digest { return digest.FromBytes(x.Raw) }

// WriteLayout writes the image to dir as an OCI image layout, under a tag.
func (im Image) WriteLayout(dir, tag string) error {
	blobs := im.Blobs()
	blobs[im.Digest()] = im.Manifest
	d := im.Descriptor()
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": tag}
	return writeLayout(dir, blobs, d)
}

// WriteLayout writes the index and its images to dir as an OCI image layout.
func (x Index) WriteLayout(dir, tag string) error {
	blobs := map[digest.Digest][]byte{x.Digest(): x.Raw}
	for _, im := range x.Images {
		blobs[im.Digest()] = im.Manifest
		for d, blob := range im.Blobs() {
			blobs[d] = blob
		}
	}
	return writeLayout(dir, blobs, image.Descriptor{MediaType: image.MediaTypeIndex, Digest: x.Digest(), Size: int64(len(x.Raw)),
		Annotations: map[string]string{"org.opencontainers.image.ref.name": tag}})
}

func writeLayout(dir string, blobs map[digest.Digest][]byte, root image.Descriptor) error {
	files := map[string][]byte{
		"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json": encode(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": []image.Descriptor{root}}),
	}
	for d, blob := range blobs {
		files[filepath.Join("blobs", d.Algorithm().String(), d.Encoded())] = blob
	}
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	must(err)
	return raw
}
