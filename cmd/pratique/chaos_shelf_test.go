package main_test

import (
	"maps"

	"github.com/opencontainers/go-digest"
)

// presence is what is known of a manifest in a repository.
type presence int

const (
	absent presence = iota
	present
	unsure // an operation without an answer may have happened, or may yet
)

// shelf is what one repository must hold, after the operations of the one worker
// that writes to it. An operation without an answer may take effect at any time
// until the next quiet point, also after later ones that were answered.
type shelf struct {
	name  string // as clients write it
	tags  map[string]*slot
	held  map[digest.Digest]*holding
	known map[digest.Digest]*specimen
}

// slot is what a tag may stand for; "" is nothing.
type slot struct {
	values map[digest.Digest]bool
	late   map[digest.Digest]bool // values of writes without an answer
}

type holding struct {
	state              presence
	latePut, lateTaken bool
	pinned             bool // an index names it: it is not deleted
	torn               bool // a deletion without an answer may have reached the upstream alone
}

func newShelf(name string) *shelf {
	return &shelf{name: name, tags: map[string]*slot{}, held: map[digest.Digest]*holding{}, known: map[digest.Digest]*specimen{}}
}

func (s *shelf) slot(tag string) *slot {
	if s.tags[tag] == nil {
		s.tags[tag] = &slot{values: map[digest.Digest]bool{"": true}, late: map[digest.Digest]bool{}}
	}
	return s.tags[tag]
}

func (s *shelf) holding(d digest.Digest) *holding {
	if s.held[d] == nil {
		s.held[d] = &holding{}
	}
	return s.held[d]
}

// put notes the push of a manifest under a tag, or under its digest when tag is
// empty.
func (s *shelf) put(x *specimen, tag string, acknowledged bool) {
	d := x.digest()
	s.known[d] = x
	h := s.holding(d)
	switch {
	case acknowledged && h.lateTaken:
		h.state = unsure
	case acknowledged:
		h.state, h.torn = present, false
	default:
		h.latePut = true
		if h.state == absent {
			h.state = unsure
		}
	}
	if tag == "" {
		return
	}
	sl := s.slot(tag)
	if !acknowledged {
		sl.values[d], sl.late[d] = true, true
		return
	}
	sl.values = maps.Clone(sl.late)
	sl.values[d] = true
	if h.lateTaken {
		sl.values[""] = true
	}
}

// untag notes the deletion of a tag.
func (s *shelf) untag(tag string, acknowledged bool) {
	sl := s.slot(tag)
	if acknowledged {
		sl.values = maps.Clone(sl.late)
	} else {
		sl.late[""] = true
	}
	sl.values[""] = true
}

// remove notes the deletion of a manifest, which takes its tags with it.
func (s *shelf) remove(d digest.Digest, acknowledged bool) {
	h := s.holding(d)
	switch {
	case !acknowledged:
		h.state, h.lateTaken, h.torn = unsure, true, true
	case h.latePut:
		h.state = unsure
	default:
		h.state = absent
	}
	for _, sl := range s.tags {
		if !sl.values[d] {
			continue
		}
		sl.values[""] = true
		if !acknowledged {
			sl.late[""] = true
		} else if !sl.late[d] {
			delete(sl.values, d)
		}
	}
}

// settleTag fixes what a tag was found to be when nothing was under way.
func (s *shelf) settleTag(tag string, found digest.Digest) {
	s.tags[tag] = &slot{values: map[digest.Digest]bool{found: true}, late: map[digest.Digest]bool{}}
}

// settleManifest fixes whether a manifest was found.
func (s *shelf) settleManifest(d digest.Digest, found bool) {
	h := s.holding(d)
	h.latePut, h.lateTaken = false, false
	if h.state = absent; found {
		h.state = present
	}
}

// sorted is for choices that follow from the seed alone.
func (s *shelf) sorted(fits func(*specimen, *holding) bool) []*specimen {
	var all []*specimen
	for _, d := range sortedKeys(s.known) {
		if x := s.known[d]; fits(x, s.holding(d)) {
			all = append(all, x)
		}
	}
	return all
}
