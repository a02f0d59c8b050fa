package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxImports bounds the files that containerd's configuration names.
const maxImports = 64

// The plugins that pull: of containerd 1 and 2, and the service through which 2.1 and
// later do it.
const (
	pluginCRI      = "io.containerd.grpc.v1.cri"
	pluginImages   = "io.containerd.cri.v1.images"
	pluginTransfer = "io.containerd.transfer.v1.local"
)

// containerdConfig is what config.toml says about pulling.
type containerdConfig struct {
	Version  int                       `toml:"version"`
	Imports  []string                  `toml:"imports"`
	Disabled []string                  `toml:"disabled_plugins"`
	Plugins  map[string]containerdPull `toml:"plugins"`
}

// containerdPull is one plugin, with what is of interest of all.
type containerdPull struct {
	ConfigPath string `toml:"config_path"`
	LocalPull  *bool  `toml:"use_local_image_pull"`
	Registry   struct {
		ConfigPath string         `toml:"config_path"`
		Mirrors    map[string]any `toml:"mirrors"`
	} `toml:"registry"`
}

func parseContainerdConfig(raw []byte) (containerdConfig, error) {
	var c containerdConfig
	err := toml.Unmarshal(raw, &c)
	return c, err
}

// off reports whether the plugin that kubelets pull by is switched off, as in the
// containerd that comes with docker.
func (c containerdConfig) off() bool {
	return slices.ContainsFunc(c.Disabled, func(p string) bool { return p == "cri" || p == pluginCRI || p == pluginImages })
}

// merge takes over what another file says.
func (c *containerdConfig) merge(other containerdConfig) {
	if c.Plugins == nil {
		c.Plugins = map[string]containerdPull{}
	}
	c.Disabled = append(c.Disabled, other.Disabled...)
	for name, theirs := range other.Plugins {
		ours := c.Plugins[name]
		if theirs.ConfigPath != "" {
			ours.ConfigPath = theirs.ConfigPath
		}
		if theirs.Registry.ConfigPath != "" {
			ours.Registry.ConfigPath = theirs.Registry.ConfigPath
		}
		if len(theirs.Registry.Mirrors) > 0 {
			ours.Registry.Mirrors = theirs.Registry.Mirrors
		}
		if theirs.LocalPull != nil {
			ours.LocalPull = theirs.LocalPull
		}
		c.Plugins[name] = ours
	}
}

// checkContainerdConfig looks whether containerd is told of the folder, and reports
// whether a kubelet can pull by it at all.
func (d *doctor) checkContainerdConfig() (used bool) {
	const name = "containerd, config_path"
	c, err := d.readContainerdConfig()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.report.gap(name, "name the file with --containerd-config, or write one (deploy/nodes/containerd): most versions read no hosts.toml without it",
			"%s is not there", d.ContainerdConfig)
		return true
	case err != nil:
		d.report.gap(name, "", "%s: %s", d.ContainerdConfig, firstLine(err.Error()))
		return true
	case c.off():
		d.report.unasked(name, "%s switches the plugin cri off, as docker's containerd does: no kubelet pulls by it", d.ContainerdConfig)
		return false
	}
	j, _ := judgeContainerdConfig(c, d.HostsDir)
	d.report.judge(name, j)
	return true
}

// judgeContainerdConfig says whether what pulls is told where the hosts.toml files
// are. want is the folder that they have to be in, "" for any.
func judgeContainerdConfig(c containerdConfig, want string) (j judgement, configured string) {
	j.next = fmt.Sprintf("set config_path = %q, as in deploy/nodes/containerd, and restart containerd", cmp.Or(want, DefaultHostsDir))
	plugin := pluginImages
	if c.Version < 3 {
		plugin = pluginCRI
	}
	cri, transfer := c.Plugins[plugin], c.Plugins[pluginTransfer]
	local := cri.LocalPull != nil && *cri.LocalPull
	configured = cri.Registry.ConfigPath
	for _, mirrored := range []string{pluginCRI, pluginImages} {
		if len(c.Plugins[mirrored].Registry.Mirrors) > 0 {
			j.problem("registry.mirrors of %s: containerd goes on to the registry itself after a refusal", mirrored)
		}
	}
	switch {
	case configured == "" && c.Version >= 3 && c.Plugins[pluginCRI].Registry.ConfigPath != "":
		j.problem("config_path stands under %s, which a file of version 3 has no more: it is %s", pluginCRI, pluginImages)
	case configured == "":
		j.problem("%s has no registry.config_path: no hosts.toml is read", plugin)
	case want != "" && !slices.Contains(strings.Split(configured, ":"), want):
		j.problem("config_path is %s, and not %s", configured, want)
	case c.Version >= 3 && strings.Contains(configured, ":"):
		j.gap("config_path is a list, %s: the transfer service of containerd 2.1 and later takes it for one folder and reads none", configured)
	case c.Version >= 3 && !local && transfer.ConfigPath == "":
		j.gap("%s has no config_path: containerd 2.1 and later pull by it, and then read no hosts.toml (--runtime crictl shows)", pluginTransfer)
	case c.Version >= 3 && !local && transfer.ConfigPath != configured:
		j.problem("config_path of %s is %s, and that of %s %s", pluginImages, configured, pluginTransfer, transfer.ConfigPath)
	}
	if c.Version < 3 && transfer.ConfigPath == "" {
		j.note("with containerd 2.1 or later, give %s its config_path too (deploy/nodes/containerd/config-v3.toml)", pluginTransfer)
	}
	j.fine = "containerd reads " + configured
	configured, _, _ = strings.Cut(configured, ":")
	return j, configured
}

// readContainerdConfig reads the file and those that it imports.
func (d *doctor) readContainerdConfig() (containerdConfig, error) {
	raw, err := d.read(d.ContainerdConfig)
	if err != nil {
		return containerdConfig{}, err
	}
	c, err := parseContainerdConfig(raw)
	if err != nil {
		return containerdConfig{}, err
	}
	for _, pattern := range c.Imports {
		files, err := d.imported(join(path.Dir(d.ContainerdConfig), pattern))
		if err != nil {
			return containerdConfig{}, err
		}
		for _, file := range files {
			raw, err := d.read(file)
			if err != nil {
				return containerdConfig{}, err
			}
			other, err := parseContainerdConfig(raw)
			if err != nil {
				return containerdConfig{}, fmt.Errorf("%s: %w", file, err)
			}
			if len(other.Imports) > 0 {
				return containerdConfig{}, fmt.Errorf("%s imports files itself, which the doctor does not follow", file)
			}
			c.merge(other)
		}
	}
	return c, nil
}

// imported lists the files of a pattern, whose last part alone may have wildcards.
func (d *doctor) imported(pattern string) ([]string, error) {
	dir, last := path.Split(pattern)
	if strings.ContainsAny(dir, "*?[") {
		return nil, fmt.Errorf("imports %q: not looked into", pattern)
	}
	if !strings.ContainsAny(last, "*?[") {
		return []string{pattern}, nil
	}
	names, err := d.list(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, name := range names {
		if matched, err := path.Match(last, name); err != nil {
			return nil, fmt.Errorf("imports %q: %w", pattern, err)
		} else if matched {
			files = append(files, path.Join(dir, name))
		}
	}
	if len(files) > maxImports {
		return nil, fmt.Errorf("imports %q: %w (%d files)", pattern, errTooMuch, maxImports)
	}
	return files, nil
}
