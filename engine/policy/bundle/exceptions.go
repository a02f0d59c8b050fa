package bundle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Exception lets findings of some images pass until it runs out. It stands beside
// the bundle, whichever is active: clusters keep theirs as objects of their own.
// Like an item of a whitelist, it excepts by gate and trigger id.
type Exception struct {
	// ID is unique among all exceptions.
	ID string `json:"id"`
	// Owner answers for it.
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
	// Expires is when it runs out. There is none without an end.
	Expires  time.Time         `json:"expires"`
	Scope    Scope             `json:"scope"`
	Findings []ExceptedFinding `json:"findings"`
}

// Scope says for which images an exception holds, and before whom.
type Scope struct {
	// Images are patterns over names in full: over the registry, the repository and
	// the tag each ("docker.io/library/nginx:1.*"); one without a tag is for every
	// tag, and "*" for every image.
	Images []string `json:"images,omitempty"`
	// Digests are those of manifests; of an image for several platforms, each
	// platform's own. An image that Images or Digests name is meant.
	Digests []string `json:"digests,omitempty"`
	// Cluster is where it comes from: nobody else's admission goes by it.
	Cluster string `json:"cluster,omitempty"`
	// Namespaces are patterns over names of namespaces. None: every one.
	Namespaces []string `json:"namespaces,omitempty"`
	// Pulls has it hold for pulls and pushes through the proxy too. They come from
	// no namespace.
	Pulls bool `json:"pulls,omitempty"`
}

// ExceptedFinding names findings by gate and trigger id.
type ExceptedFinding struct {
	Gate string `json:"gate,omitempty"` // "": vulnerabilities
	// TriggerID is a pattern over trigger ids ("CVE-2024-3094+xz-utils"). For
	// vulnerabilities the name alone will do ("CVE-2024-3094"): any package.
	TriggerID string `json:"trigger_id"`
	// PackageVersion narrows it to one installed version.
	PackageVersion string `json:"package_version,omitempty"`
}

// Bounds of one exception.
const (
	minReason    = 10 // characters
	maxScope     = 200
	maxExcepted  = 500
	defaultGate  = "vulnerabilities"
	exemptPrefix = "exception/" // of the id of what excepted a row
)

// Exceptions are compiled. They are immutable and safe for concurrent use; nil
// is none.
type Exceptions struct{ all []compiledException }

type compiledException struct {
	*Exception
	images     []imagePattern
	namespaces []pattern
	findings   *whitelist
}

// imagePattern has a pattern for each part of a name: a star does not reach from
// the registry into the repository.
type imagePattern struct{ registry, repository, tag pattern }

// NewExceptions compiles exceptions, in the order of their ids. Those that are
// wrong are left out, and the error tells of each.
func NewExceptions(list []Exception) (*Exceptions, error) {
	x := &Exceptions{}
	var errs []error
	seen := map[string]bool{}
	for i := range list {
		c, err := compileException(&list[i])
		if err == nil && seen[c.ID] {
			err = errors.New("the id is used twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("exception %q: %w", list[i].ID, err))
			continue
		}
		seen[c.ID] = true
		x.all = append(x.all, c)
	}
	slices.SortFunc(x.all, func(a, b compiledException) int { return cmp.Compare(a.ID, b.ID) })
	return x, errors.Join(errs...)
}

// List is those that were compiled, in the order of their ids.
func (x *Exceptions) List() []Exception {
	list := []Exception{}
	for _, c := range x.all {
		list = append(list, *c.Exception)
	}
	return list
}

// Validate says all that is wrong with an exception. Whether it has run out is
// another question.
func (e Exception) Validate() error {
	_, err := compileException(&e)
	return err
}

func compileException(e *Exception) (compiledException, error) {
	c := compiledException{Exception: e}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	pattern := func(field, text string) pattern {
		p, err := compilePattern(text)
		if err != nil || text == "" {
			wrong("%s: %w", field, cmp.Or(err, errors.New("must not be empty")))
		}
		return p
	}
	if e.ID == "" {
		wrong("id: must not be empty")
	}
	if strings.TrimSpace(e.Owner) == "" {
		wrong("owner: who answers for it?")
	}
	if len(strings.TrimSpace(e.Reason)) < minReason {
		wrong("reason: at least %d characters: it is what people will read", minReason)
	}
	if e.Expires.IsZero() {
		wrong("expires: there is no exception without an end")
	}
	if len(e.Scope.Images)+len(e.Scope.Digests) == 0 {
		wrong(`scope: name images or digests; "*" is every image`)
	}
	if n := max(len(e.Scope.Images), len(e.Scope.Digests), len(e.Scope.Namespaces)); n > maxScope {
		wrong("scope: at most %d images, digests and namespaces", maxScope)
	}
	if n := len(e.Findings); n == 0 || n > maxExcepted {
		wrong("findings: from 1 to %d", maxExcepted)
	}
	if len(errs) > 0 { // before what is too long is compiled
		return c, errors.Join(errs...)
	}
	for i, text := range e.Scope.Images {
		field := fmt.Sprintf("scope.images[%d]", i)
		registry, repository, tag, err := splitImage(text)
		if err != nil {
			wrong("%s: %w", field, err)
			continue
		}
		c.images = append(c.images, imagePattern{pattern(field, registry), pattern(field, repository), pattern(field, tag)})
	}
	for i, text := range e.Scope.Digests {
		if err := digest.Digest(text).Validate(); err != nil {
			wrong("scope.digests[%d]: %w", i, err)
		}
	}
	for i, text := range e.Scope.Namespaces {
		c.namespaces = append(c.namespaces, pattern(fmt.Sprintf("scope.namespaces[%d]", i), text))
	}
	c.findings = newWhitelist(exemptPrefix+e.ID, "exception of "+e.Owner)
	for i, f := range e.Findings {
		gate, id := strings.ToLower(cmp.Or(f.Gate, defaultGate)), f.TriggerID
		if gate == defaultGate && id != "" && !strings.ContainsAny(id, "+*") && !strings.HasPrefix(id, "regexp:") {
			id += "+*" // the package is part of Anchore's ids
		}
		p := pattern(fmt.Sprintf("findings[%d].trigger_id", i), id)
		c.findings.add(gate, exception{id: fmt.Sprint(i), triggerID: p, expires: e.Expires.UTC(), version: f.PackageVersion})
	}
	c.findings.hash = e.hash()
	return c, errors.Join(errs...)
}

// splitImage takes a pattern over images apart.
func splitImage(text string) (registry, repository, tag string, err error) {
	if text == "*" {
		return "*", "*", "*", nil
	}
	registry, rest, ok := strings.Cut(text, "/")
	repository, tag, tagged := strings.Cut(rest, ":")
	if !tagged {
		tag = "*"
	}
	if !ok || registry == "" || repository == "" || tag == "" || strings.Contains(text, "@") || strings.HasPrefix(text, "regexp:") {
		return "", "", "", fmt.Errorf(`%q: want registry/repository, or registry/repository:tag, or "*" for every image; digests have their own list`, text)
	}
	return registry, repository, tag, nil
}

// hash is that of everything a verdict depends on.
func (e *Exception) hash() string {
	raw, _ := json.Marshal([]any{e.ID, e.Owner, e.Expires.UTC(), e.Findings}) // strings and times alone
	return digest.FromBytes(raw).Encoded()
}

// that are for a request, in the order of their ids.
func (x *Exceptions) that(req *Request) (found []*compiledException) {
	if x == nil {
		return nil
	}
	for i := range x.all {
		if x.all[i].scoped(req) {
			found = append(found, &x.all[i])
		}
	}
	return found
}

func (c *compiledException) scoped(req *Request) bool {
	if req.Cluster == "" && req.Namespace == "" {
		return c.Scope.Pulls && c.names(req)
	}
	if req.Cluster != c.Scope.Cluster {
		return false
	}
	in := func(p pattern) bool { return req.Namespace != "" && p.match(req.Namespace) }
	return (len(c.namespaces) == 0 || slices.ContainsFunc(c.namespaces, in)) && c.names(req)
}

// names reports whether the image is one that the exception speaks of.
func (c *compiledException) names(req *Request) bool {
	for _, d := range c.Scope.Digests {
		if slices.Contains(req.Digests, d) {
			return true
		}
	}
	return slices.ContainsFunc(c.images, func(p imagePattern) bool { return p.match(req) })
}

func (p imagePattern) match(req *Request) bool {
	if req.Tag == "" && !p.tag.any() || req.Tag != "" && !p.tag.match(req.Tag) {
		return false
	}
	return slices.ContainsFunc(req.Registries, p.registry.match) && slices.ContainsFunc(req.Repositories, p.repository.match)
}
