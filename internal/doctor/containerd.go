package doctor

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// defaultHosts is the folder for registries that have none of their own.
const defaultHosts = "_default"

// checkNode looks at what the runtimes of the node are told.
func (d *doctor) checkNode() {
	if !d.Node {
		d.report.unasked("node", "the files of runtimes: left out by --skip-node")
		return
	}
	d.progress("reading the files below %s", d.Root)
	seen := []bool{d.checkContainerd(), d.checkRegistriesConf(), d.checkDocker()}
	if !slices.Contains(seen, true) {
		d.report.gap("node", "run it on a node, or in a Pod with the node's file system and --root; --skip-node leaves this out (k3s and RKE2 keep theirs below /var/lib/rancher/*/agent/etc/containerd)",
			"no file below %s tells containerd, CRI-O, podman or docker of any registry", d.Root)
	}
}

// checkContainerd looks at containerd's files, and reports whether there are any.
func (d *doctor) checkContainerd() bool {
	if !d.exists(d.ContainerdConfig) && !d.exists(d.hosts()) {
		return false
	}
	used := d.checkContainerdConfig()
	dir := d.hosts()
	if !used && !d.exists(dir) {
		return false
	}
	folders, err := d.list(dir)
	if err != nil {
		d.report.gap("containerd", "", "%v", err)
		return true
	}
	registries := d.registries()
	for _, folder := range folders {
		if d.isDir(path.Join(dir, folder)) && !slices.Contains(registries, registryOf(folder)) {
			registries = append(registries, registryOf(folder))
		}
	}
	for _, registry := range registries {
		d.checkHosts(dir, registry)
	}
	if !slices.Contains(registries, defaultHosts) {
		d.report.failed("containerd, other registries", "add _default/hosts.toml (deploy/nodes/containerd)",
			"there is no folder %s: images of registries that have no folder come past the proxy", path.Join(dir, defaultHosts))
	}
	return true
}

// hosts is the folder of the hosts.toml files: the one that is named, or that
// containerd is told of, or the usual one.
func (d *doctor) hosts() string {
	if d.HostsDir != "" {
		return d.HostsDir
	}
	if c, err := d.readContainerdConfig(); err == nil {
		if _, configured := judgeContainerdConfig(c, ""); configured != "" {
			return configured
		}
	}
	return DefaultHostsDir
}

// registryOf is the registry that a folder is for.
func registryOf(folder string) string {
	if name, ok := strings.CutSuffix(folder, "_"); ok && folder != defaultHosts {
		if i := strings.LastIndexByte(name, '_'); i > 0 {
			return name[:i] + ":" + name[i+1:]
		}
	}
	return folder
}

// hostsDir is the folder that containerd takes for a registry, "" for none.
func (d *doctor) hostsDir(dir, registry string) string {
	for _, folder := range []string{underscored(registry), registry, defaultHosts} {
		if p := path.Join(dir, folder); d.exists(p) {
			return p
		}
	}
	return ""
}

// underscored is the other name of a folder for a registry with a port.
func underscored(registry string) string {
	if i := strings.LastIndexByte(registry, ':'); i > 0 {
		return registry[:i] + "_" + registry[i+1:] + "_"
	}
	return registry
}

// checkHosts looks at what containerd asks for the images of a registry.
func (d *doctor) checkHosts(dir, registry string) {
	name := "containerd, " + registry
	if registry == defaultHosts {
		name = "containerd, other registries"
	}
	if slices.Contains(d.Direct, registry) {
		d.report.ok(name, "", "may be asked past the proxy (--direct)")
		return
	}
	if d.isProxy(d.base.Scheme, registry) || !image.ValidHost(registry) && registry != defaultHosts {
		return // itself, or no registry's folder
	}
	folder := d.hostsDir(dir, registry)
	if folder == "" {
		d.report.failed(name, "add _default/hosts.toml (deploy/nodes/containerd)", "%s has no folder for it and no %s: images come from the registry itself", dir, defaultHosts)
		return
	}
	file := path.Join(folder, "hosts.toml")
	raw, err := d.read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(raw) == 0:
		d.report.failed(name, "write the file (deploy/nodes/containerd), or remove the folder", "%s is not there or empty: for this folder containerd asks the registry itself, whatever %s says", file, defaultHosts)
		return
	case err != nil:
		d.report.gap(name, "run it as root", "%v", err)
		return
	}
	hosts, err := parseHosts(raw)
	if err != nil { // containerd logs it and goes on as if there were no file
		d.report.failed(name, "mend the file", "%s cannot be read, and containerd then asks the registry itself: %v", file, firstLine(err.Error()))
		return
	}
	j := d.judgeHosts(hosts, folder)
	for i, problem := range j.problems {
		j.problems[i] = file + ": " + problem
	}
	j.fine = file + ": " + j.fine
	if registry != defaultHosts {
		j.next += "; if nodes may ask it past the proxy: --direct " + registry
	}
	d.led[registry] = j.passed()
	d.report.judge(name, j)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
