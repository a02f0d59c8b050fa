package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Modes of the gate.
const (
	ModePolicy   = "policy"   // what policy stops is refused
	ModeAnalysis = "analysis" // what could not be analysed is refused; policy only warns
	ModePassive  = "passive"  // nothing is refused; everything is still analysed
)

// What happens to the push of a failing image.
const (
	PushObserve = "observe" // accepted; the gate on pull decides
	PushEnforce = "enforce" // the manifest is refused, the tag does not move
	// PushQuarantine: accepted by digest; the tag moves when the image is allowed.
	PushQuarantine = "quarantine"
)

// Answers to what the gate cannot know.
const (
	Deny  = "deny"
	Allow = "allow"
)

// Config is how the gate decides. Every setting of Settings can be changed for
// some repositories by a rule.
type Config struct {
	Settings `yaml:",inline"`
	// Wait is how long a pull waits for a first analysis before it is told to
	// come back. Default 30s.
	Wait time.Duration `yaml:"wait"`
	// Grant is how long the blobs of an allowed image stay open to the client
	// that was given its manifest, also when the verdict flips. Default 15m.
	Grant time.Duration `yaml:"grant"`
	// MaxDataAge is the age from which vulnerability data count as unavailable.
	// Default 168h.
	MaxDataAge time.Duration `yaml:"max_data_age"`
	// Immutable are tags that, once they stand for an image, are not moved and
	// not deleted.
	Immutable []TagRule `yaml:"immutable"`
	// ClusterExceptions says what exceptions may do that clusters keep as objects
	// (ImageException): hold as they say (pulls, the default), hold for admission
	// alone (admission), or nothing (none).
	ClusterExceptions string `yaml:"cluster_exceptions"`
	// Rules change settings for some repositories; the first match wins.
	Rules []Rule `yaml:"rules"`
}

// TagRule chooses tags of repositories.
type TagRule struct {
	// Repository is a pattern, as in Match.
	Repository string `yaml:"repository" json:"repository"`
	// Tags are patterns over tags ("v*", "1.2.3"). Default: all tags.
	Tags []string `yaml:"tags" json:"tags"`
}

// Settings are the parts of the gate that a rule can change. An empty field of
// a rule takes the value above it.
type Settings struct {
	// Mode is policy (default), analysis or passive.
	Mode string `yaml:"mode" json:"mode"`
	// Push is observe (default), enforce or quarantine.
	Push string `yaml:"push" json:"push"`
	// OnGap answers for images with a blind gap: a layer, a package database or
	// packages that could not be read or that no data cover. Default deny.
	OnGap string `yaml:"on_gap" json:"on_gap"`
	// OnError answers when the analysis or the data are not available. Default deny.
	OnError string `yaml:"on_error" json:"on_error"`
	// Unmapped answers for images that no mapping of the bundle matches. Default deny.
	Unmapped string `yaml:"unmapped" json:"unmapped"`
	// Unscannable answers for what may be runnable and cannot be read
	// (encrypted, foreign layers). Default deny.
	Unscannable string `yaml:"unscannable" json:"unscannable"`
	// Artifacts answers for what has no runnable layer: signatures, SBOMs,
	// charts. Default allow.
	Artifacts string `yaml:"artifacts" json:"artifacts"`
	// From is a date (2027-01-31): until then, what would be refused is served,
	// with a warning that names the date. Default: at once.
	From string `yaml:"from" json:"from"`
	// Tombstones answers refused tags of containerd's mirror requests (those
	// with ns=) with a manifest that stands for the refusal, so that the client
	// does not go on to the registry behind: allow or deny. Default deny.
	Tombstones string `yaml:"tombstones" json:"tombstones"`
}

// Rule changes settings for the repositories that it matches.
type Rule struct {
	Match    Match `yaml:"match" json:"match"`
	Settings `yaml:",inline"`
}

// Match chooses repositories.
type Match struct {
	// Repository is a pattern over the name as it is pulled, without the
	// proxy's own host ("docker.io/library/*", "team/app"). A * matches any
	// run of characters, slashes too.
	Repository string `yaml:"repository" json:"repository"`
}

// Defaults returns the configuration that holds when nothing is configured.
func Defaults() Config {
	return Config{
		Settings: Settings{Mode: ModePolicy, Push: PushObserve, OnGap: Deny, OnError: Deny, Unmapped: Deny, Unscannable: Deny, Artifacts: Allow, Tombstones: Deny},
		Wait:     30 * time.Second, Grant: 15 * time.Minute, MaxDataAge: 168 * time.Hour, ClusterExceptions: ExceptionsPulls,
	}
}

// Validate checks every value, and says which is wrong.
func (c Config) Validate() error {
	problems := c.Settings.validate("gate", false)
	for i, r := range c.Rules {
		at := fmt.Sprintf("gate.rules[%d]", i)
		if r.Match.Repository == "" {
			problems = append(problems, fmt.Errorf("%s.match.repository: missing", at))
		}
		problems = append(problems, r.Settings.validate(at, true)...)
	}
	if !slices.Contains([]string{ExceptionsPulls, ExceptionsAdmission, ExceptionsNone}, c.ClusterExceptions) {
		problems = append(problems, fmt.Errorf("gate.cluster_exceptions: %q is none of pulls, admission, none", c.ClusterExceptions))
	}
	for i, r := range c.Immutable {
		if r.Repository == "" {
			problems = append(problems, fmt.Errorf("gate.immutable[%d].repository: missing", i))
		}
	}
	for name, d := range map[string]time.Duration{"wait": c.Wait, "grant": c.Grant, "max_data_age": c.MaxDataAge} {
		if d <= 0 {
			problems = append(problems, fmt.Errorf("gate.%s: must be longer than nothing", name))
		}
	}
	return errors.Join(problems...)
}

func (s Settings) validate(at string, inherits bool) []error {
	answer := []string{Deny, Allow}
	var problems []error
	for _, f := range []struct {
		name, value string
		allowed     []string
	}{
		{"mode", s.Mode, []string{ModePolicy, ModeAnalysis, ModePassive}},
		{"push", s.Push, []string{PushObserve, PushEnforce, PushQuarantine}},
		{"on_gap", s.OnGap, answer}, {"on_error", s.OnError, answer}, {"unmapped", s.Unmapped, answer},
		{"unscannable", s.Unscannable, answer}, {"artifacts", s.Artifacts, answer}, {"tombstones", s.Tombstones, answer},
	} {
		known := inherits && f.value == ""
		for _, a := range f.allowed {
			known = known || f.value == a
		}
		if !known {
			problems = append(problems, fmt.Errorf("%s.%s: %q is none of %s", at, f.name, f.value, strings.Join(f.allowed, ", ")))
		}
	}
	if _, err := s.from(); err != nil {
		problems = append(problems, fmt.Errorf("%s.from: %q is no date like 2027-01-31", at, s.From))
	}
	return problems
}

// from is the time at which refusals begin; zero for always.
func (s Settings) from() (time.Time, error) {
	if s.From == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateOnly, s.From)
}

// ImmutableTag reports whether the tag of a repository is not to be moved.
func (c Config) ImmutableTag(repository, tag string) bool {
	for _, r := range c.Immutable {
		if !Wildcard(r.Repository, repository) {
			continue
		}
		if len(r.Tags) == 0 || slices.ContainsFunc(r.Tags, func(pattern string) bool { return Wildcard(pattern, tag) }) {
			return true
		}
	}
	return false
}

// For returns the settings for a repository.
func (c Config) For(repository string) Settings {
	for _, r := range c.Rules {
		if Wildcard(r.Match.Repository, repository) {
			return r.Settings.over(c.Settings)
		}
	}
	return c.Settings
}

func (s Settings) over(base Settings) Settings {
	for _, f := range []struct{ to, from *string }{
		{&base.Mode, &s.Mode}, {&base.Push, &s.Push}, {&base.OnGap, &s.OnGap}, {&base.OnError, &s.OnError},
		{&base.Unmapped, &s.Unmapped}, {&base.Unscannable, &s.Unscannable}, {&base.Artifacts, &s.Artifacts},
		{&base.From, &s.From}, {&base.Tombstones, &s.Tombstones},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	return base
}

// Wildcard matches the whole of s; a * in the pattern stands for any run.
func Wildcard(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[last])
}
