package inventory

import (
	"fmt"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// checkConfig adds the gaps that the configuration alone shows.
func (s *squasher) checkConfig(in SquashInput) {
	if os := in.Config.OS; os != "" && !strings.EqualFold(os, "linux") {
		s.gap(Blind, "os-unsupported", "", -1, fmt.Sprintf("the image is for %s; only Linux images are read", Printable(os)))
	}
	if want, got := len(in.Config.DiffIDs), len(in.Layers); want != got {
		s.gap(Blind, "diffid-mismatch", "", -1, fmt.Sprintf("the configuration names %d layers, the manifest %d", want, got))
	}
}

// checkLayer adds the gaps of a layer that is not what it should be, and
// reports whether there is something to apply.
func (s *squasher) checkLayer(i int, layer SquashLayer, config image.Config) bool {
	r := layer.Report
	if r == nil {
		s.gap(Blind, "layer-unread", "", i, fmt.Sprintf("layer %s was not read", layer.Digest))
		return false
	}
	if !r.IsLayer() {
		s.gap(Blind, "layer-not-tar", "", i, fmt.Sprintf("layer %s is no tar that this version can unpack (it is %q)", layer.Digest, r.Format))
		return false
	}
	if r.Digest == layer.Digest && r.Size != layer.Size {
		s.gap(Blind, "size-mismatch", "", i, fmt.Sprintf("the manifest says layer %s has %d bytes, it has %d", layer.Digest, layer.Size, r.Size))
	}
	if r.DiffID != "" && i < len(config.DiffIDs) && config.DiffIDs[i] != r.DiffID {
		s.gap(Blind, "diffid-mismatch", "", i, fmt.Sprintf("the configuration says layer %s unpacks to %s, it unpacks to %s",
			layer.Digest, Printable(string(config.DiffIDs[i])), r.DiffID))
	}
	return true
}

// IsLayer reports whether the bytes are a tar that a runtime would unpack.
func (r *Report) IsLayer() bool { return r.Format == "tar" || strings.HasPrefix(r.Format, "tar+") }
