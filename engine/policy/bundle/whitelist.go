package bundle

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/policy"
)

// whitelist is a named set of exceptions. Items are found by gate and id; those
// with patterns are tried one by one.
type whitelist struct {
	id, name string
	hash     string // of its part of the document
	items    []exception
	exact    map[string][]int // gate, NUL, trigger id: indexes of items
	patterns map[string][]int // gate: indexes of items
}

// exception is one item. The last three narrow it and never widen it.
type exception struct {
	id        string
	triggerID pattern
	expires   time.Time // zero: never

	version string  // installed version of the finding's package
	path    pattern // every place of the finding
	hasPath bool
	image   string // digest of the image's manifest
}

// readWhitelists reads all whitelists, those that no mapping reaches with
// warnings for errors, except that an id is there once.
func (r parser) readWhitelists() {
	items, path := r.root.list("whitelists", "allowlists")
	for i, item := range items {
		o := r.p.object(item, fmt.Sprintf("%s[%d]", path, i))
		id := o.required("id")
		if _, twice := r.whitelists[id]; twice {
			r.p.add(problemDuplicate, "%s: the id %q is used twice", o.path, id)
			continue
		}
		r.p.lesser = !r.reached["whitelist:"+id]
		w := r.whitelist(o)
		w.hash = hashOf(item)
		r.p.lesser = false
		r.whitelists[id] = w
	}
}

func (r parser) whitelist(o object) *whitelist {
	o.known("id version name comment description items")
	r.version(o)
	w := newWhitelist(o.text("id"), o.text("name"))
	items, path := o.list("items")
	for i, item := range items {
		io := r.p.object(item, fmt.Sprintf("%s[%d]", path, i))
		gate := strings.ToLower(io.required("gate"))
		w.add(gate, r.exception(io))
	}
	return w
}

func newWhitelist(id, name string) *whitelist {
	return &whitelist{id: id, name: name, exact: map[string][]int{}, patterns: map[string][]int{}}
}

// add appends an item that excepts at one gate.
func (w *whitelist) add(gate string, e exception) {
	i := len(w.items)
	w.items = append(w.items, e)
	if e.triggerID.literal() {
		key := gate + "\x00" + e.triggerID.source
		w.exact[key] = append(w.exact[key], i)
	} else {
		w.patterns[gate] = append(w.patterns[gate], i)
	}
}

func (r parser) exception(o object) exception {
	o.known("id gate trigger trigger_id expires_on comment description package_version path image_digest created_at created_by")
	e := exception{
		id: o.text("id"), triggerID: r.pattern(o.required("trigger_id"), o.path+".trigger_id"),
		version: o.text("package_version"), image: o.text("image_digest"),
	}
	if path := o.text("path"); path != "" {
		e.path, e.hasPath = r.pattern(path, o.path+".path"), true
	}
	if text := o.text("expires_on"); text != "" {
		t, err := parseExpiry(text)
		if err != nil {
			r.p.add(problemFormat, "%s.expires_on: %v", o.path, err)
		}
		e.expires = t
	}
	return e
}

// colonFraction is a form that Anchore wrote once: the fraction after a colon.
var colonFraction = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}):(\d{1,6})Z$`)

// parseExpiry reads Anchore's three forms and RFC 3339.
func parseExpiry(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, colonFraction.ReplaceAllString(text, "$1.${2}Z"))
	if err != nil {
		return time.Time{}, errors.New(`must be a time such as "2026-12-31T00:00:00Z"`)
	}
	return t.UTC(), nil
}

// except looks for the first item that excepts what fired.
func (w *whitelist) except(gate string, f fired, in *policy.Input) (*policy.Exempt, bool) {
	best := -1
	consider := func(i int) {
		if (best < 0 || i < best) && w.items[i].holds(f, in) {
			best = i
		}
	}
	for _, id := range f.ids {
		for _, i := range w.exact[gate+"\x00"+id] {
			consider(i)
		}
	}
	for _, i := range w.patterns[gate] {
		if best >= 0 && i > best {
			break
		}
		for _, id := range f.ids {
			if w.items[i].triggerID.match(id) {
				consider(i)
				break
			}
		}
	}
	if best < 0 {
		return nil, false
	}
	return &policy.Exempt{WhitelistName: w.name, WhitelistID: w.id, MatchedRuleID: w.items[best].id, Expires: w.items[best].expires}, true
}

// holds reports whether an item whose id matches is in force for what fired.
func (e *exception) holds(f fired, in *policy.Input) bool {
	if !e.expires.IsZero() && !in.Now.Before(e.expires) {
		return false
	}
	if e.image != "" && e.image != in.Image.Manifest.String() {
		return false
	}
	if e.version == "" && !e.hasPath {
		return true
	}
	if f.finding < 0 {
		return false // speaks of a package; this is about something else
	}
	found := &in.Findings[f.finding]
	if e.version != "" && e.version != found.Version {
		return false
	}
	if !e.hasPath {
		return true
	}
	for _, path := range found.Locations {
		if !e.path.match(path) && !e.path.match("/"+path) {
			return false
		}
	}
	return len(found.Locations) > 0
}

// nextExpiry is the first instant after now at which an item runs out; zero
// when none does.
func (w *whitelist) nextExpiry(now time.Time) (next time.Time) {
	for i := range w.items {
		next = earlier(next, w.items[i].expires, now)
	}
	return next
}

// earlier gives the earlier of two instants; t counts only when it is after now.
func earlier(next, t, now time.Time) time.Time {
	if t.After(now) && (next.IsZero() || t.Before(next)) {
		return t
	}
	return next
}
