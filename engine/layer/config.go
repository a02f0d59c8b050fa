package layer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/license"
	"github.com/pratique/pratique/engine/secret"
)

// Config says what is gathered from a layer and what that may cost. What is
// gathered is part of the engine's version: reports that were made under
// another configuration are made anew.
type Config struct {
	// FileDigests: the SHA-256 of every regular file. Default true.
	FileDigests bool `yaml:"file_digests"`
	// Secrets: credentials in text files are looked for. Default true.
	Secrets bool `yaml:"secrets"`
	// Licenses says where licences are taken from: "metadata" (what packages and
	// Debian's copyright files say), "texts" (also the texts of licence files
	// that say it in no other way; default) or "off".
	Licenses string `yaml:"licenses"`
	// Retrieve names files whose content is kept for policies (retrieved_files):
	// paths in the image, with the wildcards of Go's path.Match.
	Retrieve []string `yaml:"retrieve"`
	// Expressions are looked for in the content of text files.
	Expressions []Expression `yaml:"expressions"`
	// ClamAV is the address of a clamd that is given every file:
	// "tcp://host:port" or "unix:///path". Empty: none.
	ClamAV string `yaml:"clamav"`
	// SpoolDir is where files that must be read in any order are held when they
	// are too large for memory; they have no name there. Empty: the system's.
	SpoolDir string `yaml:"spool_dir"`
	// Limits bound what one layer may cost.
	Limits Limits `yaml:"limits"`
}

// Expression is a regular expression with a name (RE2 syntax).
type Expression struct {
	Name    string `yaml:"name"`
	Pattern string `yaml:"pattern"`
}

// Sources of licences.
const (
	LicensesOff      = "off"
	LicensesMetadata = "metadata"
	LicensesTexts    = "texts"
)

// DefaultConfig gathers everything that needs no further program.
func DefaultConfig() Config {
	return Config{FileDigests: true, Secrets: true, Licenses: LicensesTexts, Limits: DefaultLimits}
}

// ErrConfig: the configuration of the analysis cannot work.
var ErrConfig = errors.New("analysis configuration")

const (
	maxRetrieve    = 1000
	maxExpressions = 100
)

// Validate reports the first thing that cannot work.
func (c Config) Validate() error {
	if err := c.Limits.Validate(); err != nil {
		return err
	}
	switch c.Licenses {
	case LicensesOff, LicensesMetadata, LicensesTexts:
	default:
		return fmt.Errorf("%w: licenses: %q is none of off, metadata and texts", ErrConfig, c.Licenses)
	}
	if len(c.Retrieve) > maxRetrieve || len(c.Expressions) > maxExpressions {
		return fmt.Errorf("%w: at most %d paths to retrieve and %d expressions", ErrConfig, maxRetrieve, maxExpressions)
	}
	for _, pattern := range c.Retrieve {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("%w: retrieve: %q is no path or pattern", ErrConfig, pattern)
		}
	}
	for _, e := range c.Expressions {
		if e.Name == "" {
			return fmt.Errorf("%w: expressions: %q has no name", ErrConfig, e.Pattern)
		}
		if _, err := regexp.Compile(e.Pattern); err != nil {
			return fmt.Errorf("%w: expressions: %s: %w", ErrConfig, e.Name, err)
		}
	}
	if c.ClamAV != "" {
		if _, _, err := clamdAddress(c.ClamAV); err != nil {
			return err
		}
	}
	return nil
}

// Analyzer reads layers by one configuration. It is safe for concurrent use.
type Analyzer struct {
	config      Config
	tools       func() (tools, error) // made at their first use
	expressions []expression
	retrieve    []string // clean patterns
	gathers     string   // a hash of what is gathered
}

type expression struct {
	name string
	re   *regexp.Regexp
}

// New prepares an Analyzer.
func New(c Config) (*Analyzer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	a := &Analyzer{config: c, tools: sync.OnceValues(func() (tools, error) { return makeTools(c) })}
	for _, pattern := range c.Retrieve {
		a.retrieve = append(a.retrieve, strings.Trim(path.Clean("/"+pattern), "/"))
	}
	for _, e := range c.Expressions {
		a.expressions = append(a.expressions, expression{e.Name, regexp.MustCompile("(?m)" + e.Pattern)})
	}
	var err error
	a.gathers, err = a.hash()
	return a, err
}

// tools are what takes long to prepare, and is not needed where everything is
// known already.
type tools struct {
	secrets  *secret.Scanner     // nil: not wanted
	licenses *license.Classifier // nil: not wanted
}

func makeTools(c Config) (t tools, err error) {
	if c.Secrets {
		if t.secrets, err = secret.New(); err != nil {
			return t, fmt.Errorf("prepare secret rules: %w", err)
		}
	}
	if c.Licenses == LicensesTexts {
		t.licenses = license.New()
	}
	return t, nil
}

// Maker names the rules and the configuration by which the analyzer reads.
func (a *Analyzer) Maker() inventory.Maker {
	return inventory.Maker{Engine: inventory.EngineVersion, Gathers: a.gathers}
}

// hash covers everything of the configuration that changes a report of a layer
// that can be read within the limits.
func (a *Analyzer) hash() (string, error) {
	c := a.config
	rules := ""
	if c.Secrets {
		rules = secret.Version()
	}
	raw, err := json.Marshal([]any{c.FileDigests, c.Secrets, rules, c.Licenses, a.retrieve, c.Expressions, c.ClamAV != "", c.Limits})
	if err != nil {
		return "", fmt.Errorf("name the analysis configuration: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}
