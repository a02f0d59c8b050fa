package advisory

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Diff returns the packages whose answer differs between two revisions: those
// that appeared, vanished or changed, and those with an advisory that names a
// CVE whose score changed, or that is newly known to be used in attacks. It is a merge of two sorted lists; values are read
// only if a score changed. With no old index every package of new is returned.
func Diff(old, new *Index) ([]Key, error) {
	if old == nil {
		old = &Index{file: []byte{}}
	}
	old.mu.RLock()
	defer old.mu.RUnlock()
	new.mu.RLock()
	defer new.mu.RUnlock()
	if old.file == nil || new.file == nil {
		return nil, ErrClosed
	}
	changed := map[Key]bool{}
	scores := map[string]bool{}
	err := merge(old, new, func(key []byte) {
		k := parseKey(key)
		switch {
		case k.Ecosystem != "":
			changed[k] = true
		case !strings.HasPrefix(k.Package, epssPrefix): // which moves every day, and changes no finding
			scores[strings.TrimPrefix(k.Package, kevPrefix)] = true
		}
	})
	if err == nil && len(scores) > 0 {
		err = new.named(scores, changed)
	}
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(changed))
	for k := range changed {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y Key) int {
		return cmp.Or(strings.Compare(x.Ecosystem, y.Ecosystem), strings.Compare(x.Package, y.Package))
	})
	return keys, nil
}

// merge walks both lists of keys and reports those with different values.
func merge(old, new *Index, report func(key []byte)) error {
	var i, j uint64
	for i < old.header.keys || j < new.header.keys {
		var a, b entry
		var aKey, bKey []byte
		var err error
		order := 0
		if i < old.header.keys {
			if a, aKey, err = old.entry(i); err != nil {
				return err
			}
		} else {
			order = +1
		}
		if j < new.header.keys {
			if b, bKey, err = new.entry(j); err != nil {
				return err
			}
		} else {
			order = -1
		}
		if order == 0 {
			order = bytes.Compare(aKey, bKey)
		}
		switch {
		case order < 0:
			report(aKey)
			i++
		case order > 0:
			report(bKey)
			j++
		default:
			if a.hash != b.hash || a.length != b.length {
				report(aKey)
			}
			i++
			j++
		}
	}
	return nil
}

// named adds the packages with an advisory that has one of the CVEs as its ID
// or alias. Called with mu held.
func (ix *Index) named(cves map[string]bool, found map[Key]bool) error {
	for i := range ix.header.keys {
		e, raw, err := ix.entry(i)
		if err != nil {
			return err
		}
		key := parseKey(raw)
		if key.Ecosystem == "" || found[key] {
			continue
		}
		value, err := ix.value(e)
		if err != nil {
			return err
		}
		if !mentions(value, cves) {
			continue
		}
		advisories, err := decodeValue(key.Ecosystem, value)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(advisories, func(a Advisory) bool {
			isOne := func(name string) bool { return cves[name] }
			return cves[a.ID] || slices.ContainsFunc(a.Aliases, isOne) || slices.ContainsFunc(a.Related, isOne)
		}) {
			found[key] = true
		}
	}
	return nil
}

// mentions reports whether one of the CVEs is among the strings of a value. It
// costs a tenth of decoding, and few values go further.
func mentions(value []byte, cves map[string]bool) bool {
	d := decoder{rest: value}
	n := d.count(1)
	lengths := d.rest
	for range n {
		d.uvarint()
	}
	text := d.rest
	d = decoder{rest: lengths}
	for range n {
		length := d.uvarint()
		if d.err != nil || length > uint64(len(text)) {
			return true // decoding tells what is wrong
		}
		if cves[string(text[:length])] {
			return true
		}
		text = text[length:]
	}
	return d.err != nil
}
