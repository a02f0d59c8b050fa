package advisory

import (
	"encoding/binary"
	"math"
)

// A value of the index holds all advisories of one key:
//
//	count of strings, length of each, all bytes of all strings
//	count of lists, each: count of strings in it, references to strings
//	count of advisories, each as encoder.advisory writes it
//
// Numbers are varints; a reference is an index into the table before it. Texts
// and version lists repeat from record to record (a distribution lists the same
// hundred versions for each CVE of its kernel), so each stands once.

// encodeValue writes the advisories of one key.
func encodeValue(advisories []Advisory) []byte {
	e := newEncoder()
	for i := range advisories {
		e.advisory(&advisories[i])
	}
	return e.value(len(advisories))
}

func newEncoder() *encoder {
	return &encoder{strings: map[string]uint64{}, lists: map[string]uint64{}}
}

// value gives what was written: n advisories.
func (e *encoder) value(n int) []byte {
	out := binary.AppendUvarint(nil, uint64(len(e.strings)))
	out = append(out, e.lengths...)
	out = append(out, e.text...)
	out = binary.AppendUvarint(out, uint64(len(e.lists)))
	out = append(out, e.listBody...)
	out = binary.AppendUvarint(out, uint64(n))
	return append(out, e.body...)
}

type encoder struct {
	strings  map[string]uint64
	lengths  []byte
	text     []byte
	lists    map[string]uint64 // by encoded form
	listBody []byte
	body     []byte
}

// Flags of an advisory.
const (
	flagVendorFinal = 1 << iota
	flagWillNotFix
	allFlags = flagVendorFinal | flagWillNotFix
)

// Kinds of events.
const (
	kindIntroduced = iota
	kindFixed
	kindLastAffected
	kindLimit
)

func (e *encoder) advisory(a *Advisory) {
	e.string(a.ID)
	e.list(a.Aliases)
	e.string(a.Package)
	e.string(a.Summary)
	e.string(a.URL)
	e.body = binary.AppendVarint(e.body, a.Published.Unix())
	e.body = binary.AppendVarint(e.body, a.Modified.Unix())
	e.number(len(a.Ranges))
	for _, r := range a.Ranges {
		e.string(r.Type)
		e.number(len(r.Events))
		for _, ev := range r.Events {
			kind, text := ev.split()
			e.body = append(e.body, kind)
			e.string(text)
		}
	}
	e.list(a.Versions)
	e.list(a.CVSS)
	e.string(a.Rating)
	e.string(a.RatingSource)
	e.list(a.Related)
	e.string(a.Kind)
	e.string(a.Status)
	e.string(a.Module)
	var flags byte
	if a.VendorFinal {
		flags |= flagVendorFinal
	}
	if a.WillNotFix {
		flags |= flagWillNotFix
	}
	e.body = append(e.body, flags)
}

// split gives the kind of the event and the version in it.
func (ev Event) split() (kind byte, version string) {
	switch {
	case ev.Fixed != "":
		return kindFixed, ev.Fixed
	case ev.LastAffected != "":
		return kindLastAffected, ev.LastAffected
	case ev.Limit != "":
		return kindLimit, ev.Limit
	}
	return kindIntroduced, ev.Introduced
}

func (e *encoder) number(n int) { e.body = binary.AppendUvarint(e.body, uint64(n)) }

func (e *encoder) string(s string) { e.body = binary.AppendUvarint(e.body, e.ref(s)) }

func (e *encoder) ref(s string) uint64 {
	if ref, ok := e.strings[s]; ok {
		return ref
	}
	ref := uint64(len(e.strings))
	e.strings[s] = ref
	e.lengths = binary.AppendUvarint(e.lengths, uint64(len(s)))
	e.text = append(e.text, s...)
	return ref
}

func (e *encoder) list(items []string) {
	form := binary.AppendUvarint(nil, uint64(len(items)))
	for _, s := range items {
		form = binary.AppendUvarint(form, e.ref(s))
	}
	ref, ok := e.lists[string(form)]
	if !ok {
		ref = uint64(len(e.lists))
		e.lists[string(form)] = ref
		e.listBody = append(e.listBody, form...)
	}
	e.body = binary.AppendUvarint(e.body, ref)
}

// encodeScore writes the value of a score: base, vector, source.
func encodeScore(s Score) []byte {
	out := binary.LittleEndian.AppendUint64(nil, math.Float64bits(s.Base))
	for _, text := range []string{s.Vector, s.Source} {
		out = binary.AppendUvarint(out, uint64(len(text)))
		out = append(out, text...)
	}
	return out
}
