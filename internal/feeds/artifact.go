package feeds

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/upstream"
)

// A bundle as an OCI artifact: a manifest with one layer, the packed bytes. The
// signature is an annotation; it is over the layer's digest, so it is checked
// before the layer is fetched.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage
const (
	artifactType = "application/vnd.pratique.vulndb.v1"
	artifactData = "application/vnd.pratique.vulndb.v1.tar+zstd"
	emptyType    = "application/vnd.oci.empty.v1+json"

	annotationSignature = "io.pratique.vulndb.signature" // base64
	annotationSequence  = "io.pratique.vulndb.sequence"
	annotationRevision  = "io.pratique.vulndb.digest"
	annotationCreated   = "org.opencontainers.image.created"
)

// emptyBlob is the content of the empty descriptor.
const emptyBlob = "{}"

// artifact is the manifest that is written.
type artifact struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	ArtifactType  string             `json:"artifactType"`
	Config        image.Descriptor   `json:"config"`
	Layers        []image.Descriptor `json:"layers"`
	Annotations   map[string]string  `json:"annotations"`
}

// manifest describes a bundle, and signs it if there is a key.
func (b *Bundle) manifest(key ed25519.PrivateKey) ([]byte, error) {
	m := artifact{
		SchemaVersion: 2, MediaType: image.MediaTypeManifest, ArtifactType: artifactType,
		Config: image.Descriptor{MediaType: emptyType, Digest: digest.FromString(emptyBlob), Size: int64(len(emptyBlob))},
		Layers: []image.Descriptor{{MediaType: artifactData, Digest: b.Digest, Size: b.Size}},
		Annotations: map[string]string{
			annotationSequence: strconv.FormatUint(b.Revision.Sequence, 10), annotationRevision: b.Revision.Digest,
			annotationCreated: b.Revision.Built.Format(time.RFC3339),
		},
	}
	if key != nil {
		m.Annotations[annotationSignature] = base64.StdEncoding.EncodeToString(sign(key, b.Digest))
	}
	b.Signed = key != nil
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return raw, nil
}

// readArtifact finds the layer of a bundle once its signature is right.
func readArtifact(raw []byte, mediaType string, o ImportOptions) (layer image.Descriptor, signature []byte, err error) {
	m, err := image.ParseManifest(raw, mediaType)
	if err != nil {
		return layer, nil, err
	}
	if m.ArtifactType != artifactType || len(m.Layers) != 1 || m.Layers[0].MediaType != artifactData {
		return layer, nil, fmt.Errorf("%w: artifact type %.100q", errBundle, m.ArtifactType)
	}
	layer = m.Layers[0]
	if layer.Size <= 0 || layer.Size > maxBundle || layer.Digest.Algorithm() != digest.SHA256 {
		return layer, nil, fmt.Errorf("%w: layer %s of %d bytes", errBundle, layer.Digest, layer.Size)
	}
	if text := m.Annotations[annotationSignature]; text != "" {
		if signature, err = base64.StdEncoding.DecodeString(text); err != nil {
			return layer, nil, fmt.Errorf("%w: %w", ErrBadSignature, err)
		}
	}
	return layer, signature, o.check(layer.Digest, signature)
}

func exportRegistry(ctx context.Context, dataDir, name string, key ed25519.PrivateKey) (b Bundle, err error) {
	ref, err := image.ParseReference(name)
	if err != nil {
		return b, err
	}
	if ref.Digest != "" {
		return b, fmt.Errorf("%w: a bundle is pushed to a tag", image.ErrInvalidReference)
	}
	reg, err := openHost(ctx, ref.Registry)
	if err != nil {
		return b, err
	}
	defer reg.Close()
	if err := makeDirs(dataDir); err != nil {
		return b, err
	}
	spool, err := spoolFile(dataDir)
	if err != nil {
		return b, err
	}
	defer spool.Close()
	if b, err = pack(ctx, dataDir, spool); err != nil {
		return b, err
	}
	raw, err := b.manifest(key)
	if err == nil {
		err = pushBlob(ctx, reg, ref.Repository, io.NewSectionReader(spool, 0, b.Size), b.Digest)
	}
	if err == nil {
		empty := []byte(emptyBlob)
		err = pushBlob(ctx, reg, ref.Repository, io.NewSectionReader(bytes.NewReader(empty), 0, int64(len(empty))), digest.FromBytes(empty))
	}
	if err != nil {
		return b, err
	}
	return b, reg.PutManifest(ctx, ref.Repository, ref.Tag, image.MediaTypeManifest, raw)
}

func openHost(ctx context.Context, host string) (*upstream.Registry, error) {
	cfg, err := upstream.ForHost(ctx, host)
	if err != nil {
		return nil, err
	}
	return upstream.New(cfg)
}

// pushBlob uploads what the registry does not have.
func pushBlob(ctx context.Context, reg *upstream.Registry, repo string, body *io.SectionReader, d digest.Digest) error {
	if have, err := reg.StatBlob(ctx, repo, d); err == nil && have == body.Size() {
		return nil
	}
	state, err := reg.StartUpload(ctx, repo)
	if err != nil {
		return err
	}
	return reg.CommitUpload(ctx, repo, state, 0, d, body, body.Size())
}

// openRegistry fetches a bundle, whose signature is right, to a spool.
func openRegistry(ctx context.Context, dataDir, name string, o ImportOptions) (*packed, error) {
	ref, err := image.ParseReference(name)
	if err != nil {
		return nil, err
	}
	reg, err := openHost(ctx, ref.Registry)
	if err != nil {
		return nil, err
	}
	defer reg.Close()
	raw, mediaType, err := reg.Manifest(ctx, ref.Repository, ref.Identifier())
	if err != nil {
		return nil, err
	}
	layer, signature, err := readArtifact(raw, mediaType, o)
	if err != nil {
		return nil, err
	}
	body, _, err := reg.Blob(ctx, ref.Repository, layer.Digest, 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	spool, err := spoolFile(dataDir)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(spool, io.LimitReader(body, layer.Size+1)); err != nil {
		return nil, errors.Join(err, spool.Close())
	}
	return openLayer(ctx, spool, layer, signature)
}

// openLayer holds the bytes to what was signed, and takes over the file.
func openLayer(ctx context.Context, f *os.File, layer image.Descriptor, signature []byte) (*packed, error) {
	p := &packed{file: f, signature: signature}
	err := p.measure(ctx)
	if err == nil && (p.digest != layer.Digest || p.size != layer.Size) {
		err = fmt.Errorf("%w: layer is %s of %d bytes, not %s of %d", errBundle, p.digest, p.size, layer.Digest, layer.Size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}
