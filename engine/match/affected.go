package match

import (
	"fmt"
	"slices"

	"github.com/pratique/pratique/engine/advisory"
)

// affected applies one advisory to one target, by the rules of
// https://ossf.github.io/osv-schema/#evaluation : a version is affected when it
// is listed, or lies in one of the ranges. fixed is the smallest version that ends
// the interval the target is in (the latest of them, when it is in several);
// empty when there is none. An error means that a version could not be compared
// and nothing else said "affected".
func (m *matcher) affected(a *advisory.Advisory, t *lookup) (fixed string, affected bool, err error) {
	var unclear error
	for _, r := range a.Ranges {
		end, in, err := m.inRange(r, t)
		if err != nil {
			unclear = err
			continue
		}
		if !in {
			continue
		}
		if fixed, err = m.later(t.ecosystem, fixed, end); err != nil {
			return "", true, nil // affected for certain; which fix is later is not known
		}
		affected = true
	}
	if affected {
		return fixed, true, nil
	}
	if m.listed(a.Versions, t) {
		return m.nextFix(a, t), true, nil
	}
	return "", false, unclear
}

// inRange finds the event that decides about the target: the greatest that is
// not above its version. end is the fix that closes the interval.
func (m *matcher) inRange(r advisory.Range, t *lookup) (end string, in bool, err error) {
	below, err := m.belowLimit(r, t)
	if err != nil || !below {
		return "", false, err
	}
	var last, next *boundary
	for _, e := range r.Events {
		b, ok := boundaryOf(e)
		if !ok {
			continue
		}
		passed, err := m.passed(b, t)
		if err != nil {
			return "", false, err
		}
		if passed {
			if last, err = m.greater(t.ecosystem, last, b); err != nil {
				return "", false, err
			}
		} else if b.kind != introduced {
			if next, err = m.smaller(t.ecosystem, next, b); err != nil {
				return "", false, err
			}
		}
	}
	if last == nil || last.kind != introduced {
		return "", false, nil
	}
	if next != nil && next.kind == fixedIn {
		end = next.version
	}
	return end, true, nil
}

// boundary is an event that begins or ends an interval of affected versions.
type boundary struct {
	kind    boundaryKind
	version string
}

type boundaryKind int

const (
	introduced boundaryKind = iota
	fixedIn
	lastAffected
)

// boundaryOf reads an event; false for a limit, which ends no interval.
func boundaryOf(e advisory.Event) (*boundary, bool) {
	switch {
	case e.Introduced != "":
		return &boundary{introduced, e.Introduced}, true
	case e.Fixed != "":
		return &boundary{fixedIn, e.Fixed}, true
	case e.LastAffected != "":
		return &boundary{lastAffected, e.LastAffected}, true
	}
	return nil, false
}

// beginning is the version before all others, where an interval begins at "0".
func (b *boundary) beginning() bool { return b.kind == introduced && b.version == "0" }

// passed reports whether the target's version is at or above a boundary;
// the last affected version itself lies below its own boundary.
func (m *matcher) passed(b *boundary, t *lookup) (bool, error) {
	c, err := m.compare(t.ecosystem, t.version, cmpVersion(b, t))
	switch {
	case err != nil:
		return false, fmt.Errorf("compare %q with %q: %w", t.version, b.version, err)
	case b.beginning():
		return true, nil
	case b.kind == lastAffected:
		return c > 0, nil
	}
	return c >= 0, nil
}

// cmpVersion gives what a target is compared with: itself at the beginning of
// all versions, which tells a version that cannot be read from one that can.
func cmpVersion(b *boundary, t *lookup) string {
	if b.beginning() {
		return t.version
	}
	return b.version
}

// greater picks the boundary that decides of two that were passed. Of equal
// versions the later in the record does, but what ends after a version ends
// after an interval that begins with it.
func (m *matcher) greater(ecosystem string, a, b *boundary) (*boundary, error) {
	switch {
	case a == nil || a.beginning():
		return b, nil
	case b.beginning():
		return a, nil
	}
	c, err := m.compare(ecosystem, a.version, b.version)
	if err != nil {
		return nil, fmt.Errorf("compare %q with %q: %w", a.version, b.version, err)
	}
	if c > 0 || c == 0 && a.kind == lastAffected && b.kind == introduced {
		return a, nil
	}
	return b, nil
}

// smaller picks the nearer of two ends above the target.
func (m *matcher) smaller(ecosystem string, a, b *boundary) (*boundary, error) {
	if a == nil {
		return b, nil
	}
	c, err := m.compare(ecosystem, a.version, b.version)
	if err != nil {
		return nil, fmt.Errorf("compare %q with %q: %w", a.version, b.version, err)
	}
	if c > 0 {
		return b, nil
	}
	return a, nil
}

// belowLimit reports whether a range speaks of the target's version: without
// limits it speaks of all, else of those below any of its limits.
func (m *matcher) belowLimit(r advisory.Range, t *lookup) (bool, error) {
	limited := false
	for _, e := range r.Events {
		if e.Limit == "" {
			continue
		}
		limited = true
		if e.Limit == "*" {
			return true, nil
		}
		c, err := m.compare(t.ecosystem, t.version, e.Limit)
		if err != nil {
			return false, fmt.Errorf("compare %q with %q: %w", t.version, e.Limit, err)
		}
		if c < 0 {
			return true, nil
		}
	}
	return !limited, nil
}

// listed reports whether the versions name the target's. Python alone has many
// spellings of one version (https://peps.python.org/pep-0440/#normalization);
// there, one that cannot be compared is another version than the target's.
func (m *matcher) listed(versions []string, t *lookup) bool {
	if slices.Contains(versions, t.version) {
		return true
	}
	return t.ecosystem == "PyPI" && slices.ContainsFunc(versions, func(v string) bool {
		c, err := m.compare(t.ecosystem, t.version, v)
		return err == nil && c == 0
	})
}

// nextFix is the smallest fix above the target in any range; empty if none.
func (m *matcher) nextFix(a *advisory.Advisory, t *lookup) string {
	fix := ""
	for _, r := range a.Ranges {
		for _, e := range r.Events {
			if e.Fixed == "" {
				continue
			}
			if c, err := m.compare(t.ecosystem, e.Fixed, t.version); err != nil || c <= 0 {
				continue
			}
			if fix == "" {
				fix = e.Fixed
				continue
			}
			if c, err := m.compare(t.ecosystem, e.Fixed, fix); err == nil && c < 0 {
				fix = e.Fixed
			}
		}
	}
	return fix
}

// later gives the later of two fixed versions; a fix beats none.
func (m *matcher) later(ecosystem, a, b string) (string, error) {
	switch {
	case a == "":
		return b, nil
	case b == "":
		return a, nil
	}
	c, err := m.compare(ecosystem, a, b)
	if err != nil {
		return "", fmt.Errorf("compare %q with %q: %w", a, b, err)
	}
	if c < 0 {
		return b, nil
	}
	return a, nil
}
