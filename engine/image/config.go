package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	// Runtime is what the configuration asks of a runtime; nil when that part
	// of the document is of a shape that runtimes do not know.
	Runtime *Runtime `json:"-"`
	// History tells how the layers were made, the lowest first; entries beyond
	// MaxHistory are left out. It is what the builder says, and proves nothing.
	History []History `json:"-"`
}

// History is one step of an image's building.
type History struct {
	CreatedBy string `json:"created_by,omitempty"`
	Comment   string `json:"comment,omitempty"`
	Empty     bool   `json:"empty_layer,omitempty"` // it made no layer
}

// MaxHistory bounds the steps that are kept; images have at most some 200.
const MaxHistory = 4096

// Runtime is the part of a configuration that says how containers run.
type Runtime struct {
	// ExposedPorts are the keys as written, sorted: "80/tcp", "53/udp", "8080".
	ExposedPorts []string `json:"exposed_ports,omitempty"`
	// Healthcheck is true when there is a health check; HEALTHCHECK NONE, which
	// takes an inherited one away, is none.
	Healthcheck bool `json:"healthcheck,omitempty"`
	// User is as written: a name or number, with or without a group; "" is root.
	User       string            `json:"user,omitempty"`
	Env        []string          `json:"env,omitempty"` // "NAME=value"
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	Volumes    []string          `json:"volumes,omitempty"` // paths, sorted
	WorkingDir string            `json:"working_dir,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	StopSignal string            `json:"stop_signal,omitempty"`
	Shell      []string          `json:"shell,omitempty"`
	OnBuild    []string          `json:"on_build,omitempty"`
}

// MayBeConfig reports whether a document that ParseConfig refuses may still be
// an image configuration to some runtime: it has a root file system for a reader
// that is less strict, or is too large or too deep to tell.
func MayBeConfig(raw []byte) bool {
	if len(raw) > MaxConfigSize {
		return true
	}
	var doc map[string]json.RawMessage
	err := json.Unmarshal(raw, &doc)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return strings.Contains(syntax.Error(), "max depth")
	}
	for key := range doc {
		if strings.EqualFold(key, "rootfs") {
			return true
		}
	}
	return false
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
		Run     json.RawMessage `json:"config"`
		History json.RawMessage `json:"history"`
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfigInvalid, err)
	}
	c := w.Config
	c.Runtime = parseRuntime(w.Run)
	c.History = parseHistory(w.History)
	if w.RootFS != nil {
		c.HasRootFS = true
		c.DiffIDs = w.RootFS.DiffIDs
	}
	return &c, nil
}

// parseRuntime reads the "config" object; one that is absent or null asks for
// nothing.
func parseRuntime(raw json.RawMessage) *Runtime {
	var w struct {
		ExposedPorts map[string]json.RawMessage
		Healthcheck  *struct{ Test []string }
		User         string
		Env          []string
		Entrypoint   []string
		Cmd          []string
		Volumes      map[string]json.RawMessage
		WorkingDir   string
		Labels       map[string]string
		StopSignal   string
		Shell        []string
		OnBuild      []string
	}
	if len(raw) > 0 && json.Unmarshal(raw, &w) != nil {
		return nil
	}
	r := &Runtime{
		ExposedPorts: slices.Sorted(maps.Keys(w.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(w.Volumes)),
		User: w.User, Env: w.Env, Entrypoint: w.Entrypoint, Cmd: w.Cmd, WorkingDir: w.WorkingDir, Labels: w.Labels,
		StopSignal: w.StopSignal, Shell: w.Shell, OnBuild: w.OnBuild,
	}
	if h := w.Healthcheck; h != nil && len(h.Test) > 0 {
		r.Healthcheck = h.Test[0] != "NONE"
	}
	return r
}

// parseHistory reads the steps; a history of another shape tells nothing.
func parseHistory(raw json.RawMessage) []History {
	var all []History
	if len(raw) == 0 || json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all[:min(len(all), MaxHistory)]
}

// Instructions gives the instruction that made each of so many layers; none when
// the history speaks of another number of layers.
func Instructions(history []History, layers int) []string {
	var made []string
	for _, h := range history {
		if !h.Empty {
			made = append(made, h.CreatedBy)
		}
	}
	if len(made) != layers {
		return nil
	}
	return made
}
