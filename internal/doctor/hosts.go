package doctor

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// hostsFile is a hosts.toml of containerd: the hosts that are asked for a registry's
// images, one after the other until one has them, and the server last of all.
// https://github.com/containerd/containerd/blob/main/docs/hosts.md
type hostsFile struct {
	Server string `toml:"server"`
	host
	Hosts map[string]host `toml:"host"`
}

type host struct {
	Capabilities []string `toml:"capabilities"`
	CA           any      `toml:"ca"` // one file, or a list
	SkipVerify   bool     `toml:"skip_verify"`
	OverridePath bool     `toml:"override_path"`
}

func parseHosts(raw []byte) (hostsFile, error) {
	var f hostsFile
	if err := toml.Unmarshal(raw, &f); err != nil {
		return hostsFile{}, err
	}
	for address, h := range f.entries() {
		for _, c := range h.Capabilities {
			if !slices.Contains([]string{"pull", "resolve", "push"}, strings.ToLower(c)) {
				return hostsFile{}, fmt.Errorf("%s: capability %q is none", address, c)
			}
		}
		if _, err := parseHost(address); err != nil {
			return hostsFile{}, err
		}
		if _, err := h.authorities(); err != nil {
			return hostsFile{}, fmt.Errorf("%s: %w", address, err)
		}
	}
	return f, nil
}

// entries are the hosts with the server, by address.
func (f hostsFile) entries() map[string]host {
	all := maps.Clone(f.Hosts)
	if all == nil {
		all = map[string]host{}
	}
	if _, twice := all[f.Server]; f.Server != "" && !twice {
		all[f.Server] = f.host
	}
	return all
}

func parseHost(address string) (*url.URL, error) {
	if !strings.HasPrefix(address, "http") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no address", address)
	}
	return u, nil
}

func (h host) can(capability string) bool {
	return len(h.Capabilities) == 0 || slices.ContainsFunc(h.Capabilities, func(c string) bool { return strings.EqualFold(c, capability) })
}

func (h host) authorities() ([]string, error) {
	switch ca := h.CA.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{ca}, nil
	case []any:
		var files []string
		for _, file := range ca {
			text, ok := file.(string)
			if !ok {
				return nil, fmt.Errorf("ca holds %T", file)
			}
			files = append(files, text)
		}
		return files, nil
	}
	return nil, fmt.Errorf("ca is %T", h.CA)
}

// judgeHosts says whether a hosts.toml of a registry leads to the proxy alone. dir is
// the folder that it lies in.
func (d *doctor) judgeHosts(f hostsFile, dir string) judgement {
	var j judgement
	can := map[string]bool{}
	entries := f.entries()
	for _, address := range slices.Sorted(maps.Keys(entries)) {
		h := entries[address]
		u, err := parseHost(address)
		if err != nil { // parseHosts has looked
			j.problem("%v", err)
			continue
		}
		if !d.isProxy(u.Scheme, u.Host) {
			j.problem("%s is asked, which is not the proxy", u.Host)
			continue
		}
		if p := path.Clean("/" + u.Path); p != "/" && p != "/v2" && !h.OverridePath {
			j.problem("%s: containerd asks below %s/v2, where the proxy has nothing", address, strings.TrimSuffix(p, "/v2"))
		}
		for _, capability := range []string{"pull", "resolve"} {
			can[capability] = can[capability] || h.can(capability)
		}
		d.judgeTrust(&j, address, h, dir)
	}
	if f.Server == "" {
		j.problem(`there is no line "server": when the proxy refuses, containerd asks the registry itself`)
	}
	for _, capability := range []string{"pull", "resolve"} {
		if len(entries) > 0 && !can[capability] && len(j.problems) == 0 {
			j.problem("no host has the capability %q: pulls fail", capability)
		}
	}
	j.fine = "the proxy is the only host, and the server"
	j.next = fmt.Sprintf("write server = %q and [host.%q] with capabilities = [\"pull\", \"resolve\"], and no other host (deploy/nodes/containerd)", d.report.Proxy, d.report.Proxy)
	return j
}

// judgeTrust looks at the certificates of one host.
func (d *doctor) judgeTrust(j *judgement, address string, h host, dir string) {
	if h.SkipVerify {
		j.note("%s: skip_verify: whoever stands between can answer in the proxy's place; name its authority with ca", address)
	}
	files, err := h.authorities()
	if err != nil {
		j.problem("%s: %v", address, err)
	}
	for _, file := range files {
		if file = join(dir, file); !d.exists(file) {
			j.problem("%s: the authority %s is not there: pulls fail", address, file)
		}
	}
}
