// Package scan looks at images without a running system: from a registry, a
// folder or an archive in the OCI image layout.
//
// It knows where bytes come from and how a result is shown to machines; what is
// in them is the engine's to know. Start with Scan.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/engine/misconfig"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/engine/sbom"
)

// Images is a place that has images. Both methods are safe for concurrent use.
type Images interface {
	// Manifest returns the bytes that a descriptor stands for.
	Manifest(ctx context.Context, d image.Descriptor) ([]byte, error)
	// Blob opens content; image.ErrBlobUnknown when it is not there.
	Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error)
}

// Options say how to scan.
type Options struct {
	Reference string // as the person typed it, for the result
	// Name is the image's name, for the policy's mappings.
	Name     image.Reference
	Bundle   *bundle.Bundle
	Data     engine.Data
	Analyzer *layer.Analyzer
	Cache    *Cache         // nil: everything is read
	SBOM     *sbom.Document // a bill of materials to compare with; may be nil
	Platform string         // "linux/arm64": only this one; "" for all
	// Progress is told what is being done; it is called from several goroutines.
	Progress func(step string)
	Now      time.Time
}

// Document is what was found of one platform of an image. Its JSON form is a
// contract: fields are added, never renamed.
type Document struct {
	Reference string                       `json:"reference"`
	Digest    digest.Digest                `json:"digest"`
	Platform  string                       `json:"platform"`
	Kind      inventory.Kind               `json:"kind"`
	Distro    inventory.Distro             `json:"distro"`
	Packages  []Package                    `json:"packages"`
	Locked    []Package                    `json:"locked,omitempty"` // named by lock files, and not known to be installed
	Findings  []finding.Finding            `json:"findings"`
	Secrets   []inventory.Secret           `json:"secrets"`
	Misconfig []inventory.Misconfiguration `json:"misconfigurations"`
	Malware   []inventory.Malware          `json:"malware,omitempty"`
	Gaps      []inventory.Gap              `json:"gaps"`
	Verdict   Verdict                      `json:"verdict"`
	// SBOM is how a bill of materials, if one was given, differs.
	SBOM *sbom.Difference `json:"sbom,omitempty"`
	// Image is the whole inventory; nil for what is no image.
	Image *inventory.Image `json:"-"`
}

// Package is an installed package, at all the places where it is.
type Package struct {
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Type      string   `json:"type"`
	PURL      string   `json:"purl,omitempty"`
	Source    string   `json:"source,omitempty"`
	License   string   `json:"license,omitempty"`
	Module    string   `json:"module,omitempty"`
	Evidence  string   `json:"evidence,omitempty"`
	Locations []string `json:"locations"`
	OwnedBy   string   `json:"owned_by,omitempty"`
	Layer     int      `json:"layer"`
}

// Verdict is what policy makes of it.
type Verdict struct {
	Action  policy.Action `json:"action"`
	Passed  bool          `json:"passed"` // action is not stop, and nothing blind
	Policy  string        `json:"policy"`
	Message string        `json:"message,omitempty"` // why it did not pass
	Reasons []policy.Row  `json:"reasons"`
}

const maxNesting = 8 // indexes in each other

// errNothing: a scan that looked at nothing has found nothing to be in order.
var errNothing = errors.New("the index has no image, or none that is here")

// Scan looks at the image that root stands for: one document for each platform
// of an index. Entries of an index that are not here are left out; a result
// without any document is an error.
func Scan(ctx context.Context, images Images, root image.Descriptor, o Options) ([]Document, error) {
	s := &scanner{images: images, options: o, reports: map[digest.Digest]*inventory.Report{}}
	if err := s.visit(ctx, root, 0); err != nil {
		return nil, err
	}
	switch {
	case len(s.documents) > 0:
		return s.documents, nil
	case o.Platform != "":
		return nil, fmt.Errorf("the image has no platform %s", o.Platform)
	}
	return nil, errNothing
}

type scanner struct {
	images    Images
	options   Options
	documents []Document

	mu      sync.Mutex
	reports map[digest.Digest]*inventory.Report
}

// visit scans a manifest, or what an index holds.
func (s *scanner) visit(ctx context.Context, d image.Descriptor, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("indexes lie more than %d deep in each other", maxNesting)
	}
	raw, err := s.images.Manifest(ctx, d)
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", d.Digest, err)
	}
	m, err := image.ParseManifest(raw, d.MediaType)
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", d.Digest, err)
	}
	if d.Digest != "" && d.Digest != m.Digest {
		return fmt.Errorf("read manifest %s: %w", d.Digest, image.ErrDigestInvalid)
	}
	if !m.Index {
		return s.scan(ctx, m)
	}
	for _, child := range m.Manifests {
		err := s.visit(ctx, child, depth+1)
		if errors.Is(err, image.ErrManifestUnknown) && len(m.Manifests) > 1 {
			s.options.Progress("not here: " + child.Digest.String())
			continue // a sparse index
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) scan(ctx context.Context, m *image.Manifest) error {
	subject, im, err := s.inspect(ctx, m)
	if err != nil {
		return err
	}
	doc := Document{Reference: s.options.Reference, Digest: m.Digest, Kind: subject.Kind, Packages: []Package{}, Findings: []finding.Finding{}, Gaps: []inventory.Gap{}, Secrets: []inventory.Secret{}, Misconfig: []inventory.Misconfiguration{}}
	doc.Verdict.Reasons = []policy.Row{}
	switch subject.Kind {
	case inventory.KindArtifact:
		doc.Verdict.Action, doc.Verdict.Passed, doc.Verdict.Message = policy.Go, true, "an artifact without a runnable layer"
	case inventory.KindUnscannable:
		doc.Verdict.Action, doc.Verdict.Message = policy.Stop, "the image cannot be read: "+subject.Reason
		doc.Gaps = append(doc.Gaps, inventory.Gap{Kind: inventory.Blind, Code: "unscannable", Layer: -1, Detail: subject.Reason})
	default:
		s.judge(&doc, m, subject, im)
	}
	if s.options.Platform == "" || s.options.Platform == doc.Platform {
		s.documents = append(s.documents, doc)
	}
	return nil
}

// judge fills in what was found in an image, and what policy makes of it.
func (s *scanner) judge(doc *Document, m *image.Manifest, subject inventory.Subject, im *inventory.Image) {
	o := s.options
	doc.Image = im
	if o.SBOM != nil {
		difference := sbom.Compare(im, o.SBOM)
		doc.SBOM = &difference
	}
	doc.Platform, doc.Distro, doc.Packages = im.Platform.String(), im.Distro, packages(im.Packages)
	if len(im.Locked) > 0 {
		doc.Locked = packages(im.Locked)
	}
	found := engine.Match(im, o.Data)
	doc.Findings = append(doc.Findings, found.Findings...)
	doc.Secrets, doc.Misconfig, doc.Malware = append(doc.Secrets, im.Secrets...), append(doc.Misconfig, im.Misconfig...), im.Malware
	doc.Misconfig = append(doc.Misconfig, misconfig.Tags([]string{o.Name.Tag})...)
	req := bundle.Request{Registries: []string{o.Name.Registry}, Repositories: []string{o.Name.Repository}, Tag: o.Name.Tag, Digests: []string{m.Digest.String()}}
	if subject.DiffIDsMatch {
		req.ImageID = m.Config.Digest.String()
	}
	sel := o.Bundle.Select(req, nil)
	v := engine.Judge(im, found, o.Data, sel, o.Now)
	doc.Gaps = append(doc.Gaps, v.Gaps...)
	blind := (&inventory.Image{Gaps: v.Gaps}).Blind()
	doc.Verdict = Verdict{Action: v.Action, Passed: v.Action != policy.Stop && v.Action != policy.Unknown, Policy: sel.BundleName, Reasons: append([]policy.Row{}, v.Rows...)}
	switch {
	case !sel.Mapped && sel.Listed == "":
		doc.Verdict.Passed, doc.Verdict.Message = false, "no mapping of the policy matches the image's name"
	case len(blind) > 0 && sel.Listed != bundle.Whitelisted:
		doc.Verdict.Passed, doc.Verdict.Message = false, "the image is not understood: "+blind[0].Detail
	case v.Action == policy.Stop:
		doc.Verdict.Message = fmt.Sprintf("policy %q says stop", sel.BundleName)
	}
}

// packages joins what is installed in several places.
func packages(all []inventory.Package) []Package {
	type key struct{ name, version, typ, arch, source, evidence string }
	index := map[key]int{}
	joined := []Package{}
	for _, p := range all {
		k := key{p.Name, p.Version, p.Type, p.Arch, p.Source, p.Evidence}
		i, ok := index[k]
		if !ok {
			i = len(joined)
			index[k] = i
			joined = append(joined, Package{Name: p.Name, Version: p.Version, Type: p.Type, PURL: p.PURL, Source: p.Source, License: p.License, Module: p.Module, Evidence: p.Evidence, OwnedBy: p.OwnedBy, Layer: p.Layer})
		}
		joined[i].Locations = append(joined[i].Locations, p.Place())
	}
	for i := range joined {
		slices.Sort(joined[i].Locations)
	}
	return joined
}

// prefetch analyses the layers side by side.
func (s *scanner) prefetch(ctx context.Context, m *image.Manifest) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, d := range m.Layers {
		if !image.IsLayerType(d.MediaType) {
			continue
		}
		group.Go(func() error {
			s.options.Progress(fmt.Sprintf("layer %d of %d", i+1, len(m.Layers)))
			_, err := s.Report(ctx, d)
			if errors.Is(err, image.ErrBlobUnknown) {
				return nil // for the analysis to judge
			}
			return err
		})
	}
	return group.Wait()
}

// Blob is part of engine.Source.
func (s *scanner) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	return s.images.Blob(ctx, d)
}

// Report is part of engine.Source.
func (s *scanner) Report(ctx context.Context, d image.Descriptor) (*inventory.Report, error) {
	s.mu.Lock()
	r, ok := s.reports[d.Digest]
	s.mu.Unlock()
	if ok {
		return r, nil
	}
	if s.options.Cache != nil {
		if known, ok := s.options.Cache.report(d.Digest, s.options.Analyzer.Maker()); ok && s.verified(ctx, d) {
			return s.keep(d, known), nil
		}
	}
	body, err := s.images.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	r, err = s.options.Analyzer.Analyze(ctx, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if r.Digest != d.Digest {
		return nil, fmt.Errorf("layer %s: %w", d.Digest, image.ErrDigestInvalid)
	}
	if s.options.Cache != nil {
		if err := s.options.Cache.putReport(d.Digest, r); err != nil {
			return nil, err
		}
		s.remember(d)
	}
	return s.keep(d, r), nil
}

func (s *scanner) keep(d image.Descriptor, r *inventory.Report) *inventory.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports[d.Digest] = r
	return r
}
