package sbom

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxElements is how deep elements may stand in one another: two for each
// nesting of components, and what stands in one.
const maxElements = 2*maxNesting + 16

// xmlBill reads CycloneDX as XML, element by element.
type xmlBill struct {
	doc   Document
	path  []string        // names of the open elements
	open  []*cycloneEntry // the open components
	field *string         // where text goes
}

func decodeXML(r io.Reader) (*Document, error) {
	b := &xmlBill{doc: Document{Format: "CycloneDX"}}
	dec := xml.NewDecoder(r)
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, xmlError(err)
		}
		if err := b.token(token); err != nil {
			return nil, err
		}
	}
	if b.doc.Format == "" || len(b.path) > 0 {
		return nil, ErrFormat
	}
	return &b.doc, nil
}

func xmlError(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return err
}

func (b *xmlBill) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return b.start(t)
	case xml.EndElement:
		return b.end()
	case xml.CharData:
		if b.field == nil {
			return nil
		}
		if len(*b.field)+len(t) > maxText {
			return fmt.Errorf("%w: a name of more than %d bytes", ErrTooLarge, maxText)
		}
		*b.field += string(t)
	}
	return nil
}

// start opens an element. Components are those of the document and of other
// components; the one in metadata is the image.
func (b *xmlBill) start(t xml.StartElement) error {
	if len(b.path) >= maxElements {
		return fmt.Errorf("%w: elements nested more than %d times", ErrTooLarge, maxElements)
	}
	if len(b.path) == 0 && (t.Name.Local != "bom" || !strings.Contains(t.Name.Space, "cyclonedx.org")) {
		return fmt.Errorf("%w: an element %.40q", ErrFormat, t.Name.Local)
	}
	b.field = nil
	if t.Name.Local == "component" && b.isComponents() {
		c := &cycloneEntry{}
		for _, a := range t.Attr {
			if a.Name.Local == "type" {
				c.kind = a.Value[:min(len(a.Value), maxText)]
			}
		}
		b.open = append(b.open, c)
	} else if n := len(b.open); n > 0 && len(b.path) == 2*n+1 && b.path[len(b.path)-1] == "component" {
		b.field = b.open[n-1].field(t.Name.Local)
	}
	b.path = append(b.path, t.Name.Local)
	return nil
}

// isComponents reports whether the open elements are "bom", "components",
// "component", "components", ... and an element in them would be a component.
func (b *xmlBill) isComponents() bool {
	return len(b.path) == 2*len(b.open)+2 && b.path[len(b.path)-1] == "components"
}

func (b *xmlBill) end() error {
	last := len(b.path) - 1 // the decoder lets no element end that has not begun
	name := b.path[last]
	b.path, b.field = b.path[:last], nil
	if n := len(b.open); n > 0 && name == "component" && len(b.path) == 2*n {
		c := b.open[n-1]
		b.open = b.open[:n-1]
		for _, s := range []*string{&c.group, &c.name, &c.version, &c.purl} {
			*s = strings.TrimSpace(*s)
		}
		return c.addTo(&b.doc)
	}
	return nil
}
