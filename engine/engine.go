// Package engine is the facade of the engine: Inspect finds out what a manifest
// stands for and what is in it, Judge says what a policy makes of it.
//
// It knows no server, no database and no cluster, and can be used as a library.
// Start with Inspect, then Judge.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/engine/misconfig"
)

// Source gives an analysis what a manifest names. Both methods may block while
// bytes are fetched; image.ErrBlobUnknown (wrapped or not) says that the content
// is not there.
type Source interface {
	// Blob opens content whose digest is verified by the reader of it.
	Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error)
	// Report returns what was learnt from a layer, analysing it if need be.
	Report(ctx context.Context, d image.Descriptor) (*inventory.Report, error)
}

// readable are the layer media types that an analysis can answer for. What the
// bytes are is found by content; an unknown type may make a runtime do with
// them what the analysis does not foresee (decrypt, look up chunks).
var readable = []string{
	image.MediaTypeLayer, image.MediaTypeLayer + "+gzip", image.MediaTypeLayer + "+zstd",
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
}

// Inspect finds out what an image manifest (not an index) stands for. The image
// is nil unless Kind is image; by is whoever makes the reports of src. An error means that the content could not be
// had; what was had and could not be understood is in the result.
func Inspect(ctx context.Context, m *image.Manifest, src Source, by *layer.Analyzer) (inventory.Subject, *inventory.Image, error) {
	s := inventory.Subject{Maker: by.Maker()}
	cfg, undecided, configErr, err := readConfig(ctx, m, src)
	if err != nil {
		return s, nil, err
	}
	typed := slices.ContainsFunc(m.Layers, func(d image.Descriptor) bool { return image.IsLayerType(d.MediaType) })
	runnable := typed || image.IsConfigType(m.Config.MediaType) || cfg.HasRootFS || undecided
	if !runnable {
		s.Kind = inventory.KindArtifact
		return s, nil, nil
	}
	if configErr != nil {
		s.Kind, s.Reason = inventory.KindUnscannable, configErr.Error()
		return s, nil, nil
	}
	layers, s, err := readLayers(ctx, m, typed, src)
	s.Maker = by.Maker()
	if err != nil || s.Kind != "" {
		return s, nil, err
	}
	im := inventory.Squash(inventory.SquashInput{Maker: s.Maker, Manifest: m.Digest, ConfigDigest: m.Config.Digest, Config: *cfg, Layers: layers})
	secrets, history, gaps, err := by.Settings(cfg)
	if err != nil {
		return s, nil, err
	}
	im.Secrets = append(im.Secrets, secrets...)
	im.Runtime, im.Instructions = cfg.Runtime, image.Instructions(history, len(m.Layers))
	settings, omitted := misconfig.Check(im, cfg.Runtime, history)
	leaks, more := misconfig.Secrets(im.Secrets)
	im.Misconfig = append(settings, leaks...)
	im.Gaps = append(append(append(im.Gaps, gaps...), omitted...), more...)
	s.Kind = inventory.KindImage
	s.DiffIDsMatch = !slices.ContainsFunc(im.Gaps, func(g inventory.Gap) bool { return g.Code == "diffid-mismatch" })
	return s, im, nil
}

// readConfig returns a config that says nothing, and why, when the bytes are no
// image configuration; undecided, when another reader may take them for one.
func readConfig(ctx context.Context, m *image.Manifest, src Source) (cfg *image.Config, undecided bool, configErr, err error) {
	if m.Config.Size > image.MaxConfigSize {
		return &image.Config{}, true, fmt.Errorf("%w: larger than %d bytes", image.ErrConfigInvalid, image.MaxConfigSize), nil
	}
	raw := m.Config.Data
	if raw == nil {
		if raw, err = readBlob(ctx, m.Config, src); err != nil {
			return nil, false, nil, fmt.Errorf("read config %s: %w", m.Config.Digest, err)
		}
	}
	if cfg, configErr = image.ParseConfig(raw); configErr != nil {
		return &image.Config{}, image.MayBeConfig(raw), configErr, nil
	}
	return cfg, false, nil, nil
}

func readBlob(ctx context.Context, d image.Descriptor, src Source) ([]byte, error) {
	r, err := src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if int64(len(raw)) != d.Size || d.Digest.Algorithm().FromBytes(raw) != d.Digest {
		return nil, image.ErrDigestInvalid
	}
	return raw, nil
}

// readLayers gets the reports of the layers. The subject has a Kind when they
// make no image that can be read.
func readLayers(ctx context.Context, m *image.Manifest, typed bool, src Source) ([]inventory.SquashLayer, inventory.Subject, error) {
	var s inventory.Subject
	layers := make([]inventory.SquashLayer, len(m.Layers))
	documents := 0
	for i, d := range m.Layers {
		report, err := src.Report(ctx, d)
		switch {
		case errors.Is(err, image.ErrBlobUnknown) && len(d.URLs) > 0:
			s.Kind, s.Reason = inventory.KindUnscannable, fmt.Sprintf("layer %s is kept elsewhere (foreign urls), not in the registry", d.Digest)
			s.Transient = true
			return nil, s, nil
		case err != nil:
			return nil, s, fmt.Errorf("analyse layer %s: %w", d.Digest, err)
		}
		if report.Format == "json" {
			documents++
		}
		layers[i] = inventory.SquashLayer{Digest: d.Digest, Size: d.Size, Report: report}
	}
	if !typed && len(m.Layers) > 0 && documents == len(m.Layers) {
		s.Kind = inventory.KindArtifact // documents only: a cosign signature has an image config and one of them
		return nil, s, nil
	}
	for _, d := range m.Layers {
		if !slices.Contains(readable, d.MediaType) {
			s.Kind, s.Reason = inventory.KindUnscannable, fmt.Sprintf("layer %s has the media type %q, which this version does not understand", d.Digest, d.MediaType)
			return nil, s, nil
		}
	}
	return layers, s, nil
}
