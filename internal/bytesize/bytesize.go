// Package bytesize is a number of bytes as people write it in a configuration:
// "10GiB", "500MB", "0".
//
// It says nothing of what is measured, or what zero means. Start with Size.
package bytesize

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes, never negative.
type Size int64

// The IEC units.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// ErrInvalid is in the chain of every error of Parse.
var ErrInvalid = errors.New(`not a size: write a number of bytes ("500000"), or a number with a unit: "500MB" (1000s: kB MB GB TB), "10GiB" (1024s: KiB MiB GiB TiB)`)

// maxText is longer than any size that makes sense; what is quoted in errors is
// as short.
const maxText = 32

// units are the ones read, in lower case. A unit that stands for 1000s with some
// programs and for 1024s with others ("10G") is none of them.
var units = map[string]bool{
	"b": true, "kb": true, "mb": true, "gb": true, "tb": true, "kib": true, "mib": true, "gib": true, "tib": true,
}

// Parse reads a size. Fractions are read with a unit ("1.5GiB") and rounded
// down to a byte.
func Parse(text string) (Size, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxText {
		return 0, fmt.Errorf("%q...: %w", text[:maxText], ErrInvalid)
	}
	if strings.HasPrefix(text, "-") {
		return 0, fmt.Errorf("%q is negative: %w", text, ErrInvalid)
	}
	unit := strings.TrimLeft(text, "0123456789.")
	number := strings.TrimSuffix(text, unit)
	if unit = strings.TrimSpace(unit); unit == "" {
		// Read as the whole number that it is: not every one is a float64.
		n, err := strconv.ParseInt(number, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("%q is more than %d bytes: %w", text, int64(math.MaxInt64), ErrInvalid)
		}
		if err != nil {
			return 0, fmt.Errorf("%q: %w", text, ErrInvalid)
		}
		return Size(n), nil
	}
	n, err := humanize.ParseBytes(text)
	switch {
	case !units[strings.ToLower(unit)]:
		return 0, fmt.Errorf("%q: %w", text, ErrInvalid)
	case err != nil && !digits(number):
		return 0, fmt.Errorf("%q: %w", text, ErrInvalid)
	case err != nil, n > math.MaxInt64:
		return 0, fmt.Errorf("%q is more than %d bytes: %w", text, int64(math.MaxInt64), ErrInvalid)
	}
	return Size(n), nil
}

// digits reports whether a number can be read at all, so that what is wrong
// with it is its size.
func digits(number string) bool {
	_, err := strconv.ParseFloat(number, 64)
	return err == nil
}

// Bytes returns the number of bytes.
func (s Size) Bytes() int64 { return int64(s) }

// String writes the size in the largest IEC unit that needs no fraction, so that
// Parse gives the same size again.
func (s Size) String() string {
	for _, unit := range []struct {
		size Size
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if s != 0 && s%unit.size == 0 {
			return strconv.FormatInt(int64(s/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalText reads a size from YAML, JSON, the environment or a flag.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = Parse(string(text))
	return err
}

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
