package api

import (
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/gate"
)

// holder is a repository that has a manifest.
type holder struct {
	target   gate.Target
	manifest *image.Manifest
	tags     []string
}

// tags gives the tags that the manifest has anywhere.
func tags(holders []holder) (all []string) {
	for _, h := range holders {
		all = append(all, h.tags...)
	}
	return all
}

// holders finds the repositories that have the manifest. It is
// image.ErrManifestUnknown that none has.
func (a *API) holders(ctx context.Context, d digest.Digest) ([]holder, error) {
	repositories, err := a.Catalog.Holders(ctx, d)
	if err != nil {
		return nil, err
	}
	var all []holder
	for _, repo := range repositories {
		u := a.Gate.Upstreams.Named(repo.Upstream)
		if u == nil {
			continue // no longer configured
		}
		h := holder{target: gate.Target{Upstream: u, Repository: repo.Name}}
		if !a.sees(ctx, h.target) {
			continue
		}
		if h.manifest, err = a.Gate.Manifest(ctx, h.target, image.Descriptor{Digest: d}); err != nil {
			return nil, err
		}
		if h.tags, err = a.Catalog.TagsOf(ctx, repo, d); err != nil {
			return nil, err
		}
		if h.manifest != nil {
			all = append(all, h)
		}
	}
	if len(all) == 0 {
		return nil, image.ErrManifestUnknown
	}
	return all, nil
}

// Outcomes, as answers spell them.
const (
	allowed = "allowed"
	refused = "refused"
	pending = "pending"
)

func outcome(d gate.Decision) string {
	switch d.Outcome {
	case gate.Served:
		return allowed
	case gate.Pending:
		return pending
	}
	return refused
}

// applied names the policy that was applied.
type applied struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Mapping string `json:"mapping"` // name or id of the mapping that matched; "" for none
	DryRun  bool   `json:"dry_run,omitempty"`
}

// standing is what the gate says of an image under one name.
type standing struct {
	Reference string        `json:"reference"` // as it is pulled, without the proxy's own host
	Outcome   string        `json:"outcome"`
	Action    policy.Action `json:"action"`
	Message   string        `json:"message,omitempty"`
	Warning   string        `json:"warning,omitempty"`
	Policy    *applied      `json:"policy,omitempty"`
	Mode      string        `json:"mode"`

	repository string          // Reference without tag and digest
	verdict    *policy.Verdict // nil when there is none
	whitelists []string        // ids of those that the mapping names
}

// stand puts a decision of the gate beside what the policy says. Where the gate
// serves without asking the policy, the policy is asked here, for the reader.
func (a *API) stand(ctx context.Context, q gate.Question, m *image.Manifest, d gate.Decision) standing {
	s := standing{
		Reference: reference(q, m.Digest), Outcome: outcome(d), Message: d.Message, Warning: d.Warning,
		Mode: a.Gate.Config().For(q.Target.Name()).Mode, repository: q.Target.Name(), verdict: d.Verdict,
	}
	if active, err := a.Gate.ActivePolicy(); err == nil {
		if sel, ok := a.selection(ctx, q, m, active); ok {
			s.Policy = &applied{ID: sel.BundleID, Name: sel.BundleName, Mapping: mappingName(sel), DryRun: sel.DryRun}
			s.whitelists = sel.Whitelists
			if s.verdict == nil {
				s.verdict = a.judge(ctx, m.Digest, sel)
			}
		}
	}
	if v := s.verdict; v != nil {
		s.Action = v.Action
		if s.Policy == nil { // an index: the verdict is that of one of its images
			s.Policy = &applied{ID: v.BundleID, Name: v.BundleName, Mapping: v.Mapping, DryRun: v.DryRun}
		}
	}
	return s
}

// selection is what of a bundle applies to an image; for a question without a
// tag, to the tag that the gate finds first.
func (a *API) selection(ctx context.Context, q gate.Question, m *image.Manifest, b *bundle.Bundle) (bundle.Selection, bool) {
	req, ok := a.Gate.Request(ctx, q, m)
	if !ok {
		return bundle.Selection{}, false
	}
	if q.Tag != "" {
		return b.Select(req, a.Gate.Beside()), true
	}
	tags, err := a.Catalog.TagsOf(ctx, q.Target.Key(), m.Digest)
	if err != nil {
		a.Log.Warn("tags not read", "manifest", m.Digest, "error", err)
	}
	return b.SelectAny(req, tags, a.Gate.Beside())[0], true
}

// judge evaluates a selection now, by the data in force, and keeps nothing; nil
// when there is nothing to evaluate by.
func (a *API) judge(ctx context.Context, d digest.Digest, sel bundle.Selection) *policy.Verdict {
	im, err := a.Gate.Inventory(ctx, d)
	if err != nil {
		a.Log.Warn("inventory not read", "manifest", d, "error", err)
		return nil
	}
	snapshot, ok := a.Gate.Data.Current()
	if !ok {
		return nil
	}
	defer snapshot.Release()
	v := engine.Judge(im, engine.Match(im, snapshot), snapshot, sel, a.now())
	return &v
}

func mappingName(sel bundle.Selection) string {
	if sel.Mapping.Name != "" {
		return sel.Mapping.Name
	}
	return sel.Mapping.ID
}

func reference(q gate.Question, d digest.Digest) string {
	if q.Tag != "" {
		return q.Target.Name() + ":" + q.Tag
	}
	return q.Target.Name() + "@" + d.String()
}

// known reports whether a holder is what a person means by a name: as it is
// pulled here, or as the upstream's own registry and repository.
func (a *API) known(h holder, typed string, ref image.Reference) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(typed, a.RegistryHost+"/"), "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	if t, err := a.Gate.Upstreams.Lookup(name, ""); err == nil && t == h.target {
		return true
	}
	u := h.target.Upstream
	return ref.Repository == h.target.Repository && (ref.Registry == u.Prefix || slices.Contains(u.Hostnames, ref.Registry))
}
