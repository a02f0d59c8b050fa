package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// Limits on manifests.
const (
	MaxManifestSize = 4 << 20 // bytes; the size that the distribution specification wants accepted
	maxEntries      = 10_000  // descriptors in one manifest
)

// ErrManifestInvalid is wrapped by every complaint about a manifest's bytes.
var ErrManifestInvalid = errors.New("manifest invalid")

// Manifest is a parsed image manifest or index. Raw is what was hashed and what
// is served; nothing is ever encoded anew.
type Manifest struct {
	Raw       []byte
	Digest    digest.Digest // sha256 of Raw, however the manifest was asked for
	SHA512    digest.Digest // of the same bytes: some ask for it, and some rules name it
	MediaType string        // the manifest's own field, else by shape
	// Index is true for an image index or manifest list.
	Index        bool
	ArtifactType string
	Config       Descriptor
	Layers       []Descriptor
	Manifests    []Descriptor
	Subject      *Descriptor
	Annotations  map[string]string
}

type wireManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Blobs         []Descriptor      `json:"blobs"`
	Manifests     []Descriptor      `json:"manifests"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// ParseManifest reads an image manifest or an index of at most MaxManifestSize
// bytes. contentType is what the registry or client called it; it may be empty,
// but may not contradict the document. Documents that two readers could
// understand differently (keys that appear twice, also in another case; config
// and manifests side by side; inline data that is not what the digest says) are
// refused: what was judged must be what runs.
func ParseManifest(raw []byte, contentType string) (*Manifest, error) {
	if len(raw) > MaxManifestSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrManifestInvalid, MaxManifestSize)
	}
	if err := checkJSON(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifestInvalid, err)
	}
	var w wireManifest
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifestInvalid, err)
	}
	m := &Manifest{
		Raw: raw, Digest: digest.FromBytes(raw), SHA512: digest.SHA512.FromBytes(raw), ArtifactType: w.ArtifactType,
		Layers: w.Layers, Manifests: w.Manifests, Subject: w.Subject, Annotations: w.Annotations,
	}
	if w.Config != nil {
		m.Config = *w.Config
	}
	if err := m.classify(&w, contentType); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifestInvalid, err)
	}
	if err := m.checkDescriptors(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifestInvalid, err)
	}
	return m, nil
}

// classify decides by shape whether the document is a manifest or an index, and
// that no label contradicts the shape.
func (m *Manifest) classify(w *wireManifest, contentType string) error {
	switch {
	case w.FSLayers != nil || w.SchemaVersion == 1:
		return errors.New("manifests of Docker schema 1 are not supported: push the image again with a current client")
	case w.SchemaVersion != 2:
		return fmt.Errorf("schemaVersion is %d, want 2", w.SchemaVersion)
	case w.Manifests != nil && (w.Config != nil || w.Layers != nil):
		return errors.New("has manifests and also config or layers: neither an image nor an index")
	case w.Blobs != nil:
		return errors.New("OCI artifact manifests were withdrawn from the specification: use an image manifest with artifactType")
	case w.Manifests == nil && w.Config == nil:
		return errors.New("has neither config nor manifests")
	}
	m.Index = w.Manifests != nil
	m.MediaType = w.MediaType
	if m.MediaType == "" { // whatever somebody called it: the same bytes must be the same everywhere
		m.MediaType = MediaTypeManifest
		if m.Index {
			m.MediaType = MediaTypeIndex
		}
	}
	if contentType != "" && contentType != m.MediaType {
		return fmt.Errorf("content type %q contradicts the document, which is %q", contentType, m.MediaType)
	}
	switch m.MediaType {
	case MediaTypeIndex, MediaTypeDockerList:
		if !m.Index {
			return fmt.Errorf("media type %q, but the document is no index", m.MediaType)
		}
	case MediaTypeManifest, MediaTypeDockerManifest:
		if m.Index {
			return fmt.Errorf("media type %q, but the document is an index", m.MediaType)
		}
	default:
		return fmt.Errorf("media type %q is not supported", m.MediaType)
	}
	return nil
}

func (m *Manifest) checkDescriptors() error {
	all := m.Descriptors()
	if m.Subject != nil {
		all = append(all, *m.Subject)
	}
	if len(all) > maxEntries {
		return fmt.Errorf("%d descriptors, at most %d are read", len(all), maxEntries)
	}
	for _, d := range all {
		if err := d.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Descriptors returns config and layers, or the children of an index, in order.
func (m *Manifest) Descriptors() []Descriptor {
	if m.Index {
		return append([]Descriptor(nil), m.Manifests...)
	}
	return append([]Descriptor{m.Config}, m.Layers...)
}

// Validate checks that the descriptor can be followed: a supported digest, a
// size that is not negative, and inline data that is what the digest says.
func (d Descriptor) Validate() error {
	if err := SupportedDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("descriptor %s: negative size", d.Digest)
	}
	if d.Data != nil && (int64(len(d.Data)) != d.Size || d.Digest.Algorithm().FromBytes(d.Data) != d.Digest) {
		return fmt.Errorf("descriptor %s: inline data is not what the digest says", d.Digest)
	}
	return nil
}

// HasData reports whether any descriptor carries its content inline.
func (m *Manifest) HasData() bool {
	for _, d := range m.Descriptors() {
		if d.Data != nil {
			return true
		}
	}
	return m.Subject != nil && m.Subject.Data != nil
}

// checkJSON refuses what JSON readers disagree about: keys that appear twice in
// one object (Go's reader folds case, others do not), bytes that are no UTF-8, and
// text after the end.
func checkJSON(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := checkValue(dec, 0); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("text after the end of the document")
	}
	return nil
}
