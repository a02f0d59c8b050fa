// Package bundle is Anchore's policy language: one JSON document, the bundle,
// with rule sets ("policies"), exceptions ("whitelists"), mappings that choose
// among them by registry, repository and tag, and lists of images that pass or
// fail whatever the rules say.
//
// Names, messages and trigger ids are those of Anchore Engine 1.1, byte for
// byte: people keep them in stored bundles and exceptions. The package knows no
// server and no cache, and evaluates without side effects.
//
// Start with Parse, then Bundle.Select (what applies to an image under a name)
// and Selection.Evaluate (what it says of the image). gates.go lists every
// gate, trigger and parameter; the triggers themselves are in always.go,
// data.go, dockerfile.go, vulnerable.go and denied.go.
package bundle

import (
	"encoding/json"
	"fmt"

	"github.com/pratique/pratique/engine/policy"
)

// Limits of a bundle.
const (
	MaxSize     = 8 << 20 // bytes
	maxDepth    = 32      // nesting of arrays and objects
	maxValues   = 1 << 20 // values in the whole document
	maxRules    = 20_000  // rules of all rule sets
	maxMappings = 10_000  // mappings; the same for each image list
	maxProblems = 200     // problems that are told one by one
)

// Bundle is a parsed policy document. It is immutable and safe for concurrent
// use.
type Bundle struct {
	ID          string // empty when the document has none: a door gives it one
	Name        string
	Description string
	Hash        string          // sha256, hex, of the canonical form of Raw
	Raw         json.RawMessage // the document as the user sent it
	// Problems are the warnings of the validation: what is in the document and
	// does not do what its author may expect.
	Problems []policy.Problem

	mappings    []mapping
	whitelisted []imageRule
	blacklisted []imageRule
}

// ValidationError says everything that is wrong with a bundle.
type ValidationError struct {
	Problems []policy.Problem // errors and warnings, in the document's order
}

// Error names the first error and counts the rest.
func (e *ValidationError) Error() string {
	first, n := "", 0
	for _, p := range e.Problems {
		if p.Severity != severityError {
			continue
		}
		if n == 0 {
			first = p.ProblemType + ": " + p.Details
		}
		n++
	}
	if n > 1 {
		return fmt.Sprintf("policy bundle invalid: %s (and %d more)", first, n-1)
	}
	return "policy bundle invalid: " + first
}

// Parse reads and checks a bundle of version 1_0, or one with the names of the
// later version 2. Every error is in the ValidationError, not only the first.
func Parse(raw []byte) (*Bundle, error) {
	p := &problems{}
	doc, err := decode(raw)
	if err != nil {
		p.add(problemFormat, "%v", err)
		return nil, p.err()
	}
	root := p.object(doc, "bundle")
	if version := root.required("version"); !supportedVersion(version) {
		p.add(problemVersion, "bundle version %q is not supported; \"1_0\" and \"2\" are", version)
		return nil, p.err()
	}
	b := parser{p: p, root: root}.bundle()
	b.Raw = append(json.RawMessage(nil), raw...)
	b.Hash = hashOf(doc)
	if p.errors > 0 {
		return nil, p.err()
	}
	b.Problems = p.all()
	return b, nil
}

func supportedVersion(v string) bool { return v == "1_0" || v == "2" }
