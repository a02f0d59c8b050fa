package inventory

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// DatabaseNix is recognised and not read.
	DatabaseNix = "nix-store"
	// DatabaseLog is a write-ahead log, without which a database beside it tells
	// an old state.
	DatabaseLog = "write-ahead-log"
)

// unreadDatabases adds a blind gap for a database that this version knows and
// does not read.
func (s *squasher) unreadDatabases() {
	for _, d := range s.databases {
		if d.kind == DatabaseNix {
			s.gap(Blind, d.kind+"-unread", d.path, d.layer, fmt.Sprintf("this image's packages are in a Nix store (%s), which this version does not read", d.path))
		}
	}
}

// logsApart adds a blind gap where a database and its write-ahead log come from
// different layers: neither was read with the other.
func (s *squasher) logsApart() {
	for _, log := range s.databases {
		if log.kind != DatabaseLog {
			continue
		}
		own := strings.TrimSuffix(log.path, "-wal")
		i := slices.IndexFunc(s.databases, func(d placed) bool { return d.path == own })
		if i >= 0 && s.databases[i].layer != log.layer {
			s.gap(Blind, "database-log-apart", own, log.layer, fmt.Sprintf("the package database %s and its write-ahead log come from different layers", own))
		}
	}
}

// databasePlaces are where package managers look, and the files that they look
// for. What stands there must have been read, whatever it is.
var databasePlaces = []struct {
	own   string // the package manager's own directory
	files []string
}{
	{"var/lib/dpkg", []string{"status", "status.d"}},
	{"lib/apk", []string{"db/installed"}},
	{"usr/lib/apk", []string{"db/installed"}},
	{"var/lib/rpm", rpmFiles},
	{"usr/lib/sysimage/rpm", rpmFiles},
	{"usr/share/rpm", rpmFiles},
}

var rpmFiles = []string{"Packages", "Packages.db", "rpmdb.sqlite"}

// databasePlaces adds a blind gap where a link or special file stands in the
// place of a package database and leads to nothing that was read.
func (s *squasher) databasePlaces() {
	for _, place := range databasePlaces {
		if s.isOdd(place.own) {
			if !slices.ContainsFunc(place.files, func(file string) bool { return s.isRead(place.own + "/" + file) }) {
				s.unreadable(place.own)
				continue
			}
		}
		for _, file := range place.files {
			path := place.own
			for element := range strings.SplitSeq(file, "/") {
				path += "/" + element
				if s.isOdd(path) && !s.isRead(place.own+"/"+file) {
					s.unreadable(path)
					break
				}
			}
		}
	}
}

func (s *squasher) unreadable(path string) {
	s.gap(Blind, "database-unreadable", path, -1, "the place of the package database ("+path+") is a link or special file that leads to nothing that can be read")
}

// isOdd reports whether a link or special file stands at path itself.
func (s *squasher) isOdd(path string) bool {
	dir, base, _ := s.tree.parent(path, false)
	if dir == nil {
		return false
	}
	kid := dir.kids[base]
	return kid != nil && (kid.kind == Symlink || kid.kind == Special)
}

// isRead reports whether path leads to a database, or to a directory of them.
func (s *squasher) isRead(path string) bool {
	n, _ := s.tree.walk(path, false)
	if n == nil {
		return false
	}
	for _, kid := range n.kids {
		if kid.facts != nil && kid.facts.database != "" {
			return true
		}
	}
	return n.facts != nil && n.facts.database != ""
}

// missingDatabase adds a gap when there is a distribution without any package
// database: somebody has taken the list away, not the packages.
func (s *squasher) missingDatabase() {
	if s.image.Distro.ID != "" && !slices.ContainsFunc(s.databases, func(d placed) bool { return IsSystem(d.kind) || d.kind == DatabaseNix }) {
		s.gap(Partial, "database-missing", "", -1, fmt.Sprintf("the image calls itself %s and has no package database", s.image.Distro.ID))
	}
}
