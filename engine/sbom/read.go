package sbom

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Document is a bill that somebody else wrote.
type Document struct {
	Format   string // "CycloneDX", "SPDX" or "Syft"
	Packages []Package
}

// Package is one entry of such a bill.
type Package struct {
	Name    string `json:"name"` // with its group: "org.example/app"
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

// Bounds of a foreign bill. Readers take from it what Package holds and step
// over the rest, so that a bill costs memory by the packages it names.
const (
	maxDocument = 64 << 20 // bytes
	maxXML      = 16 << 20 // bytes; a tag of it costs much more than its length
	maxPackages = 250_000
	maxNesting  = 32   // of components in components, and of documents in envelopes
	maxText     = 4096 // bytes of one name, version or purl
)

var (
	// ErrFormat: the bytes are of no bill that is known.
	ErrFormat = errors.New("no bill of materials in CycloneDX, SPDX 2 or Syft's JSON")
	// ErrTooLarge: a bill is beyond what is read of one.
	ErrTooLarge = errors.New("the bill of materials is too large")
)

// Read reads CycloneDX (JSON or XML), SPDX 2 (JSON or tag-value), Syft's own
// JSON, and attestations (in-toto statements) that hold one of these as JSON.
func Read(r io.Reader) (*Document, error) {
	limited := &limitedReader{most: maxDocument, from: r}
	in := bufio.NewReaderSize(limited, 64<<10)
	doc, err := decode(in, limited)
	if err != nil {
		return nil, fmt.Errorf("read bill of materials: %w", err)
	}
	return doc, nil
}

func decode(in *bufio.Reader, limited *limitedReader) (*Document, error) {
	start, err := in.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	start = bytes.TrimSpace(start)
	if mark := []byte("\xef\xbb\xbf"); bytes.HasPrefix(start, mark) {
		start = bytes.TrimSpace(start[len(mark):])
		if _, err := in.Discard(len(mark)); err != nil {
			return nil, err
		}
	}
	switch {
	case bytes.HasPrefix(start, []byte("<")):
		limited.most = maxXML
		return decodeXML(in)
	case bytes.HasPrefix(start, []byte("{")):
		return decodeJSON(in)
	case bytes.HasPrefix(start, []byte(tagVersion)), bytes.HasPrefix(start, []byte("#")):
		return decodeTags(in)
	}
	return nil, ErrFormat
}

// add takes an entry of a bill; one without a name says nothing.
func (d *Document) add(p Package) error {
	if p.Name == "" && p.PURL == "" {
		return nil
	}
	if len(d.Packages) >= maxPackages {
		return fmt.Errorf("%w: more than %d packages", ErrTooLarge, maxPackages)
	}
	d.Packages = append(d.Packages, p)
	return nil
}

// limitedReader ends with an error, not with an end, when there is more than it
// may read.
type limitedReader struct {
	most, read int64
	from       io.Reader
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if l.read > l.most {
		return 0, fmt.Errorf("%w: more than %d MiB", ErrTooLarge, l.most>>20)
	}
	n, err := l.from.Read(b[:min(int64(len(b)), l.most+1-l.read)])
	l.read += int64(n)
	return n, err
}
