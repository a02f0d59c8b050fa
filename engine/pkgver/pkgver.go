// Package pkgver orders versions by the rules of the ecosystem they belong to.
//
// It knows nothing of packages, advisories or ranges: two texts go in, an order
// or an error comes out. A text that is not a version of its ecosystem is an
// error and never "smaller" or "greater", because the caller has to tell its
// user that a comparison was impossible. Start with Compare.
package pkgver

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

var (
	// ErrUnknownEcosystem means that no version order is known.
	ErrUnknownEcosystem = errors.New("ecosystem without a version order")
	// ErrInvalidVersion means that a text is not a version of its ecosystem.
	ErrInvalidVersion = errors.New("invalid version")
)

// maxLength bounds a version in bytes. The longest real ones, Go and npm
// pre-releases with hashes, stay under 150; numbers of unbounded length would
// cost quadratic time.
const maxLength = 256

// Compare orders a and b: -1 when a is older, 0 when both are the same, +1 when
// a is newer. The ecosystem is OSV's name, with or without a release suffix
// ("Debian", "Debian:12"). Errors wrap ErrUnknownEcosystem or ErrInvalidVersion.
func Compare(ecosystem, a, b string) (int, error) {
	v, err := Parse(ecosystem, a)
	if err != nil {
		return 0, err
	}
	return v.Compare(b)
}

// Known reports whether versions of the ecosystem can be compared.
func Known(ecosystem string) bool {
	_, ok := ecosystems[Base(ecosystem)]
	return ok
}

// Base is the ecosystem without its release suffix: "Debian" for "Debian:12".
func Base(ecosystem string) string {
	base, _, _ := strings.Cut(ecosystem, ":")
	return base
}

// Version is one parsed version, for many comparisons with the same one.
type Version struct {
	ecosystem string // base name
	rules     rules
	parsed    semantic.Version
}

// Parse reads a version of the ecosystem.
func Parse(ecosystem, version string) (Version, error) {
	base := Base(ecosystem)
	r, ok := ecosystems[base]
	if !ok {
		return Version{}, fmt.Errorf("%w: %q", ErrUnknownEcosystem, ecosystem)
	}
	parsed, err := parse(base, r, version)
	if err != nil {
		return Version{}, err
	}
	return Version{ecosystem: base, rules: r, parsed: parsed}, nil
}

// Compare orders v and other as the function Compare does.
func (v Version) Compare(other string) (order int, err error) {
	if v.parsed == nil {
		return 0, fmt.Errorf("%w: none was parsed", ErrInvalidVersion)
	}
	w, err := parse(v.ecosystem, v.rules, other)
	if err != nil {
		return 0, err
	}
	defer recoverAs(&err, v.ecosystem, other)
	order, err = v.parsed.Compare(w)
	if err != nil {
		return 0, fmt.Errorf("%w: %s %q: %w", ErrInvalidVersion, v.ecosystem, clip(other), err)
	}
	return order, nil
}

// parse checks the form, brings the text into the spelling that the library
// understands, and lets it parse.
func parse(base string, r rules, version string) (parsed semantic.Version, err error) {
	if version == "" || len(version) > maxLength {
		return nil, fmt.Errorf("%w: %s version of %d bytes", ErrInvalidVersion, base, len(version))
	}
	text := version
	if r.respell != nil {
		text = r.respell(text)
	}
	if !r.form.MatchString(text) {
		return nil, fmt.Errorf("%w: %s %q", ErrInvalidVersion, base, clip(version))
	}
	defer recoverAs(&err, base, version)
	parsed, err = semantic.Parse(text, cmp.Or(r.as, base))
	if err != nil {
		return nil, fmt.Errorf("%w: %s %q: %w", ErrInvalidVersion, base, clip(version), err)
	}
	return parsed, nil
}

// recoverAs turns a panic of the library into an error. The text comes from an
// image, so a defect in the library must not end the process.
func recoverAs(err *error, ecosystem, version string) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("%w: %s %q: %v", ErrInvalidVersion, ecosystem, clip(version), cause)
	}
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
