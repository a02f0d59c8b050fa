// Package feeds brings vulnerability records from their publishers into the
// index of engine/advisory: it downloads what changed, builds a new revision,
// and keeps count of when each source last answered.
//
// It knows how publishers lay out their files; what a record means is
// engine/advisory's to know, and nothing here knows images or policy. Start
// with Sync; Refresher repeats it.
package feeds

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// Config says where vulnerability data come from.
type Config struct {
	// Interval is the time from one sync to the next, as Go text ("1h"); one
	// more happens at the start. Default 1h, at least 1m.
	Interval time.Duration `yaml:"interval"`
	// Sources are asked in this order.
	Sources []Source `yaml:"sources"`
}

// Source is one publisher.
type Source struct {
	// Name appears in listings and in the coverage of the data: lower-case
	// letters, digits, "-" and "_". The names nvd, kev and epss imply the type.
	Name string `yaml:"name"`
	// Type is the layout: "osv" (the default) for a folder with
	// <Ecosystem>/all.zip, "nvd" for a folder with nvdcve-2.0-<year>.json.gz;
	// and those of one file: "kev" (CISA's catalogue of known exploited
	// vulnerabilities), "epss" (FIRST's table of scores), "secdb" (a security
	// database of Alpine, Wolfi or Chainguard), "debian-tracker" (the JSON of
	// Debian's security tracker). "csaf" is a folder of CSAF documents with an
	// archive of them, as Red Hat and SUSE publish VEX.
	Type string `yaml:"type"`
	// URL of the folder: https:// or file://; http:// for loopback hosts alone.
	// For nvd it may also name a single .json.gz file.
	URL string `yaml:"url"`
	// Ecosystems to take from an osv source, by OSV's names without release
	// suffix. Default: all that packages are compared with; of those, the ones
	// that the source does not have are left out.
	Ecosystems []string `yaml:"ecosystems"`
}

// Types of sources.
const (
	typeOSV = "osv"
	typeNVD = "nvd"

	typeCSAF = "csaf"

	typeKEV     = "kev"
	typeEPSS    = "epss"
	typeSecDB   = "secdb"
	typeTracker = "debian-tracker"
)

const (
	defaultInterval = time.Hour
	minInterval     = time.Minute
)

// ErrConfig means that the configuration of the feeds is not usable.
var ErrConfig = errors.New("feeds configuration")

var (
	// defaultEcosystems are those of OSV that the engine compares packages with.
	defaultEcosystems = []string{
		"AlmaLinux", "Alpine", "Azure Linux", "Bitnami", "Chainguard", "ConanCenter", "CRAN", "crates.io", "Debian", "Go", "Hackage", "Hex", "Julia",
		"Mageia", "Maven", "MinimOS", "npm", "NuGet", "openEuler", "openSUSE", "Packagist", "Photon OS", "Pub", "PyPI", "Red Hat", "Rocky Linux",
		"RubyGems", "SUSE", "SwiftURL", "Ubuntu", "Wolfi",
	}

	nameForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	ecosystemForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$`)
)

// Validate reports the first thing that cannot work.
func (c Config) Validate() error {
	if c.Interval != 0 && c.Interval < minInterval {
		return fmt.Errorf("%w: interval %s is shorter than %s", ErrConfig, c.Interval, minInterval)
	}
	seen := map[string]bool{}
	for _, s := range c.Sources {
		if err := s.validate(); err != nil {
			return err
		}
		if seen[s.Name] {
			return fmt.Errorf("%w: two sources are named %q", ErrConfig, s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func (s Source) validate() error {
	if !nameForm.MatchString(s.Name) {
		return fmt.Errorf("%w: source name %q: want lower-case letters, digits, - and _", ErrConfig, s.Name)
	}
	_, isSingle := singles[s.kind()]
	if t := s.kind(); t != typeOSV && t != typeNVD && t != typeCSAF && !isSingle {
		return fmt.Errorf("%w: source %s: type %q is none of osv, nvd, csaf, kev, epss, secdb and debian-tracker", ErrConfig, s.Name, s.Type)
	}
	if s.kind() != typeOSV && len(s.Ecosystems) > 0 {
		return fmt.Errorf("%w: source %s: %s has no ecosystems", ErrConfig, s.Name, s.kind())
	}
	if err := checkURL(s.URL); err != nil {
		return fmt.Errorf("%w: source %s: %w", ErrConfig, s.Name, err)
	}
	for i, e := range s.Ecosystems {
		if !ecosystemForm.MatchString(e) {
			return fmt.Errorf("%w: source %s: ecosystem %q: want OSV's name without release", ErrConfig, s.Name, e)
		}
		if slices.Contains(s.Ecosystems[:i], e) {
			return fmt.Errorf("%w: source %s: ecosystem %q twice", ErrConfig, s.Name, e)
		}
	}
	return nil
}

func (s Source) kind() string {
	switch {
	case s.Type != "":
		return s.Type
	case s.Name == typeNVD || s.Name == typeKEV || s.Name == typeEPSS:
		return s.Name
	}
	return typeOSV
}

func (s Source) ecosystems() []string {
	if len(s.Ecosystems) == 0 {
		return defaultEcosystems
	}
	return s.Ecosystems
}

func (c Config) interval() time.Duration {
	if c.Interval == 0 {
		return defaultInterval
	}
	return c.Interval
}

// checkURL admits what cannot be changed on its way: vulnerability data decide
// what gets in, so plain http is for this machine alone.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("the URL cannot be parsed")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the URL must not have credentials, a query or a fragment")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || u.Path == "" || u.Path[0] != '/' {
			return fmt.Errorf("URL %q: want file:///absolute/path", raw)
		}
		return nil
	case "https", "http":
		if u.Hostname() == "" {
			return fmt.Errorf("URL %q has no host", raw)
		}
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			return fmt.Errorf("URL %q: http is for loopback hosts alone", raw)
		}
		return nil
	}
	return fmt.Errorf("URL %q: want https:// or file://", raw)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
