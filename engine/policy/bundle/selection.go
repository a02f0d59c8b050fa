package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"
)

// Request says of an image what a bundle chooses by. It has no facts of the
// image's content.
type Request struct {
	Registries   []string // host[:port] of the upstream, in every spelling, the best first
	Repositories []string // without host and tag, in every spelling: "nginx", "library/nginx"
	Tag          string   // "": the image has no tag, and only rules for any tag apply
	Digests      []string // of the manifest, "sha256:...", under all known algorithms
	ImageID      string   // digest of the configuration, with or without "sha256:"
	// Cluster and Namespace are where it is to run. A pull comes from neither.
	Cluster   string
	Namespace string
}

// How a rule selects images.
const (
	byTag    = "tag"
	byDigest = "digest"
	byID     = "id"
)

// Rule is a mapping or an entry of an image list that matched.
type Rule struct {
	ID   string
	Name string
	JSON json.RawMessage // as in the bundle, in canonical form
	// Matched is the spelling of the image's name that matched,
	// "docker.io/nginx".
	Matched string
}

// imageRule chooses images by name and by tag, digest or id.
type imageRule struct {
	Rule
	registry   pattern
	repository pattern
	by         string
	tag        pattern
	value      string // digest, or id without "sha256:"
}

// mapping binds the images it chooses to rule sets and whitelists.
type mapping struct {
	imageRule
	path         string // in the document, for messages
	dryRun       bool
	ruleSetIDs   []string
	whitelistIDs []string
	ruleSets     []*ruleSet
	whitelists   []*whitelist
}

// Outcomes of the image lists. The blacklist beats the whitelist.
const (
	Whitelisted = "whitelisted"
	Blacklisted = "blacklisted"
)

// Selection is what of a bundle applies to an image under one name. It is
// immutable.
type Selection struct {
	BundleID   string
	BundleName string
	// Mapped is false when no mapping chooses the image: then no rules speak of
	// it, and whether it may pass is a setting of the deployment, not the
	// bundle's to say.
	Mapped     bool
	Mapping    Rule
	RuleSets   []string // ids
	Whitelists []string // ids
	Exceptions []string // ids of those beside the bundle
	// Listed is "", Whitelisted or Blacklisted; the two rules are those that
	// matched in each list.
	Listed      string
	Whitelisted *Rule
	Blacklisted *Rule
	// DryRun: the verdict is to be recorded and not enforced.
	DryRun bool
	// Hash is the sha256, in hex, of everything above that a verdict depends
	// on: the content of rule sets, whitelists and exceptions, and the outcome of
	// the image lists. Names of bundle and mapping, and DryRun, are not in it: whoever
	// keeps verdicts by hash takes these from the selection at hand.
	Hash string

	ruleSets   []*ruleSet
	whitelists []*whitelist // of the mapping, then exceptions
}

// rulesVersion is part of every hash. It rises when the same rules come to say
// something else of the same facts.
const rulesVersion = "1"

// Select finds what of the bundle, and of the exceptions beside it, applies to an
// image. It is pure and cheap: it compares names, and looks at nothing else.
func (b *Bundle) Select(req Request, beside *Exceptions) Selection {
	req = req.normalised()
	s := Selection{BundleID: b.ID, BundleName: b.Name}
	for i := range b.mappings {
		m := &b.mappings[i]
		matched, ok := m.match(&req)
		if !ok {
			continue
		}
		s.Mapped, s.DryRun = true, m.dryRun
		s.Mapping = m.Rule
		s.Mapping.Matched = matched
		s.RuleSets, s.Whitelists = slices.Clone(m.ruleSetIDs), slices.Clone(m.whitelistIDs)
		s.ruleSets, s.whitelists = m.ruleSets, m.whitelists
		break
	}
	s.whitelists = slices.Clip(s.whitelists) // the mapping's own stays as it is
	for _, e := range beside.that(&req) {
		s.Exceptions = append(s.Exceptions, e.ID)
		s.whitelists = append(s.whitelists, e.findings)
	}
	if s.Whitelisted = firstMatch(b.whitelisted, &req); s.Whitelisted != nil {
		s.Listed = Whitelisted
	}
	if s.Blacklisted = firstMatch(b.blacklisted, &req); s.Blacklisted != nil {
		s.Listed = Blacklisted
	}
	s.Hash = s.hash()
	return s
}

// SelectAny finds what applies to an image that is asked for by digest: one
// selection for each tag that the repository binds to it, those that say the
// same only once. Without tags, only rules for any tag apply.
func (b *Bundle) SelectAny(req Request, tags []string, beside *Exceptions) []Selection {
	if len(tags) == 0 {
		req.Tag = ""
		return []Selection{b.Select(req, beside)}
	}
	type outcome struct {
		hash   string
		dryRun bool
	}
	seen := map[outcome]bool{}
	var list []Selection
	for _, tag := range tags {
		req.Tag = tag
		s := b.Select(req, beside)
		if o := (outcome{s.Hash, s.DryRun}); !seen[o] {
			seen[o] = true
			list = append(list, s)
		}
	}
	return list
}

// normalised spells Docker Hub and image ids as rules do.
func (r Request) normalised() Request {
	r.Registries = slices.Clone(r.Registries)
	for i, host := range r.Registries {
		if host == "dockerhub" {
			r.Registries[i] = "docker.io"
		}
	}
	r.ImageID = strings.TrimPrefix(r.ImageID, "sha256:")
	return r
}

// match reports whether a rule chooses the image, and under which spelling.
func (r *imageRule) match(req *Request) (string, bool) {
	if !r.matchImage(req) {
		return "", false
	}
	for _, registry := range req.Registries {
		if !r.registry.match(registry) {
			continue
		}
		for _, repository := range req.Repositories {
			if r.repository.match(repository) {
				return registry + "/" + repository, true
			}
		}
	}
	return "", false
}

func (r *imageRule) matchImage(req *Request) bool {
	switch r.by {
	case byDigest:
		return slices.Contains(req.Digests, r.value)
	case byID:
		return req.ImageID != "" && req.ImageID == r.value
	}
	if req.Tag == "" {
		return r.tag.any()
	}
	return r.tag.match(req.Tag)
}

func firstMatch(rules []imageRule, req *Request) *Rule {
	for i := range rules {
		if matched, ok := rules[i].match(req); ok {
			r := rules[i].Rule
			r.Matched = matched
			return &r
		}
	}
	return nil
}

func (s *Selection) hash() string {
	h := sha256.New()
	line := func(kind, value string) { _, _ = io.WriteString(h, kind+" "+value+"\n") } // a hash takes everything
	line("rules", rulesVersion)
	if !s.Mapped {
		line("unmapped", "")
	}
	for _, set := range s.ruleSets {
		line("policy", set.hash)
	}
	for _, w := range s.whitelists {
		line("whitelist", w.hash)
	}
	line("listed", s.Listed)
	return hex.EncodeToString(h.Sum(nil))
}
