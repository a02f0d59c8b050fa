// Package doctor looks, from a node or a pod, whether images really come through
// Pratique and whether it refuses what it must: it asks the proxy, reads what the
// node's runtimes are told, has a runtime pull, and asks the cluster.
//
// It must not know how the gate decides, and changes nothing but what it is asked
// to: a test image that it pushes, and images that a runtime pulls for it; both are
// removed. What it could not find out it says, and never takes for good. Start
// with Run; each file is one group of checks.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/admission/cluster"
)

// Options say what to look at. Only Proxy is required.
type Options struct {
	// Proxy is the registry's address: scheme, host and port.
	Proxy string
	// Aliases are other hosts, with their port, by which nodes know the proxy.
	Aliases []string
	// CAFile is trusted besides the system's authorities; Insecure trusts anybody.
	CAFile   string
	Insecure bool
	// Username and Password are shown to the proxy; none is anonymous.
	Username, Password string

	// Registries are the hosts whose images nodes pull; Direct are those that they
	// may ask without the proxy.
	Registries, Direct []string
	// BadImage has to be refused and GoodImage to be served. Their names are as for
	// `pratique check`.
	BadImage, GoodImage string
	// TestRepository, if any, is where an image that has to be refused is pushed
	// to, tried and removed.
	TestRepository string

	// Node has the files of runtimes looked at.
	Node bool
	Files

	// Runtime pulls the bad image: auto, a name of Runtimes, or "" for none.
	Runtime string

	// Cluster, if any, is asked to make a Pod, in the namespace and as a dry run.
	Cluster   *cluster.Probe
	Namespace string

	// Timeout bounds each question and each pull.
	Timeout time.Duration
	// Progress, if any, is told what is being looked at.
	Progress func(string)
	Now      func() time.Time
}

// doctor is one examination.
type doctor struct {
	Options
	report   *Report
	base     *url.URL
	registry *registry
	bad      *named // nil if none is named
	good     *named
	said     string // the refusal that the report has already
	// led tells of each registry whether the files of containerd lead to the proxy
	// alone.
	led map[string]bool
}

// Run looks at everything that it is asked to. An error is of the options: what does
// not work is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	d, err := prepare(o)
	if err != nil {
		return nil, err
	}
	reachable := d.checkProxy(ctx)
	d.checkMirrors(ctx, reachable)
	d.checkImages(ctx, reachable)
	d.checkTestImage(ctx, reachable)
	d.checkNode()
	d.checkRuntimes(ctx)
	d.checkCluster(ctx)
	return d.report, ctx.Err()
}

func prepare(o Options) (*doctor, error) {
	base, err := url.Parse(o.Proxy)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || !image.ValidHost(base.Host) || strings.Trim(base.Path, "/") != "" || base.User != nil {
		return nil, fmt.Errorf("the proxy's address %q: want http://HOST:PORT or https://HOST:PORT", o.Proxy)
	}
	d := &doctor{Options: o, base: &url.URL{Scheme: base.Scheme, Host: strings.ToLower(base.Host)}, led: map[string]bool{}}
	d.report = &Report{Proxy: d.base.String(), Checks: []Check{}}
	if d.registry, err = newRegistry(d.base, o); err != nil {
		return nil, err
	}
	for _, host := range slices.Concat(o.Registries, o.Direct, o.Aliases) {
		if !image.ValidHost(host) {
			return nil, fmt.Errorf("%q is no registry's host", host)
		}
	}
	if d.bad, err = d.parse(o.BadImage); err != nil {
		return nil, err
	}
	if d.good, err = d.parse(o.GoodImage); err != nil {
		return nil, err
	}
	if o.TestRepository != "" && !image.ValidRepository(o.TestRepository) {
		return nil, fmt.Errorf("%q is no repository", o.TestRepository)
	}
	if o.Runtime != "" && o.Runtime != RuntimeAuto && !slices.Contains(Runtimes(), o.Runtime) {
		return nil, fmt.Errorf("runtime %q: want %s, or one of %s", o.Runtime, RuntimeAuto, strings.Join(Runtimes(), ", "))
	}
	if o.Runtime != "" && d.bad == nil {
		return nil, errors.New("a runtime has to be told what to pull: name an image that is refused")
	}
	if o.Timeout <= 0 {
		return nil, errors.New("the timeout has to be more than nothing")
	}
	return d, nil
}

func (d *doctor) progress(format string, args ...any) {
	if d.Progress != nil {
		d.Progress(fmt.Sprintf(format, args...))
	}
}

// isProxy reports whether a host, with or without its port, is the proxy.
func (d *doctor) isProxy(scheme, host string) bool {
	host = withPort(scheme, host)
	if host == withPort(d.base.Scheme, d.base.Host) {
		return true
	}
	return slices.ContainsFunc(d.Aliases, func(alias string) bool { return host == withPort(scheme, alias) })
}

// withPort is a host in lower case with the port that the scheme implies.
func withPort(scheme, host string) string {
	host = strings.ToLower(host)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), map[string]string{"http": "80"}[scheme]+map[string]string{"https": "443"}[scheme])
}

// named is an image that the options name.
type named struct {
	registry   string // "" for one that is known by its name at the proxy alone
	repository string // at that registry
	identifier string // tag or digest
	pull       string // what a runtime is told
}

// parse reads a name as `pratique check` does: the proxy's own host may stand in
// front, and a first segment that is a host names the registry behind.
func (d *doctor) parse(name string) (*named, error) {
	if name == "" {
		return nil, nil
	}
	rest := name
	if host, path, ok := strings.Cut(name, "/"); ok && d.isProxy(d.base.Scheme, host) {
		rest = path
	}
	own := !image.IsHost(firstSegment(rest))
	if own {
		rest = d.base.Host + "/" + rest
	}
	ref, err := image.ParseReference(rest)
	if err != nil {
		return nil, err
	}
	n := &named{registry: ref.Registry, repository: ref.Repository, identifier: ref.Identifier(), pull: ref.String()}
	if own {
		n.registry = ""
	}
	return n, nil
}

// firstSegment is what stands before the first slash, "" if there is none.
func firstSegment(name string) string {
	first, _, ok := strings.Cut(name, "/")
	if !ok {
		return ""
	}
	return first
}

// path is the repository's name at the proxy.
func (n *named) path() string {
	if n.registry == "" {
		return n.repository
	}
	return n.registry + "/" + n.repository
}

// registries are the hosts to look at, besides those that a file names.
func (d *doctor) registries() []string {
	all := slices.Clone(d.Registries)
	for _, n := range []*named{d.bad, d.good} {
		if n != nil && n.registry != "" {
			all = append(all, n.registry)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
