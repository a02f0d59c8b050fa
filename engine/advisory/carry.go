package advisory

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Carry names a part of an index.
type Carry struct {
	Ecosystems map[string]bool // with release suffix
	Scores     bool            // of NVD
	KEV        bool
	EPSS       bool
}

func (c Carry) has(k Key) bool {
	switch {
	case k.Ecosystem != "":
		return c.Ecosystems[k.Ecosystem]
	case strings.HasPrefix(k.Package, kevPrefix):
		return c.KEV
	case strings.HasPrefix(k.Package, epssPrefix):
		return c.EPSS
	}
	return c.Scores
}

// AddIndex adds a part of another index as if its records had been added one by
// one. The index stays open until Finish; damage of it is met there.
func (b *Builder) AddIndex(ix *Index, part Carry) {
	b.carried = append(b.carried, &carried{index: ix, part: part})
}

// carried is a source over an index.
type carried struct {
	index *Index
	part  Carry
	at    uint64
	rest  []record // of the entry before at
}

// next is part of source.
func (c *carried) next() (record, error) {
	c.index.mu.RLock()
	defer c.index.mu.RUnlock()
	if c.index.file == nil {
		return record{}, ErrClosed
	}
	for len(c.rest) == 0 {
		if c.at == c.index.header.keys {
			return record{}, io.EOF
		}
		e, key, err := c.index.entry(c.at)
		if err != nil {
			return record{}, err
		}
		c.at++
		k := parseKey(key)
		if !c.part.has(k) {
			continue
		}
		value, err := c.index.value(e)
		if err == nil {
			c.rest, err = recordsOf(k, value)
		}
		if err != nil {
			return record{}, fmt.Errorf("%.200q: %w", key, err)
		}
	}
	r := c.rest[0]
	c.rest = c.rest[1:]
	return r, nil
}

// recordsOf gives the records that a value was made from.
func recordsOf(k Key, value []byte) ([]record, error) {
	if k.Ecosystem == "" {
		r := record{key: sortKey(k, ""), part: slices.Clone(value)}
		if !strings.HasPrefix(k.Package, kevPrefix) && !strings.HasPrefix(k.Package, epssPrefix) {
			s, err := decodeScore(k.Package, value)
			if err != nil {
				return nil, err
			}
			r.rank = scoreRank(s)
		}
		return []record{r}, nil
	}
	advisories, err := decodeValue(k.Ecosystem, value)
	if err != nil {
		return nil, err
	}
	all := make([]record, len(advisories))
	for i, a := range advisories {
		all[i] = newRecord(k, a)
	}
	slices.SortFunc(all, func(x, y record) int { return x.compare(&y) })
	return all, nil
}
