package gate

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// orphanLife is how long a blob that no manifest names stays readable for the
// one who uploaded it.
const orphanLife = 24 * time.Hour

// grant keeps the blobs of an image open to whoever was given its manifest.
type grant struct {
	principal, upstream, repository string
	manifest                        digest.Digest
}

// Grant notes that an image's manifest has been served: its blobs stay open to
// this principal for gate.grant, also when the verdict flips meanwhile. An
// artifact grants nothing, and a break-glass grant nothing beyond its own time.
func (g *Gate) Grant(q Question, m *image.Manifest, d Decision) {
	if d.Outcome == Served && !d.artifact && !m.Index && d.Pass == nil {
		g.grants.Add(grantOf(q, m.Digest), struct{}{})
	}
}

func grantOf(q Question, m digest.Digest) grant {
	return grant{q.Principal, q.Target.Upstream.Name, q.Target.Repository, m}
}

// Access is what a blob is asked for.
type Access int

const (
	Read   Access = iota // bytes
	Exists               // HEAD: no byte is given away
)

// Blob decides whether a blob of the repository may be served. A blob is what
// the manifests that name it make of it: one that this caller may have here
// suffices. The error is image.ErrBlobUnknown when no manifest names it and the
// caller did not upload it.
func (g *Gate) Blob(ctx context.Context, q Question, d digest.Digest, access Access, push bool) (Decision, error) {
	if access == Exists && push {
		return g.exists(ctx, q, d)
	}
	if g.Config().For(q.Target.Name()).Mode == ModePassive {
		return Decision{Outcome: Served}, nil
	}
	d, naming, err := g.naming(ctx, q.Target, d)
	if err != nil {
		return Decision{}, err
	}
	if len(naming) == 0 {
		return g.orphan(ctx, q, d, push)
	}
	unproven, err := g.Catalog.Unproven(ctx, q.Target.Key(), d)
	if err != nil {
		return Decision{}, err
	}
	for _, m := range naming {
		if _, ok := g.grants.Get(grantOf(q, m)); ok && !unproven[m] {
			return Decision{Outcome: Served}, nil
		}
	}
	q.Tag = ""
	refusal, err := g.byManifests(ctx, q, d, naming, func(m *image.Manifest) Decision { return g.decide(ctx, q, m, forWait) })
	if err != nil || refusal.Outcome == Served {
		return refusal, err
	}
	return g.breakGlass(ctx, q, refusal), nil
}

// exists answers a pusher who asks whether a blob is there: it is, if a manifest
// that names it would be taken from this pusher. Any other is to be uploaded,
// which shows that the pusher has the bytes, and lets it push the fixed image
// that shares a layer with a refused one.
func (g *Gate) exists(ctx context.Context, q Question, d digest.Digest) (Decision, error) {
	known, err := g.Canonical(ctx, d)
	if err != nil {
		return Decision{}, err
	}
	has, err := g.has(ctx, q, known)
	if err != nil {
		return Decision{}, err
	}
	if !has {
		return Decision{}, fmt.Errorf("%w: whoever pushes %s uploads it", image.ErrBlobUnknown, d)
	}
	return Decision{Outcome: Served}, nil
}

// naming returns the digest by which the gate knows a blob, and the manifests
// that name it. A blob that is named by a digest of which nobody knows what else
// it stands for is hashed first.
func (g *Gate) naming(ctx context.Context, t Target, d digest.Digest) (digest.Digest, []digest.Digest, error) {
	known, err := g.Canonical(ctx, d)
	if err != nil {
		return "", nil, err
	}
	all, err := g.Catalog.ManifestsNaming(ctx, t.Key(), known)
	if err != nil || len(all) == 0 || known.Algorithm() == digest.SHA256 {
		return known, all, err
	}
	if known, err = g.Learn(ctx, t, d); err != nil {
		return "", nil, err
	}
	all, err = g.Catalog.ManifestsNaming(ctx, t.Key(), known)
	return known, all, err
}

// byManifests returns the answer of the first image that allows, else a refusal.
// None opens what whoever pushed it had not shown to have, and an artifact only
// what no refused image names. decide is asked about each manifest.
func (g *Gate) byManifests(ctx context.Context, q Question, blob digest.Digest, naming []digest.Digest, decide func(*image.Manifest) Decision) (Decision, error) {
	unproven, err := g.Catalog.Unproven(ctx, q.Target.Key(), blob)
	if err != nil {
		return Decision{}, err
	}
	var refusal, artifact, doubt *Decision
	for _, md := range naming {
		if unproven[md] { // it closes nothing either: else anybody could close anything
			doubt = &Decision{Message: "whoever pushed the manifest that names this blob has not shown to have it: upload it, and push the manifest again"}
			continue
		}
		m, err := g.Manifest(ctx, q.Target, image.Descriptor{Digest: md})
		if err != nil {
			return Decision{}, err
		}
		if m == nil {
			continue
		}
		switch d := decide(m); {
		case d.Outcome == Served && !d.artifact:
			return d, nil
		case d.Outcome == Served:
			artifact = &d
		case refusal == nil || d.Outcome == Pending:
			refusal = &d
		}
	}
	switch {
	case artifact != nil && blob == emptyJSON:
		return *artifact, nil
	case refusal != nil:
		return *refusal, nil
	case artifact != nil:
		return g.byArtifact(ctx, q, blob, *artifact)
	case doubt != nil:
		return *doubt, nil
	}
	return Decision{Message: "no manifest that names this blob is here any more"}, nil
}

// emptyJSON is the empty document that artifacts have for a config, and that
// gives nothing away.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidance-for-an-empty-descriptor
const emptyJSON = digest.Digest("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")

// byArtifact opens a blob that artifacts alone name, unless it is left over from
// an image that was deleted, or whoever pushed them never had it.
func (g *Gate) byArtifact(ctx context.Context, q Question, blob digest.Digest, d Decision) (Decision, error) {
	closed, err := g.Catalog.Closed(ctx, q.Target.Key(), blob)
	if err != nil || !closed {
		return d, err
	}
	return Decision{Message: "the blob came here for something else than the artifact that names it, which is not here or not to be had: upload it for the artifact"}, nil
}

// orphan decides about a blob that no manifest of the repository names.
func (g *Gate) orphan(ctx context.Context, q Question, d digest.Digest, push bool) (Decision, error) {
	if push {
		own, err := g.Catalog.UploadedBy(ctx, q.Target.Key(), d, q.Principal, g.Now().Add(-orphanLife))
		if err != nil {
			return Decision{}, err
		}
		if own {
			return Decision{Outcome: Served}, nil
		}
	}
	return Decision{}, fmt.Errorf("%w: %s is named by no manifest that was pushed or pulled here", image.ErrBlobUnknown, d)
}
