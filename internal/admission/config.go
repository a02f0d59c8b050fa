package admission

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
)

// Answers to the state of an image.
const (
	Deny  = "deny"  // the object is refused
	Warn  = "warn"  // it is let in, and the person is warned
	Allow = "allow" // it is let in
	// Fail: the webhook answers that it could not do its work (HTTP 500), and the
	// failurePolicy of the webhook's registration decides.
	Fail = "fail"
)

// What a selector looks at.
const (
	MatchResource  = "resource"  // labels, annotations and name of the object
	MatchNamespace = "namespace" // labels, annotations and name of its namespace
	MatchImage     = "image"     // the image
)

// Config is how clusters are answered.
type Config struct {
	// Enabled opens the door inside `serve`; `pratique admission` opens it
	// always. Default false.
	Enabled bool `yaml:"enabled"`
	// Listen is host:port. Default 127.0.0.1:8443.
	Listen string `yaml:"listen"`
	// TLS names certificate and key, where they come from files (cert-manager).
	// Default: a certificate that Pratique makes and renews itself.
	TLS serve.TLSFiles `yaml:"tls"`
	// Limits bound what one client may ask. An API server is one client: the
	// default for requests is 5000 a second here.
	Limits serve.Limits `yaml:"limits"`
	// Cluster is the name of the cluster that asks, where several share verdicts:
	// exceptions are of one cluster, and people see by it what runs where. Default
	// "default".
	Cluster string `yaml:"cluster"`
	// Selectors say how an image is judged; for each image the first that matches
	// holds. Default: one for every image, in mode policy.
	Selectors []Selector `yaml:"selectors"`
	// NoSelector answers for images that no selector matches: deny, warn or
	// allow. Default deny; behind an Anchore file warn, because Anchore lets such
	// images in.
	NoSelector string `yaml:"no_selector"`
	// Anchore names files of Anchore's admission controller, read as they are.
	// Their selectors stand behind those above.
	Anchore AnchoreFiles `yaml:"anchore"`
	// RequestAnalysis has images that are not known analysed, in the background.
	// Default true.
	RequestAnalysis bool `yaml:"request_analysis"`
	// Platforms are those of the cluster's nodes ("linux/amd64"): the worst of
	// them speaks for an image of several. Default: what the nodes report, else
	// all that the image has.
	Platforms []string `yaml:"platforms"`
	// ExemptNamespaces are patterns over names of namespaces in which nothing is
	// judged. Names, never labels: who may edit a namespace cannot exempt it.
	// Default kube-system, kube-public, kube-node-lease.
	ExemptNamespaces []string `yaml:"exempt_namespaces"`
	// Kinds tells where other kinds than Kubernetes' own have pod templates.
	Kinds []Kind `yaml:"kinds"`
	// UnreadKinds answers for objects in which no pod template is found, because
	// nothing is known of their kind: deny, warn or allow. Default deny.
	UnreadKinds string `yaml:"unread_kinds"`
	// Mutation changes images on their way in; all of it is off by default.
	Mutation Mutation `yaml:"mutation"`
	// BreakGlass lets in what is refused, for a while and on record.
	BreakGlass BreakGlass `yaml:"break_glass"`
	// ExceptionWarning is how long before its end an exception is warned of, to
	// those whose images it lets in. Default 168h; 0: never.
	ExceptionWarning time.Duration `yaml:"exception_warning"`
	// Resolutions is how long the digest of a tag is believed. Default 5s.
	Resolutions time.Duration `yaml:"resolutions"`
	// ShutdownDelay is how long requests are still taken after the process is
	// told to stop and is no longer ready, until the cluster knows. Default 5s.
	ShutdownDelay time.Duration `yaml:"shutdown_delay"`
}

// Selector chooses images and says how they are judged.
type Selector struct {
	// Name stands in messages, logs and figures. Default: its place ("selectors[0]").
	Name  string `yaml:"name"`
	Match Match  `yaml:"match"`
	// Mode is policy (default), analysis or passive, as gate.mode.
	Mode string `yaml:"mode"`
	// DryRun judges and warns, and never refuses. Default false.
	DryRun bool `yaml:"dry_run"`
	// Policy is the id of the bundle to judge by. Default: the active one.
	Policy string `yaml:"policy"`
	// Answers by state. What is not set follows from the mode.
	Answers Answers `yaml:"answers"`

	// quiet keeps analyses from being asked for, as Anchore's requestAnalysis.
	quiet bool
}

// Match is what a selector looks at.
type Match struct {
	// Type is resource, namespace or image.
	Type string `yaml:"type"`
	// Key is a regular expression over keys of labels and annotations. The key
	// "name" stands for the object's own name too. Not for images.
	Key string `yaml:"key"`
	// Value is a regular expression over their values, or over the image in full:
	// "docker.io/library/nginx:1.27". It has to match the whole.
	Value string `yaml:"value"`
	// Loose matches as Anchore does: an expression matches anywhere, and an image
	// is looked at as it is written. Default false.
	Loose bool `yaml:"loose"`
	// Users and Groups limit the selector to requests of these: what everybody may
	// put on an object is no proof of anything. Default: everybody.
	Users  []string `yaml:"users"`
	Groups []string `yaml:"groups"`
}

// Answers are deny, warn or allow for each state of an image.
type Answers struct {
	Pass     string `yaml:"pass"`     // default allow
	Warn     string `yaml:"warn"`     // default warn
	Fail     string `yaml:"fail"`     // policy stops it: deny; warn in modes analysis and passive
	Pending  string `yaml:"pending"`  // its analysis is under way: deny; allow in mode passive
	Unknown  string `yaml:"unknown"`  // never seen: deny; allow in mode passive
	Unmapped string `yaml:"unmapped"` // no policy is for it: deny; allow in mode passive
	Error    string `yaml:"error"`    // it could not be found out: fail (see Fail); allow in mode passive
}

// Kind is a kind of objects with pod templates.
type Kind struct {
	Group string `yaml:"group"` // "" for the core group
	Kind  string `yaml:"kind"`
	// Paths lead to pod specs: "spec.template.spec". A * is every element of a
	// list or map: "spec.replicatedJobs.*.template.spec.template.spec".
	Paths []string `yaml:"paths"`
}

// Mutation says what is changed in objects.
type Mutation struct {
	// Pin adds the digest that was judged to images without one
	// (name:tag@sha256:...), so that nothing else is pulled. Default false.
	Pin bool `yaml:"pin"`
	// Rewrite replaces registry hosts, so that images come through the proxy:
	// {docker.io: "pratique.example:5000/docker.io"}. Default none.
	Rewrite map[string]string `yaml:"rewrite"`
	// PullAlways sets imagePullPolicy Always, so that a copy on a node is not used
	// by those who may not pull it. Default false.
	PullAlways bool `yaml:"pull_always"`
	// Except are patterns over names of namespaces that stay as they are. So does
	// a namespace with the annotation pratique.io/mutation: disabled.
	Except []string `yaml:"except"`
}

// BreakGlass says who may let in what is refused.
type BreakGlass struct {
	// Grants that hold until they run out.
	Grants []Grant `yaml:"grants"`
	// Users and Groups may break glass by annotations on the object:
	// pratique.io/break-glass-reason and pratique.io/break-glass-until (RFC 3339).
	// On an object of anybody else these do nothing. Default nobody.
	Users  []string `yaml:"users"`
	Groups []string `yaml:"groups"`
	// Longest is how far away the annotated end may be. Default 4h.
	Longest time.Duration `yaml:"longest"`
}

// Grant lets images into namespaces although they are refused.
type Grant struct {
	ID         string    `yaml:"id"`
	By         string    `yaml:"by"`     // who answers for it
	Reason     string    `yaml:"reason"` // at least ten characters
	Until      time.Time `yaml:"until"`
	Namespaces []string  `yaml:"namespaces"` // patterns, at least one
	// Images are patterns over images in full ("docker.io/library/nginx:*").
	// Default: all.
	Images []string `yaml:"images"`
}

// clusterName is what a cluster may be called: names stand in addresses and keys.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

// Defaults returns the configuration that holds when nothing is configured.
func Defaults() Config {
	return Config{
		Cluster: "default", ExceptionWarning: 7 * 24 * time.Hour,
		Listen: "127.0.0.1:8443", Limits: serve.Limits{Requests: 5000}, RequestAnalysis: true, UnreadKinds: Deny,
		ExemptNamespaces: []string{"kube-system", "kube-public", "kube-node-lease"},
		BreakGlass:       BreakGlass{Longest: gate.MaxPass},
		Resolutions:      5 * time.Second, ShutdownDelay: 5 * time.Second,
	}
}

// Validate checks every value, and says all that is wrong. It reads no files.
func (c Config) Validate() error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("admission."+format, args...))
	}
	if !clusterName.MatchString(c.Cluster) {
		add("cluster: %q: want letters, digits, dots and dashes", c.Cluster)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		add("listen: %q is not host:port", c.Listen)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		add("tls: cert and key go together")
	}
	if err := c.Limits.Validate(); err != nil {
		add("limits: %w", err)
	}
	if c.Anchore.Credentials != "" && c.Anchore.Config == "" {
		add("anchore.credentials: useless without anchore.config")
	}
	if !oneOf(c.NoSelector, "", Deny, Warn, Allow) {
		add("no_selector: %q is none of deny, warn, allow", c.NoSelector)
	}
	if !oneOf(c.UnreadKinds, Deny, Warn, Allow) {
		add("unread_kinds: %q is none of deny, warn, allow", c.UnreadKinds)
	}
	for name, d := range map[string]time.Duration{"resolutions": c.Resolutions, "shutdown_delay": c.ShutdownDelay, "break_glass.longest": c.BreakGlass.Longest, "exception_warning": c.ExceptionWarning} {
		if d < 0 {
			add("%s: less than nothing", name)
		}
	}
	for i, s := range c.Selectors {
		if err := s.validate(); err != nil {
			add("selectors[%d]%w", i, err)
		}
	}
	for i, k := range c.Kinds {
		if k.Kind == "" || len(k.Paths) == 0 || slices.ContainsFunc(k.Paths, func(p string) bool { return slices.Contains(strings.Split(p, "."), "") }) {
			add("kinds[%d]: wants a kind, and paths like spec.template.spec", i)
		}
	}
	for i, g := range c.BreakGlass.Grants {
		if err := g.Validate(); err != nil {
			add("break_glass.grants[%d]: %w", i, err)
		}
	}
	problems = append(problems, c.Mutation.validate())
	return errors.Join(problems...)
}

// validate returns an error that begins with the field's name and a dot before
// it, or a colon.
func (s Selector) validate() error {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if !oneOf(s.Match.Type, MatchResource, MatchNamespace, MatchImage) {
		add(".match.type: %q is none of resource, namespace, image", s.Match.Type)
	}
	if s.Match.Type == MatchImage && s.Match.Key != "" && !s.Match.Loose {
		add(".match.key: an image has no keys")
	}
	if s.Match.Type != MatchImage && s.Match.Key == "" {
		add(".match.key: missing")
	}
	for field, expression := range map[string]string{"key": s.Match.Key, "value": s.Match.Value} {
		if _, err := regexp.Compile(expression); err != nil {
			add(".match.%s: %v", field, err)
		}
	}
	if s.Match.Value == "" {
		add(".match.value: missing")
	}
	if !oneOf(s.Mode, "", gate.ModePolicy, gate.ModeAnalysis, gate.ModePassive) {
		add(".mode: %q is none of policy, analysis, passive", s.Mode)
	}
	for state, answer := range s.Answers.byState() {
		switch {
		case !oneOf(*answer, "", Deny, Warn, Allow) && (*answer != Fail || state != gate.StateError):
			add(".answers.%s: %q is none of deny, warn, allow", state, *answer)
		case s.Mode == gate.ModePassive && oneOf(*answer, Deny, Fail):
			add(".answers.%s: mode passive refuses nothing", state)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return errors.New(strings.Join(problems, "; "))
}

// byState gives the place of each state's answer.
func (a *Answers) byState() map[gate.State]*string {
	return map[gate.State]*string{
		gate.StatePass: &a.Pass, gate.StateWarn: &a.Warn, gate.StateFail: &a.Fail, gate.StatePending: &a.Pending,
		gate.StateUnknown: &a.Unknown, gate.StateUnmapped: &a.Unmapped, gate.StateError: &a.Error,
	}
}

// Validate refuses a grant that does not say who, why, where and until when.
func (g Grant) Validate() error {
	switch {
	case g.By == "":
		return errors.New("by: a grant needs somebody who answers for it")
	case len(strings.TrimSpace(g.Reason)) < minReason:
		return fmt.Errorf("reason: at least %d characters: it is kept", minReason)
	case g.Until.IsZero():
		return errors.New("until: a grant has an end")
	case len(g.Namespaces) == 0:
		return errors.New("namespaces: at least one pattern")
	}
	return nil
}

func (m Mutation) validate() error {
	var problems []error
	for host, to := range m.Rewrite {
		proxy, _, _ := strings.Cut(to, "/")
		_, err := image.ParseReference(to + "/x")
		switch {
		case !image.ValidHost(host) || !image.IsHost(host):
			problems = append(problems, fmt.Errorf("admission.mutation.rewrite: %q is no registry host", host))
		case err != nil || !image.IsHost(proxy):
			problems = append(problems, fmt.Errorf("admission.mutation.rewrite[%s]: %q is no host, or host and path, of a registry", host, to))
		case m.Rewrite[proxy] != "":
			problems = append(problems, fmt.Errorf("admission.mutation.rewrite[%s]: %s is itself replaced", host, proxy))
		}
	}
	return errors.Join(problems...)
}

func oneOf(s string, all ...string) bool { return slices.Contains(all, s) }
