// Package config reads the configuration: one YAML file, the environment, and
// settings of the command line, in rising order of strength. The structs are
// owned by the packages that they configure.
//
// It knows how settings are spelled and none of what they do. Start with Load.
package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/bytesize"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/garbage"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
	"github.com/pratique/pratique/internal/upstream"
	"github.com/pratique/pratique/internal/verdicts"
)

// Config is everything that can be configured.
type Config struct {
	// DataDir holds catalog, blobs, vulnerability data and spool. Default
	// ~/.local/share/pratique; in the container /var/lib/pratique.
	DataDir   string               `yaml:"data_dir"`
	Registry  RegistryDoor         `yaml:"registry"`
	API       APIDoor              `yaml:"api"`
	Upstreams []Upstream           `yaml:"upstreams"`
	Gate      gate.Config          `yaml:"gate"`
	Analysis  layer.Config         `yaml:"analysis"`
	Policy    Policy               `yaml:"policy"`
	Feeds     feeds.Config         `yaml:"feeds"`
	Redis     verdicts.RedisConfig `yaml:"redis"`
	Auth      auth.Config          `yaml:"auth"`
	Storage   Storage              `yaml:"storage"`
	Admission Admission            `yaml:"admission"`
	Log       Log                  `yaml:"log"`
}

// Door is where a server listens.
type Door struct {
	// Listen is host:port. Default 127.0.0.1:5000 for the registry,
	// 127.0.0.1:8228 for the API and the pages.
	Listen string         `yaml:"listen"`
	TLS    serve.TLSFiles `yaml:"tls"`
	Limits serve.Limits   `yaml:"limits"`
}

// RegistryDoor is where the registry listens.
type RegistryDoor struct {
	Door `yaml:",inline"`
	// Hostnames are the names under which clients reach the registry, with the
	// port where they write one ("registry.example.com"). In front of an image
	// they mean this proxy; policies never see them. Default none but those of
	// the listen address.
	Hostnames []string `yaml:"hostnames"`
	// MaxBlob is the most that one pushed blob may have ("20GiB"). Default 0: no
	// bound.
	MaxBlob bytesize.Size `yaml:"max_blob"`
}

// Storage says how much is kept, and for how long.
type Storage struct {
	// Cache bounds the blobs of remote upstreams that are kept here, so that
	// they are fetched once. Default 10GiB; 0: none are kept.
	Cache bytesize.Size `yaml:"cache"`
	// Quotas bound repositories of the embedded registry; the first match wins.
	Quotas []Quota `yaml:"quotas"`
	// GC is the collection of what nothing needs any more.
	GC garbage.Config `yaml:"gc"`
}

// Quota bounds the bytes of each repository that it matches.
type Quota struct {
	// Repository is a pattern, as in gate.rules.
	Repository string `yaml:"repository"`
	// Size is what blobs and manifests of one repository may have together; 0:
	// no bound.
	Size bytesize.Size `yaml:"size"`
}

// Quota returns the most that a repository may have, in bytes; 0 for no bound.
func (s Storage) Quota(repository string) int64 {
	for _, q := range s.Quotas {
		if gate.Wildcard(q.Repository, repository) {
			return int64(q.Size)
		}
	}
	return 0
}

func (s Storage) validate() error {
	problems := []error{s.GC.Validate()}
	for i, q := range s.Quotas {
		if q.Repository == "" {
			problems = append(problems, fmt.Errorf("storage.quotas[%d].repository: missing", i))
		}
	}
	return errors.Join(problems...)
}

// APIDoor is where API and pages listen, and how people reach them.
type APIDoor struct {
	Door `yaml:",inline"`
	// ExternalURL is the address of the pages as people type it; it stands in
	// refusals. Default: the listen address.
	ExternalURL string `yaml:"external_url"`
}

// Upstream is a registry behind Pratique: the embedded one, or a remote one.
type Upstream struct {
	upstream.Config `yaml:",inline"`
	// Embedded is true for the registry inside Pratique, at most once.
	Embedded bool `yaml:"embedded,omitempty"`
	// Default is true for the upstream of names without a registry host.
	Default bool `yaml:"default,omitempty"`
}

// Policy says which bundles there are and which one is in force.
type Policy struct {
	// Active is the id of the bundle in force at the first start, and again
	// whenever this setting changes; in between, what was activated through the
	// API stays. Default "default".
	Active string `yaml:"active"`
	// Dir is a folder whose *.json bundles are loaded at start. Default none.
	Dir string `yaml:"dir"`
}

// Log says how much is logged, and how.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is text or json. Default text on a terminal, else json.
	Format string `yaml:"format"`
}

// Defaults returns the configuration that holds when nothing is configured.
func Defaults() Config {
	home, err := os.UserHomeDir()
	if err != nil {
		home = string(filepath.Separator) + "var" + string(filepath.Separator) + "lib"
	}
	return Config{
		DataDir:   filepath.Join(home, ".local", "share", "pratique"),
		Registry:  RegistryDoor{Door: Door{Listen: "127.0.0.1:5000"}},
		API:       APIDoor{Door: Door{Listen: "127.0.0.1:8228"}},
		Upstreams: []Upstream{{Config: upstream.Config{Name: "local"}, Embedded: true, Default: true}},
		Gate:      gate.Defaults(),
		Analysis:  layer.DefaultConfig(),
		Policy:    Policy{Active: "default"},
		Feeds: feeds.Config{Interval: time.Hour, Sources: []feeds.Source{
			{Name: "osv", URL: "https://osv-vulnerabilities.storage.googleapis.com"},
			{Name: "nvd", URL: "https://nvd.nist.gov/feeds/json/cve/2.0"},
			{Name: "kev", URL: "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"},
			{Name: "epss", URL: "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"},
		}},
		Admission: Admission{
			Config: admission.Defaults(), Metrics: "127.0.0.1:8081",
			Kubernetes: Kubernetes{
				PullSecrets: true, Events: true, Leader: cluster.LeaderConfig{Lease: "pratique-admission"}, Exceptions: cluster.ExceptionConfig{Enabled: true},
				Inventory: Inventory{Enabled: true, InventoryConfig: cluster.InventoryConfig{Events: true, Analyse: true, Reports: cluster.ReportsAuto}},
			},
		},
		Storage: Storage{Cache: 10 * bytesize.GiB, GC: garbage.Defaults()},
		Log:     Log{Level: "info"},
	}
}

// Loopback reports whether registry and API listen on this machine alone.
func (c Config) Loopback() bool {
	return auth.Loopback(c.Registry.Listen) && auth.Loopback(c.API.Listen)
}

// LocalHostnames are the names under which policies know the embedded registry:
// those of its address, never what a client claims.
func (c Config) LocalHostnames(addr string) []string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return []string{"localhost"}
	}
	names := []string{"127.0.0.1:" + port, "localhost:" + port}
	for _, u := range c.Upstreams {
		if u.Embedded {
			names = append(names, u.Hostnames...)
		}
	}
	return names
}

// Validate checks everything that can be checked without starting anything, and
// says all that is wrong.
func (c Config) Validate() error {
	var problems []error
	add := func(err error) { problems = append(problems, err) }
	if c.DataDir == "" {
		add(errors.New("data_dir: missing"))
	}
	for name, d := range map[string]Door{"registry": c.Registry.Door, "api": c.API.Door} {
		if _, _, err := net.SplitHostPort(d.Listen); err != nil {
			add(fmt.Errorf("%s.listen: %q is not host:port", name, d.Listen))
		}
		if err := d.Limits.Validate(); err != nil {
			add(fmt.Errorf("%s.limits: %w", name, err))
		}
		if (d.TLS.Cert == "") != (d.TLS.Key == "") {
			add(fmt.Errorf("%s.tls: cert and key go together", name))
		}
	}
	add(c.validateUpstreams())
	add(c.Gate.Validate())
	add(c.Analysis.Validate())
	add(c.Feeds.Validate())
	add(c.Redis.Validate())
	add(c.Admission.validate())
	add(c.Auth.Validate(c.Loopback()))
	add(c.Storage.validate())
	if c.Policy.Active == "" {
		add(errors.New("policy.active: missing"))
	}
	if _, err := c.Log.level(); err != nil {
		add(err)
	}
	if f := c.Log.Format; f != "" && f != "text" && f != "json" {
		add(fmt.Errorf("log.format: %q is neither text nor json", f))
	}
	return errors.Join(problems...)
}

func (c Config) validateUpstreams() error {
	var problems []error
	names, prefixes, embedded, defaults := map[string]bool{}, map[string]bool{}, 0, 0
	for i, u := range c.Upstreams {
		if u.Embedded {
			embedded++
			if u.URL != "" {
				problems = append(problems, fmt.Errorf("upstreams[%d]: an embedded upstream has no url", i))
			}
		} else if err := u.Config.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("upstreams[%d]: %w", i, err))
		}
		if u.Default {
			defaults++
		}
		if u.Prefix == "" && !u.Default {
			problems = append(problems, fmt.Errorf("upstreams[%d]: %q has no prefix and is not the default: nothing leads to it", i, u.Name))
		}
		if names[u.Name] || (u.Prefix != "" && prefixes[u.Prefix]) {
			problems = append(problems, fmt.Errorf("upstreams[%d]: name %q or prefix %q is there twice", i, u.Name, u.Prefix))
		}
		names[u.Name], prefixes[u.Prefix] = true, true
	}
	if embedded > 1 || defaults > 1 || len(c.Upstreams) == 0 {
		problems = append(problems, fmt.Errorf("upstreams: at least one, at most one embedded and one default (%d, %d, %d here)", len(c.Upstreams), embedded, defaults))
	}
	return errors.Join(problems...)
}

// EmbeddedName is the name of the embedded upstream, "" if there is none.
func (c Config) EmbeddedName() string {
	for _, u := range c.Upstreams {
		if u.Embedded {
			return u.Name
		}
	}
	return ""
}

// Remote reports whether there is a remote upstream.
func (c Config) Remote() bool {
	return slices.ContainsFunc(c.Upstreams, func(u Upstream) bool { return !u.Embedded })
}

// Path returns a place in the data folder.
func (c Config) Path(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}

// expand replaces a leading ~ by the home folder.
func expand(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(home, rest)
}
