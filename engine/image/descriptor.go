package image

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

// Media types that Pratique understands. The list follows the OCI image
// specification 1.1 and Docker's "Image Manifest Version 2, Schema 2".
const (
	MediaTypeManifest       = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeIndex          = "application/vnd.oci.image.index.v1+json"
	MediaTypeConfig         = "application/vnd.oci.image.config.v1+json"
	MediaTypeLayer          = "application/vnd.oci.image.layer.v1.tar"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	MediaTypeDockerPlugin   = "application/vnd.docker.plugin.v1+json"
	MediaTypeSchema1        = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeSchema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// ManifestTypes are the manifest media types that Pratique asks upstreams for.
var ManifestTypes = []string{MediaTypeManifest, MediaTypeIndex, MediaTypeDockerManifest, MediaTypeDockerList}

// Descriptor points at content. It is the part of an OCI descriptor that the
// gate reads; the bytes of the manifest stay the truth.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Data         []byte            `json:"data,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// Platform is the platform of an index entry, as the index claims it.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
	// What a machine must have besides.
	OSVersion  string   `json:"os.version,omitempty"`
	OSFeatures []string `json:"os.features,omitempty"`
}

// IsLayerType reports whether a runtime unpacks content of this media type as a
// layer of a root file system, encrypted and non-distributable ones included.
func IsLayerType(mediaType string) bool {
	for _, prefix := range layerPrefixes {
		if len(mediaType) >= len(prefix) && mediaType[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}

var layerPrefixes = []string{
	"application/vnd.oci.image.layer.",
	"application/vnd.docker.image.rootfs.",
	"application/vnd.docker.container.image.rootfs.",
}

// IsConfigType reports whether a runtime reads content of this media type as
// the configuration of an image.
func IsConfigType(mediaType string) bool {
	switch mediaType {
	case MediaTypeConfig, MediaTypeDockerConfig, MediaTypeDockerPlugin, "application/octet-stream", "":
		return true
	}
	return false
}

// Elsewhere reports whether the content may be kept outside the registry: it has
// addresses of its own, or its type says that it is not for distribution.
func (d Descriptor) Elsewhere() bool {
	return len(d.URLs) > 0 ||
		strings.HasPrefix(d.MediaType, "application/vnd.oci.image.layer.nondistributable.") ||
		strings.HasPrefix(d.MediaType, "application/vnd.docker.image.rootfs.foreign.")
}
