package sbom

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// jsonBill reads a bill token by token: what a document as a whole would take in
// memory is many times its length.
type jsonBill struct {
	dec       *json.Decoder
	doc       Document
	cyclone   bool   // says that it is CycloneDX
	spdx      string // version
	artifacts bool
	envelope  string // type of what is signed
}

func decodeJSON(r io.Reader) (*Document, error) {
	b := &jsonBill{dec: json.NewDecoder(r)}
	if err := b.document(0); err != nil {
		return nil, err
	}
	if _, err := b.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows the document", ErrFormat)
	}
	switch {
	case b.cyclone:
		b.doc.Format = "CycloneDX"
	case strings.HasPrefix(b.spdx, "SPDX-2."):
		b.doc.Format = "SPDX"
	case b.artifacts:
		b.doc.Format = "Syft"
	case b.envelope != "":
		return nil, fmt.Errorf("%w: this is a signed envelope (%.80q)", ErrFormat, b.envelope)
	default:
		return nil, ErrFormat
	}
	return &b.doc, nil
}

// document reads the whole, or what an in-toto statement says of its subject.
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
func (b *jsonBill) document(depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("%w: envelopes in envelopes", ErrTooLarge)
	}
	return b.object(func(key string) error {
		switch key {
		case "bomFormat":
			return b.text(func(s string) { b.cyclone = s == "CycloneDX" })
		case "spdxVersion":
			return b.text(func(s string) { b.spdx = s })
		case "payloadType":
			return b.text(func(s string) { b.envelope = s })
		case "predicate":
			return b.document(depth + 1)
		case "components":
			return b.list(func() error { return b.component(0) })
		case "packages":
			return b.list(b.spdxPackage)
		case "artifacts":
			b.artifacts = true
			return b.list(b.artifact)
		}
		return b.skip()
	})
}

// component reads one of CycloneDX, and those in it.
func (b *jsonBill) component(depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("%w: components nested more than %d times", ErrTooLarge, maxNesting)
	}
	var c cycloneEntry
	err := b.object(func(key string) error {
		if key == "components" {
			return b.list(func() error { return b.component(depth + 1) })
		}
		if field := c.field(key); field != nil {
			return b.text(func(s string) { *field = s })
		}
		return b.skip()
	})
	if err != nil {
		return err
	}
	return c.addTo(&b.doc)
}

// spdxPackage reads one package of SPDX 2.
func (b *jsonBill) spdxPackage() error {
	var p spdxEntry
	err := b.object(func(key string) error {
		switch key {
		case "name":
			return b.text(func(s string) { p.Name = s })
		case "versionInfo":
			return b.text(func(s string) { p.Version = s })
		case "primaryPackagePurpose":
			return b.text(func(s string) { p.purpose = s })
		case "externalRefs":
			return b.list(func() error { return b.spdxReference(&p) })
		}
		return b.skip()
	})
	if err != nil {
		return err
	}
	return p.addTo(&b.doc)
}

func (b *jsonBill) spdxReference(p *spdxEntry) error {
	var kind, locator string
	err := b.object(func(key string) error {
		switch key {
		case "referenceType":
			return b.text(func(s string) { kind = s })
		case "referenceLocator":
			return b.text(func(s string) { locator = s })
		}
		return b.skip()
	})
	if kind == "purl" {
		p.PURL = locator
	}
	return err
}

// artifact reads one of Syft's.
func (b *jsonBill) artifact() error {
	var p Package
	err := b.object(func(key string) error {
		switch key {
		case "name":
			return b.text(func(s string) { p.Name = s })
		case "version":
			return b.text(func(s string) { p.Version = s })
		case "purl":
			return b.text(func(s string) { p.PURL = s })
		}
		return b.skip()
	})
	if err != nil {
		return err
	}
	return b.doc.add(p)
}

// object calls visit for each key of an object; null is one without any.
func (b *jsonBill) object(visit func(key string) error) error {
	return b.opened('{', func() error {
		key, err := b.dec.Token()
		if err != nil {
			return b.broken(err)
		}
		return visit(key.(string)) // the decoder lets nothing else be a key
	})
}

// list calls visit for each element of an array; null is one without any.
func (b *jsonBill) list(visit func() error) error { return b.opened('[', visit) }

// opened reads what stands between brackets.
func (b *jsonBill) opened(bracket json.Delim, visit func() error) error {
	token, err := b.dec.Token()
	if err != nil {
		return b.broken(err)
	}
	if token == nil {
		return nil
	}
	if token != bracket {
		return fmt.Errorf("%w: %.40q stands where %q should", ErrFormat, fmt.Sprint(token), bracket)
	}
	for b.dec.More() {
		if err := visit(); err != nil {
			return err
		}
	}
	if _, err := b.dec.Token(); err != nil {
		return b.broken(err)
	}
	return nil
}

// text reads a text; what is none is taken for an empty one.
func (b *jsonBill) text(set func(string)) error {
	var raw json.RawMessage
	if err := b.dec.Decode(&raw); err != nil {
		return b.broken(err)
	}
	if len(raw) > maxText {
		return fmt.Errorf("%w: a name of more than %d bytes", ErrTooLarge, maxText)
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		set(s)
	}
	return nil
}

// passed is a value that nobody wants.
type passed struct{}

func (*passed) UnmarshalJSON([]byte) error { return nil }

func (b *jsonBill) skip() error {
	if err := b.dec.Decode(&passed{}); err != nil {
		return b.broken(err)
	}
	return nil
}

// broken says of a document that it is none of JSON, unless it is too large or
// could not be read.
func (b *jsonBill) broken(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return err
}
