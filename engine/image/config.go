package image

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// MaxConfigSize bounds the configuration of an image, in bytes.
const MaxConfigSize = 8 << 20

// ErrConfigInvalid is wrapped by every complaint about a config's bytes.
var ErrConfigInvalid = errors.New("image config invalid")

// Config is the part of an image's configuration that the engine reads.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
type Config struct {
	OS           string          `json:"os"`
	Architecture string          `json:"architecture"`
	Variant      string          `json:"variant"`
	DiffIDs      []digest.Digest `json:"-"`
	// HasRootFS is true when the document describes a root file system: by
	// content, it is the configuration of an image.
	HasRootFS bool `json:"-"`
}

// ParseConfig reads an image configuration. Any JSON object is accepted: one
// without rootfs is not that of a runnable image (HasRootFS).
func ParseConfig(raw []byte) (*Config, error) {
	if len(raw) > MaxConfigSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrConfigInvalid, MaxConfigSize)
	}
	if err := checkJSON(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfigInvalid, err)
	}
	var w struct {
		Config
		RootFS *struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfigInvalid, err)
	}
	c := w.Config
	if w.RootFS != nil {
		c.HasRootFS = true
		c.DiffIDs = w.RootFS.DiffIDs
	}
	return &c, nil
}
