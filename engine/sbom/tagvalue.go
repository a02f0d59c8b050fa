package sbom

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// tagVersion begins a document of SPDX 2 in tag-value form.
const tagVersion = "SPDXVersion:"

// decodeTags reads SPDX 2 as tags and values, a line each. A text of several
// lines stands in <text> marks.
// https://spdx.github.io/spdx-spec/v2.3/conformance/
func decodeTags(in *bufio.Reader) (*Document, error) {
	b := &tagBill{}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), 1<<20)
	for lines.Scan() {
		if err := b.line(lines.Text()); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%w: a line of more than 1 MiB", ErrTooLarge)
	} else if err != nil {
		return nil, err
	}
	if b.doc.Format == "" {
		return nil, ErrFormat
	}
	if err := b.current.addTo(&b.doc); err != nil {
		return nil, err
	}
	return &b.doc, nil
}

type tagBill struct {
	doc     Document
	current spdxEntry
	inText  bool
}

func (b *tagBill) line(line string) error {
	if b.inText {
		b.inText = !strings.Contains(line, "</text>")
		return nil
	}
	tag, value, ok := strings.Cut(line, ":")
	if !ok || strings.HasPrefix(line, "#") {
		return nil
	}
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "<text>") && !strings.Contains(value, "</text>") {
		b.inText = true
		return nil
	}
	value = value[:min(len(value), maxText)]
	switch strings.TrimSpace(tag) {
	case "SPDXVersion":
		if strings.HasPrefix(value, "SPDX-2.") {
			b.doc.Format = "SPDX"
		}
	case "PackageName":
		if err := b.current.addTo(&b.doc); err != nil {
			return err
		}
		b.current = spdxEntry{Package: Package{Name: value}}
	case "PackageVersion":
		b.current.Version = value
	case "PrimaryPackagePurpose":
		b.current.purpose = value
	case "ExternalRef":
		if parts := strings.Fields(value); len(parts) == 3 && parts[1] == "purl" {
			b.current.PURL = parts[2]
		}
	}
	return nil
}
