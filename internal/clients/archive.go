package clients

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// maxIndexDepth bounds the indexes inside indexes of a layout.
const maxIndexDepth = 4

// writeDockerArchive turns an OCI layout into an archive that `docker load` of
// any version reads.
func writeDockerArchive(layoutDir, ref, archive string) error {
	tag, err := name.NewTag(ref, name.Insecure)
	if err != nil {
		return err
	}
	index, err := layout.ImageIndexFromPath(layoutDir)
	if err != nil {
		return err
	}
	img, err := pick(index, maxIndexDepth)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(archive, tag, img)
}

// pick answers with the first image of an index that this machine runs; one
// that names no platform runs anywhere.
func pick(index v1.ImageIndex, depth int) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		switch {
		case d.MediaType.IsIndex() && depth > 0:
			child, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, fmt.Errorf("index %s: %w", d.Digest, err)
			}
			if img, err := pick(child, depth-1); err == nil {
				return img, nil
			}
		case d.MediaType.IsImage() && runsHere(d.Platform):
			return index.Image(d.Digest)
		}
	}
	return nil, errors.New("layout has no image for this platform")
}

func runsHere(p *v1.Platform) bool {
	return p == nil || p.OS == "" || p.OS == "linux" && p.Architecture == runtime.GOARCH
}

// writeLayoutArchive writes an OCI layout as it is, with the name that `ctr
// images import` gives to each image of its index.
func writeLayoutArchive(layoutDir, ref, archive string) (err error) {
	index, err := namedIndex(layoutDir, ref)
	if err != nil {
		return err
	}
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	tw := tar.NewWriter(f)
	add := func(name string, data []byte) error {
		header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}
		if err := tw.WriteHeader(header); err != nil {
			return err
		}
		_, err := tw.Write(data)
		return err
	}
	err = fs.WalkDir(os.DirFS(layoutDir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if name == "index.json" {
			return add(name, index)
		}
		data, err := os.ReadFile(filepath.Join(layoutDir, name))
		if err != nil {
			return err
		}
		return add(name, data)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

// namedIndex is the index.json of a layout with containerd's annotation for
// names added.
func namedIndex(layoutDir, ref string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(layoutDir, "index.json"))
	if err != nil {
		return nil, err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	for i := range index.Manifests {
		index.Manifests[i].Annotations = map[string]string{"io.containerd.image.name": ref}
	}
	return json.Marshal(index)
}

// rootsOf is what the index.json of a layout names.
func rootsOf(layoutDir string) ([]v1.Descriptor, error) {
	index, err := layout.ImageIndexFromPath(layoutDir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	return manifest.Manifests, nil
}
