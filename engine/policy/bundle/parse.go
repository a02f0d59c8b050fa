package bundle

import (
	"fmt"
	"strings"

	"github.com/pratique/pratique/engine/policy"
)

// parser reads a document into a Bundle.
type parser struct {
	p    *problems
	root object

	ruleSets   map[string]*ruleSet
	whitelists map[string]*whitelist
	reached    map[string]bool // "rules:ID" and "whitelist:ID" that a mapping names
}

// ruleSet is one of the bundle's "policies".
type ruleSet struct {
	id    string
	hash  string // of its part of the document
	rules []rule // in the order of rows: gates by first appearance
}

// rule is one rule; check is nil when this version cannot evaluate it.
type rule struct {
	id      string
	gate    string // canonical name
	trigger string // as the rule names it, lower case: Anchore's or the later name
	action  policy.Action
	check   check
	reason  string // why check is nil
}

// bundle reads the mappings first: what none of them reaches does nothing, and
// what is wrong with it is a warning.
func (r parser) bundle() *Bundle {
	r.ruleSets, r.whitelists, r.reached = map[string]*ruleSet{}, map[string]*whitelist{}, map[string]bool{}
	r.root.known("id version name comment description policies rule_sets whitelists allowlists mappings " +
		"whitelisted_images allowlisted_images blacklisted_images denylisted_images " +
		"source_mappings sbom_mappings created_at last_updated")
	b := &Bundle{
		ID: r.root.text("id"), Name: r.root.text("name"), Description: r.root.text("comment", "description"),
	}
	b.mappings = r.mappings()
	r.readRuleSets()
	r.readWhitelists()
	for i := range b.mappings {
		r.resolve(&b.mappings[i])
	}
	b.whitelisted = r.imageList("whitelisted_images", "allowlisted_images")
	b.blacklisted = r.imageList("blacklisted_images", "denylisted_images")
	return b
}

func (r parser) mappings() []mapping {
	items, path := r.root.requiredList("mappings")
	if len(items) > maxMappings {
		r.p.add(problemFormat, "%s: more than %d", path, maxMappings)
		return nil
	}
	var list []mapping
	for i, item := range items {
		list = append(list, r.mapping(item, fmt.Sprintf("%s[%d]", path, i)))
	}
	return list
}

func (r parser) mapping(v any, path string) mapping {
	o := r.p.object(v, path)
	o.known("id name comment description registry repository image policy_id policy_ids rule_set_ids " +
		"whitelist_ids allowlist_ids dry_run")
	m := mapping{imageRule: r.imageRule(o, v), path: path, dryRun: o.flag("dry_run")}
	single := o.text("policy_id")
	list, name := o.get("policy_ids", "rule_set_ids")
	switch {
	case single != "" && list != nil:
		r.p.add(problemFormat, "%s: policy_id and %s exclude each other", path, name)
	case single != "":
		m.ruleSetIDs = []string{single}
	case list != nil:
		if m.ruleSetIDs = o.texts("policy_ids", "rule_set_ids"); len(m.ruleSetIDs) == 0 {
			r.p.warn(problemNothingApplied, "%s.%s: is empty, so every image of this mapping passes", path, name)
		}
	default:
		r.p.add(problemFormat, "%s: one of policy_id and policy_ids is required", path)
	}
	m.whitelistIDs = o.texts("whitelist_ids", "allowlist_ids")
	for _, id := range m.ruleSetIDs {
		r.reached["rules:"+id] = true
	}
	for _, id := range m.whitelistIDs {
		r.reached["whitelist:"+id] = true
	}
	return m
}

// imageList reads one of the lists of images that pass or fail.
func (r parser) imageList(names ...string) []imageRule {
	items, path := r.root.list(names...)
	if len(items) > maxMappings {
		r.p.add(problemFormat, "%s: more than %d", path, maxMappings)
		return nil
	}
	var list []imageRule
	for i, item := range items {
		o := r.p.object(item, fmt.Sprintf("%s[%d]", path, i))
		o.known("id name comment description registry repository image")
		list = append(list, r.imageRule(o, item))
	}
	return list
}

// imageRule reads what mappings and image lists share.
func (r parser) imageRule(o object, v any) imageRule {
	out := imageRule{Rule: Rule{ID: o.text("id"), Name: o.text("name"), JSON: canonical(v)}}
	registry := o.required("registry")
	if registry == "dockerhub" {
		registry = "docker.io"
	}
	out.registry = r.pattern(registry, o.path+".registry")
	out.repository = r.pattern(o.required("repository"), o.path+".repository")
	image := r.p.object(o.fields["image"], o.path+".image")
	image.known("type value")
	value := image.required("value")
	switch out.by = image.required("type"); out.by {
	case byTag:
		out.tag = r.pattern(value, image.path+".value")
	case byDigest:
		out.value = value
	case byID:
		out.value = strings.TrimPrefix(value, "sha256:")
	case "": // told already
	default:
		r.p.add(problemFormat, "%s.type: must be tag, digest or id, not %q", image.path, out.by)
	}
	return out
}

func (r parser) pattern(source, path string) pattern {
	p, err := compilePattern(source)
	if err != nil {
		r.p.add(problemFormat, "%s: pattern %q: %v", path, source, err)
	}
	return p
}

// readRuleSets reads all rule sets; those that no mapping reaches with warnings
// for errors, except that an id is there once.
func (r parser) readRuleSets() {
	items, path := r.root.requiredList("policies", "rule_sets")
	rules := 0
	for i, item := range items {
		o := r.p.object(item, fmt.Sprintf("%s[%d]", path, i))
		id := o.required("id")
		if _, twice := r.ruleSets[id]; twice {
			r.p.add(problemDuplicate, "%s: the id %q is used twice", o.path, id)
			continue
		}
		r.p.lesser = !r.reached["rules:"+id]
		set := r.ruleSet(o)
		set.id, set.hash = id, hashOf(item)
		r.p.lesser = false
		r.ruleSets[id] = set
		if rules += len(set.rules); rules > maxRules {
			r.p.add(problemFormat, "%s: more than %d rules", path, maxRules)
			return
		}
	}
}

// version checks the version of a rule set or whitelist, which the later form
// of the document leaves out.
func (r parser) version(o object) {
	if v := o.text("version"); !supportedVersion(v) && (v != "" || r.root.text("version") == "1_0") {
		r.p.add(problemVersion, "%s: version %q is not supported; \"1_0\" is", o.path, v)
	}
}

func (r parser) ruleSet(o object) *ruleSet {
	o.known("id version name comment description artifact_type rules")
	r.version(o)
	items, path := o.requiredList("rules")
	var gates []string
	byGate := map[string][]rule{}
	for i, item := range items {
		ru := r.rule(r.p.object(item, fmt.Sprintf("%s[%d]", path, i)))
		if byGate[ru.gate] == nil {
			gates = append(gates, ru.gate)
		}
		byGate[ru.gate] = append(byGate[ru.gate], ru)
	}
	set := &ruleSet{}
	for _, g := range gates {
		set.rules = append(set.rules, byGate[g]...)
	}
	return set
}

// resolve binds a mapping to the rule sets and whitelists that it names.
func (r parser) resolve(m *mapping) {
	for _, id := range m.ruleSetIDs {
		if set, ok := r.ruleSets[id]; ok {
			m.ruleSets = append(m.ruleSets, set)
		} else {
			r.p.add(problemReference, "%s: there is no policy with the id %q", m.path, id)
		}
	}
	for _, id := range m.whitelistIDs {
		if w, ok := r.whitelists[id]; ok {
			m.whitelists = append(m.whitelists, w)
		} else {
			r.p.add(problemReference, "%s: there is no whitelist with the id %q", m.path, id)
		}
	}
}
