package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// decode reads one JSON document into maps, slices, strings, json.Numbers and
// booleans. It refuses what two readers could understand differently (a key
// twice, data after the end) and what is too large or too deep.
func decode(raw []byte) (any, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("larger than %d bytes", MaxSize)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	d := decoder{dec: dec}
	v, err := d.value(0)
	if err != nil {
		return nil, fmt.Errorf("not a JSON document at byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more than one JSON document, at byte %d", dec.InputOffset())
	}
	return v, nil
}

type decoder struct {
	dec    *json.Decoder
	values int
}

func (d *decoder) value(depth int) (any, error) {
	if d.values++; d.values > maxValues {
		return nil, fmt.Errorf("more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := d.dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return d.object(depth)
	case json.Delim('['):
		return d.array(depth)
	}
	return tok, nil
}

func (d *decoder) object(depth int) (any, error) {
	m := map[string]any{}
	for d.dec.More() {
		tok, err := d.dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			return nil, errors.New("object key is no string")
		}
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("key %q appears twice", key)
		}
		if m[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := d.dec.Token()
	return m, err
}

func (d *decoder) array(depth int) (any, error) {
	list := []any{}
	for d.dec.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.dec.Token()
	return list, err
}

// canonical writes a decoded value in its one form: keys sorted, no blanks,
// numbers as written, no escapes beyond what JSON demands.
func canonical(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("encode a decoded document: %v", err)) // strings, numbers, maps and slices alone
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// hashOf is the sha256 of the canonical form, in hex.
func hashOf(v any) string {
	sum := sha256.Sum256(canonical(v))
	return hex.EncodeToString(sum[:])
}
