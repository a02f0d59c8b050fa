package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// crioDir is there where CRI-O is, and CRI-O reads registries.conf.
const crioDir = "/etc/crio"

// registriesConf is what CRI-O, podman, buildah and skopeo are told of registries, of
// all files together.
// https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
type registriesConf struct {
	Search     []string       `toml:"unqualified-search-registries"`
	Registries []registryConf `toml:"registry"`
	Old        map[string]any `toml:"registries"` // of the format before version 2
}

type registryConf struct {
	Prefix   string       `toml:"prefix"`
	Location string       `toml:"location"`
	Insecure bool         `toml:"insecure"`
	Blocked  bool         `toml:"blocked"`
	Mirrors  []mirrorConf `toml:"mirror"`
}

type mirrorConf struct {
	Location string `toml:"location"`
}

func parseRegistriesConf(raw []byte) (registriesConf, error) {
	var c registriesConf
	if err := toml.Unmarshal(raw, &c); err != nil {
		return registriesConf{}, err
	}
	if len(c.Old) > 0 {
		return registriesConf{}, errors.New("it is of the format before version 2, which is not looked into")
	}
	for i, r := range c.Registries {
		if r.Prefix == "" {
			c.Registries[i].Prefix = r.Location
		}
		if c.Registries[i].Prefix == "" {
			return registriesConf{}, errors.New("a registry has neither prefix nor location")
		}
	}
	return c, nil
}

// merge takes over what a file of the folder says: a registry of the same prefix is
// replaced as a whole.
func (c *registriesConf) merge(other registriesConf) {
	if other.Search != nil {
		c.Search = other.Search
	}
	for _, r := range other.Registries {
		c.Registries = slices.DeleteFunc(c.Registries, func(old registryConf) bool { return old.Prefix == r.Prefix })
		c.Registries = append(c.Registries, r)
	}
}

// entry is what counts for all images of a registry, nil if nothing does.
func (c registriesConf) entry(registry string) *registryConf {
	var best *registryConf
	for i, r := range c.Registries {
		suffix, wild := strings.CutPrefix(r.Prefix, "*")
		matches := r.Prefix == registry || wild && strings.HasPrefix(suffix, ".") && strings.HasSuffix(registry, suffix)
		if matches && (best == nil || len(r.Prefix) > len(best.Prefix)) {
			best = &c.Registries[i]
		}
	}
	return best
}

// host is the registry that a prefix is of.
func (r registryConf) host() string {
	first, _, _ := strings.Cut(r.Prefix, "/")
	return first
}

// containersPolicy is a policy.json: which images may be pulled at all.
type containersPolicy struct {
	Default    []requirement                       `json:"default"`
	Transports map[string]map[string][]requirement `json:"transports"`
}

type requirement struct {
	Type string `json:"type"`
}

func parseContainersPolicy(raw []byte) (containersPolicy, error) {
	var p containersPolicy
	err := json.Unmarshal(raw, &p)
	return p, err
}

// rejects reports whether no image of the registry may be pulled. What is said of a
// part of it does not count.
func (p containersPolicy) rejects(registry string) bool {
	docker := p.Transports["docker"]
	for scope := range docker {
		if strings.HasPrefix(scope, registry+"/") {
			return false
		}
	}
	requirements, ok := docker[registry]
	for domain := registry; !ok && domain != ""; {
		_, domain, _ = strings.Cut(domain, ".")
		requirements, ok = docker["*."+domain]
	}
	if !ok {
		requirements, ok = docker[""]
	}
	if !ok {
		requirements = p.Default
	}
	return slices.ContainsFunc(requirements, func(r requirement) bool { return r.Type == "reject" })
}

// checkRegistriesConf looks at the files of CRI-O and podman, and reports whether there
// are any that count.
func (d *doctor) checkRegistriesConf() bool {
	const name = "containers"
	folder := d.RegistriesConf + ".d"
	if !d.exists(d.RegistriesConf) && !d.exists(folder) && !d.exists(crioDir) {
		return false
	}
	conf, err := d.readRegistriesConf(folder)
	if err != nil {
		d.report.gap(name, "", "%s", firstLine(err.Error()))
		return true
	}
	if len(conf.Registries) == 0 && !d.exists(crioDir) {
		d.report.unasked(name, "%s names no registry: podman and skopeo, if they are used here, pull past the proxy", d.RegistriesConf)
		return false
	}
	policy, known := d.checkPolicy()
	d.checkSearch(conf, policy)
	registries := d.registries()
	for _, r := range conf.Registries {
		if !slices.Contains(registries, r.host()) {
			registries = append(registries, r.host())
		}
	}
	for _, registry := range registries {
		if !d.isProxy("https", registry) && !d.isProxy("http", registry) {
			d.judgeRegistry(conf, policy, registry)
		}
	}
	const others = "containers, other registries"
	switch {
	case !known:
	case policy.rejects("unnamed.invalid"):
		d.report.ok(others, "", "%s rejects them", d.policyFile())
	default:
		d.report.failed(others, "let the default be reject, and allow by name what may be pulled (deploy/nodes/crio/policy.json)",
			"%s lets images of registries that are not named come past the proxy", d.policyFile())
	}
	return true
}

func (d *doctor) policyFile() string { return path.Join(path.Dir(d.RegistriesConf), "policy.json") }

// checkPolicy reads policy.json. Without it, nothing is said to be rejected.
func (d *doctor) checkPolicy() (p containersPolicy, known bool) {
	raw, err := d.read(d.policyFile())
	if err == nil {
		p, err = parseContainersPolicy(raw)
	}
	if err != nil {
		d.report.gap("containers, other registries", "where CRI-O names another file (signature_policy), look at that one", "%s: %v", d.policyFile(), firstLine(strings.TrimPrefix(err.Error(), d.policyFile()+": ")))
	}
	return p, err == nil
}

func (d *doctor) readRegistriesConf(folder string) (registriesConf, error) {
	names, err := d.list(folder)
	if err != nil {
		return registriesConf{}, err
	}
	files := []string{d.RegistriesConf}
	for _, name := range names {
		if strings.HasSuffix(name, ".conf") {
			files = append(files, path.Join(folder, name))
		}
	}
	var all registriesConf
	for _, file := range files {
		raw, err := d.read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return registriesConf{}, err
		}
		c, err := parseRegistriesConf(raw)
		if err != nil {
			return registriesConf{}, fmt.Errorf("%s: %w", file, err)
		}
		all.merge(c)
	}
	return all, nil
}

// checkSearch looks at where names without a registry lead.
func (d *doctor) checkSearch(conf registriesConf, policy containersPolicy) {
	for _, registry := range conf.Search {
		if conf.entry(registry) == nil && !policy.rejects(registry) && !d.isProxy("https", registry) && !d.isProxy("http", registry) && !slices.Contains(d.Direct, registry) {
			d.report.failed("containers, short names", "unqualified-search-registries = []", "names without a registry are searched at %s, past the proxy", registry)
		}
	}
}

// judgeRegistry says where the images of a registry come from.
func (d *doctor) judgeRegistry(conf registriesConf, policy containersPolicy, registry string) {
	j := judgement{next: fmt.Sprintf("[[registry]] with prefix = %q and location = %q, and no [[registry.mirror]] (deploy/nodes/crio)", registry, d.base.Host+"/"+registry)}
	if strings.HasPrefix(registry, "*") {
		j.next = "write a [[registry]] for each registry by its name, with a location at the proxy (deploy/nodes/crio)"
	}
	entry := conf.entry(registry)
	switch {
	case slices.Contains(d.Direct, registry):
		j.fine = "may be asked past the proxy (--direct)"
	case policy.rejects(registry):
		j.fine = d.policyFile() + " rejects it"
	case entry == nil:
		j.problem("no [[registry]] is for it: images come from the registry itself")
	default:
		j.fine = "its location is " + entry.Location
		d.judgeEntry(&j, *entry)
	}
	for _, part := range conf.Registries {
		if strings.HasPrefix(part.Prefix, registry+"/") && j.fine != "" && !policy.rejects(registry) && !slices.Contains(d.Direct, registry) {
			d.judgeEntry(&j, part)
		}
	}
	d.report.judge("containers, "+registry, j)
}

func (d *doctor) judgeEntry(j *judgement, entry registryConf) {
	if entry.Blocked {
		j.fine = "it is blocked"
		return
	}
	leads := func(location string) bool {
		host, _, _ := strings.Cut(location, "/")
		return d.isProxy(d.base.Scheme, host)
	}
	mirrored := false
	for _, m := range entry.Mirrors {
		mirrored = mirrored || leads(m.Location)
		if !leads(m.Location) {
			j.problem("prefix %s: the mirror %s is not the proxy", entry.Prefix, m.Location)
		}
	}
	location := entry.Location
	if location == "" {
		location = entry.Prefix
	}
	switch {
	case leads(location):
	case mirrored:
		j.problem("prefix %s: the proxy is a mirror: when it refuses, %s is asked", entry.Prefix, location)
	default:
		j.problem("prefix %s: its location is %s, which is not the proxy", entry.Prefix, location)
	}
	if entry.Insecure && d.base.Scheme == "https" {
		j.note("insecure: whoever stands between can answer in the proxy's place")
	}
}
