package advisory

import (
	"errors"
	"io"
)

// merger is a source that merges others: a heap of their next records.
type merger struct {
	heap []*cursor
	used bool // the first record of the heap was given out
}

type cursor struct {
	record
	from source
}

func newMerger(sources []source) (*merger, error) {
	m := &merger{}
	for _, from := range sources {
		rec, err := from.next()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m.heap = append(m.heap, &cursor{rec, from})
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return m, nil
}

func (m *merger) next() (record, error) {
	if m.used && len(m.heap) > 0 {
		if err := m.advance(); err != nil {
			return record{}, err
		}
	}
	if len(m.heap) == 0 {
		return record{}, io.EOF
	}
	m.used = true
	return m.heap[0].record, nil
}

// advance takes the next record of the source that gave the last one.
func (m *merger) advance() error {
	first := m.heap[0]
	rec, err := first.from.next()
	switch {
	case errors.Is(err, io.EOF):
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	case err != nil:
		return err
	default:
		first.record = rec
	}
	m.sink(0)
	return nil
}

// sink moves the i-th cursor to its place among those below it.
func (m *merger) sink(i int) {
	for {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(m.heap) && m.heap[child].compare(&m.heap[least].record) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}
