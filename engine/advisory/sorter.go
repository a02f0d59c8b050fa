package advisory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// sorter sorts any number of records in bounded memory: full arenas go to disk
// as sorted runs, and runs are merged.
type sorter struct {
	dir   string
	limit int    // bytes of records in memory
	arena []byte // records, each as key, rank (big-endian), part
	refs  []arenaRef
	// levels hold the runs; one of level n was merged from fanIn of level n-1.
	levels []*runs
}

type arenaRef struct{ at, key, part uint32 }

type runs struct {
	spool *spool
	ends  []int64
}

const (
	arenaSize = 8 << 20 // bytes of records in memory
	arenaRefs = arenaSize / 64
	fanIn     = 32 // runs that are merged at a time
)

func newSorter(dir string) *sorter { return &sorter{dir: dir, limit: arenaSize} }

func (s *sorter) add(r record) error {
	if len(s.refs) > 0 && (len(s.arena)+len(r.key)+8+len(r.part) > s.limit || len(s.refs) == arenaRefs) {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.arena == nil {
		s.arena, s.refs = make([]byte, 0, s.limit), make([]arenaRef, 0, arenaRefs)
	}
	s.refs = append(s.refs, arenaRef{uint32(len(s.arena)), uint32(len(r.key)), uint32(len(r.part))})
	s.arena = append(s.arena, r.key...)
	s.arena = binary.BigEndian.AppendUint64(s.arena, r.rank)
	s.arena = append(s.arena, r.part...)
	return nil
}

// spill writes the arena as a run, and merges runs when there are enough.
func (s *sorter) spill() error {
	err := s.write(0, s.sorted())
	s.arena, s.refs = s.arena[:0], s.refs[:0]
	if cap(s.arena) > 2*s.limit { // one enormous record came
		s.arena = make([]byte, 0, s.limit)
	}
	for n := 0; err == nil && n < len(s.levels) && len(s.levels[n].ends) == fanIn; n++ {
		var sources []source
		if sources, err = s.levels[n].sources(); err == nil {
			err = s.write(n+1, sources...)
		}
		if err == nil {
			s.levels[n].ends = nil
			err = s.levels[n].spool.reset()
		}
	}
	return err
}

// write merges sources into one run of a level.
func (s *sorter) write(level int, sources ...source) error {
	if level == len(s.levels) {
		spool, err := newSpool(s.dir)
		if err != nil {
			return err
		}
		s.levels = append(s.levels, &runs{spool: spool})
	}
	r := s.levels[level]
	if err := writeRecords(r.spool, sources); err != nil {
		return err
	}
	r.ends = append(r.ends, r.spool.size)
	return nil
}

// writeRecords merges sources into w.
func writeRecords(w io.Writer, sources []source) error {
	m, err := newMerger(sources)
	if err != nil {
		return err
	}
	var line []byte
	for {
		rec, err := m.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line = rec.append(line[:0])
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
}

func (r *runs) sources() ([]source, error) {
	var all []source
	start := int64(0)
	for _, end := range r.ends {
		section, err := r.spool.section(start, end)
		if err != nil {
			return nil, err
		}
		all = append(all, newRecordReader(section))
		start = end
	}
	return all, nil
}

// sources gives all records, to be merged. Nothing may be added after it. What
// did not fit the arena once is all on disk then: the arena's memory is for who
// merges.
func (s *sorter) sources() ([]source, error) {
	if len(s.levels) == 0 {
		return []source{s.sorted()}, nil
	}
	if len(s.refs) > 0 {
		if err := s.spill(); err != nil {
			return nil, err
		}
	}
	s.arena, s.refs = nil, nil
	var all []source
	for _, level := range s.levels {
		runs, err := level.sources()
		if err != nil {
			return nil, err
		}
		all = append(all, runs...)
	}
	return all, nil
}

// sorted sorts the arena and reads it.
func (s *sorter) sorted() source {
	slices.SortFunc(s.refs, func(x, y arenaRef) int {
		if c := bytes.Compare(s.arena[x.at:x.at+x.key], s.arena[y.at:y.at+y.key]); c != 0 {
			return c
		}
		return bytes.Compare(s.arena[x.at+x.key:x.at+x.key+8+x.part], s.arena[y.at+y.key:y.at+y.key+8+y.part])
	})
	return &arenaReader{arena: s.arena, refs: s.refs}
}

func (s *sorter) close() error {
	var errs []error
	for _, level := range s.levels {
		errs = append(errs, level.spool.close())
	}
	s.arena, s.refs, s.levels = nil, nil, nil
	return errors.Join(errs...)
}

// arenaReader is a source over a sorted arena.
type arenaReader struct {
	arena []byte
	refs  []arenaRef
}

func (a *arenaReader) next() (record, error) {
	if len(a.refs) == 0 {
		return record{}, io.EOF
	}
	ref := a.refs[0]
	a.refs = a.refs[1:]
	tail := a.arena[ref.at+ref.key:]
	return record{key: a.arena[ref.at : ref.at+ref.key], rank: binary.BigEndian.Uint64(tail), part: tail[8 : 8+ref.part]}, nil
}
