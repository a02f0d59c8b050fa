package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
)

// Explanation is what is known of a manifest, for a person.
type Explanation struct {
	Digest    digest.Digest
	MediaType string
	Index     bool
	Subject   inventory.Subject // zero Kind: not analysed yet, or an index
	Image     *inventory.Image  // nil unless analysed as an image
	Findings  []finding.Finding // by the data in force
	Gaps      []inventory.Gap   // of the image, its distribution's support, and the matching
	Children  []Child           // of an index
	Places    []Place           // where it is, and what the gate says there
}

// Child is one entry of an index.
type Child struct {
	Digest   digest.Digest
	Platform string // as the index claims it; "" when it claims none
	Known    bool   // the manifest is in the catalog
	Decision Decision
}

// Place is a repository that has the manifest.
type Place struct {
	Repository string // as it is pulled, without the proxy's own host
	Tags       []string
	Mode       string
	Decision   Decision
}

// Explain says what is known of a manifest and what the gate makes of it in
// each repository that has it. It analyses nothing.
func (g *Gate) Explain(ctx context.Context, d digest.Digest) (*Explanation, error) {
	holders, err := g.Catalog.Holders(ctx, d)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Digest: d}
	var first *image.Manifest
	for _, repo := range holders {
		u := g.Upstreams.Named(repo.Upstream)
		if u == nil {
			continue
		}
		t := Target{u, repo.Name}
		m, err := g.Manifest(ctx, t, image.Descriptor{Digest: d})
		if err != nil {
			return nil, err
		}
		tags, err := g.Catalog.TagsOf(ctx, repo, d)
		if err != nil {
			return nil, err
		}
		q := Question{Target: t}
		if first == nil {
			first = m
			e.Children = g.children(ctx, q, m)
		}
		e.Places = append(e.Places, Place{t.Name(), tags, g.Config().For(t.Name()).Mode, g.Known(ctx, q, m)})
	}
	if first == nil {
		return nil, fmt.Errorf("%w: %s was neither pushed nor pulled here", image.ErrManifestUnknown, d)
	}
	e.MediaType, e.Index = first.MediaType, first.Index
	return e, g.explainContent(ctx, e)
}

func (g *Gate) children(ctx context.Context, q Question, m *image.Manifest) []Child {
	var all []Child
	for _, d := range m.Manifests {
		c := Child{Digest: d.Digest, Platform: claimed(d)}
		if child, err := g.Manifest(ctx, q.Target, d); err == nil && child != nil {
			c.Known, c.Decision = true, g.Known(ctx, q, child)
		}
		all = append(all, c)
	}
	return all
}

// claimed is the platform that an index claims of an entry; "" for none.
func claimed(d image.Descriptor) string {
	p := d.Platform
	if p == nil {
		return ""
	}
	return inventory.Platform{OS: clean(p.OS), Architecture: clean(p.Architecture), Variant: clean(p.Variant)}.String()
}

// explainContent adds inventory and findings, where there are any.
func (g *Gate) explainContent(ctx context.Context, e *Explanation) error {
	s, err := g.Catalog.Subject(ctx, e.Digest)
	if err != nil || s == nil {
		return err
	}
	e.Subject = *s
	if s.Kind != inventory.KindImage {
		return nil
	}
	if e.Image, err = g.Inventory(ctx, e.Digest); err != nil {
		return err
	}
	e.Gaps = append(slices.Clone(e.Image.Gaps), match.Unsupported(e.Image.Distro, g.Now())...)
	snapshot, ok := g.Data.Current()
	if !ok {
		return nil
	}
	defer snapshot.Release()
	found := engine.Match(e.Image, snapshot)
	e.Findings, e.Gaps = found.Findings, append(e.Gaps, found.Gaps...)
	return nil
}

// Find resolves a reference as a person types it for this proxy: with the
// proxy's own host in front or without, by tag or digest. It asks the upstream
// what a tag stands for, and analyses what was never seen, as a pull would. may says whether the one who asks may.
func (g *Gate) Find(ctx context.Context, reference, ownHost string, may func(Target) error) (Question, *image.Manifest, Decision, error) {
	name, ref, err := splitReference(strings.TrimPrefix(reference, ownHost+"/"))
	if err != nil {
		return Question{}, nil, Decision{}, err
	}
	t, err := g.Upstreams.Lookup(name, "")
	if err != nil {
		return Question{}, nil, Decision{}, err
	}
	if err := may(t); err != nil {
		return Question{}, nil, Decision{}, err
	}
	q := Question{Target: t}
	if !strings.Contains(ref, ":") {
		q.Tag = ref
	}
	before, err := g.Bound(ctx, q)
	if err != nil {
		return q, nil, Decision{}, err
	}
	m, err := g.Fetch(ctx, q, ref)
	if err == nil {
		err = g.Bind(ctx, q, m, before)
	}
	if err != nil {
		return q, nil, Decision{}, err
	}
	if m.Index {
		return q, m, g.whole(ctx, q, g.Config().For(t.Name()), m), nil
	}
	return q, m, g.decide(ctx, q, m, forWait), nil
}

// splitReference splits "name[:tag][@digest]"; the tag latest is implied.
func splitReference(s string) (name, ref string, err error) {
	if name, d, ok := strings.Cut(s, "@"); ok {
		if _, err := digest.Parse(d); err != nil {
			return "", "", fmt.Errorf("%w %q: %w", image.ErrInvalidReference, clean(s), err)
		}
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			name = name[:i]
		}
		return name, d, nil
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		if s, ref = s[:i], s[i+1:]; !image.ValidTag(ref) {
			return "", "", fmt.Errorf("%w: %q is no tag", image.ErrInvalidReference, clean(ref))
		}
		return s, ref, nil
	}
	if s == "" {
		return "", "", errors.New("no reference given")
	}
	return s, "latest", nil
}
