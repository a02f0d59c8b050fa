package advisory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrCorrupt means that an index file does not hold what it should. No answer
// was taken from the damaged part.
var ErrCorrupt = errors.New("vulnerability index is corrupt")

// decodeValue reads what encodeValue wrote. The result shares no memory with
// value. Lists that several advisories have in common share theirs.
func decodeValue(ecosystem string, value []byte) ([]Advisory, error) {
	d := decoder{rest: value}
	d.tables()
	advisories := make([]Advisory, d.count(minAdvisory))
	for i := range advisories {
		if d.err != nil {
			break
		}
		advisories[i].Ecosystem = ecosystem
		d.advisory(&advisories[i])
	}
	if d.err == nil && len(d.rest) != 0 {
		d.fail("bytes after the last advisory")
	}
	if d.err != nil {
		return nil, d.err
	}
	return advisories, nil
}

// Smallest encoded sizes in bytes: they bound counts by what is left to read,
// so that no count makes memory that the file did not pay for.
const (
	minAdvisory = 17
	minRange    = 2
	minEvent    = 2
)

type decoder struct {
	rest    []byte
	strings []string
	lists   [][]string
	err     error
}

func (d *decoder) tables() {
	lengths := make([]int, d.count(1))
	total := 0
	for i := range lengths {
		lengths[i] = d.count(0)
		total += lengths[i]
		if total > len(d.rest) {
			d.fail("strings longer than the value")
			return
		}
	}
	text := string(d.take(total))
	if d.err != nil {
		return
	}
	d.strings = make([]string, len(lengths))
	for i, n := range lengths {
		d.strings[i], text = text[:n], text[n:]
	}
	d.lists = make([][]string, d.count(1))
	for i := range d.lists {
		if n := d.count(1); n > 0 {
			d.lists[i] = make([]string, n)
		}
		for j := range d.lists[i] {
			d.lists[i][j] = d.string()
		}
	}
}

func (d *decoder) advisory(a *Advisory) {
	a.ID = d.string()
	a.Aliases = d.list()
	a.Package = d.string()
	a.Summary = d.string()
	a.URL = d.string()
	a.Published = d.time()
	a.Modified = d.time()
	a.Ranges = d.ranges()
	a.Versions = d.list()
	a.CVSS = d.list()
	a.Rating = d.string()
	a.RatingSource = d.string()
	a.Related = d.list()
	a.Kind = d.string()
	a.Status = d.string()
	a.Module = d.string()
	flags := d.byte()
	if flags&^allFlags != 0 {
		d.fail("unknown flag")
	}
	a.VendorFinal = flags&flagVendorFinal != 0
	a.WillNotFix = flags&flagWillNotFix != 0
}

func (d *decoder) ranges() []Range {
	n := d.count(minRange)
	if n == 0 {
		return nil
	}
	ranges := make([]Range, n)
	for i := range ranges {
		ranges[i].Type = d.string()
		ranges[i].Events = make([]Event, d.count(minEvent))
		for j := range ranges[i].Events {
			ranges[i].Events[j] = d.event()
		}
	}
	return ranges
}

func (d *decoder) event() (ev Event) {
	kind, version := d.byte(), d.string()
	switch kind {
	case kindIntroduced:
		ev.Introduced = version
	case kindFixed:
		ev.Fixed = version
	case kindLastAffected:
		ev.LastAffected = version
	case kindLimit:
		ev.Limit = version
	default:
		d.fail("unknown kind of event")
	}
	return ev
}

func (d *decoder) string() string {
	ref := d.uvarint()
	if ref >= uint64(len(d.strings)) {
		d.fail("reference to no string")
		return ""
	}
	return d.strings[ref]
}

func (d *decoder) list() []string {
	ref := d.uvarint()
	if ref >= uint64(len(d.lists)) {
		d.fail("reference to no list")
		return nil
	}
	return d.lists[ref]
}

func (d *decoder) time() time.Time {
	n, size := binary.Varint(d.rest)
	if d.err != nil || size <= 0 {
		d.fail("bad time")
		return time.Time{}
	}
	d.rest = d.rest[size:]
	return time.Unix(n, 0).UTC()
}

// count reads a number of things that take at least each bytes (0: of bytes to
// come), which must fit into the rest.
func (d *decoder) count(each uint64) int {
	n := d.uvarint()
	if n > uint64(len(d.rest))/max(each, 1) {
		d.fail("count beyond the value")
		return 0
	}
	return int(n)
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if d.err != nil || size <= 0 {
		d.fail("bad number")
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) byte() byte {
	if b := d.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.rest) {
		d.fail("value too short")
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// fail keeps the first error; from then on every read gives zero.
func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	d.rest = nil
}

// decodeScore reads what encodeScore wrote.
func decodeScore(cve string, value []byte) (Score, error) {
	d := decoder{rest: value}
	s := Score{CVE: cve}
	if b := d.take(8); len(b) == 8 {
		s.Base = math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	s.Vector = string(d.take(d.count(0)))
	s.Source = string(d.take(d.count(0)))
	if d.err == nil && (len(d.rest) != 0 || !(s.Base >= 0 && s.Base <= 10)) {
		d.fail("bad score")
	}
	if d.err != nil {
		return Score{}, d.err
	}
	return s, nil
}
