package inventory

import (
	"fmt"
	"slices"
	"strings"
)

// Types of databases and archives that are recognised and not read. The first
// five hold the packages of a whole system, the others those of one program.
const (
	DatabaseRPM      = "rpm"
	DatabasePacman   = "pacman"
	DatabaseOpkg     = "opkg"
	DatabasePortage  = "portage"
	DatabaseNix      = "nix"
	DatabaseJava     = "java-archive"
	DatabaseGem      = "gem"
	DatabaseComposer = "composer"
	DatabaseDotnet   = "dotnet"
	DatabaseEgg      = "python-egg"
)

var unreadSystems = []string{DatabaseRPM, DatabasePacman, DatabaseOpkg, DatabasePortage, DatabaseNix}

var unreadPrograms = []struct{ kind, many string }{
	{DatabaseJava, "Java archives"},
	{DatabaseGem, "Ruby gem specifications"},
	{DatabaseComposer, "Composer package lists"},
	{DatabaseDotnet, ".NET dependency lists"},
	{DatabaseEgg, "zipped Python eggs"},
}

// unreadDatabases adds one gap for each kind of database that this version does
// not read: a blind one where it hides the packages of the system.
func (s *squasher) unreadDatabases() {
	for _, kind := range unreadSystems {
		if i := slices.IndexFunc(s.databases, func(d placed) bool { return d.kind == kind }); i >= 0 {
			d := s.databases[i]
			s.gap(Blind, kind+"-database", d.path, d.layer, fmt.Sprintf("this image's packages are in %s database (%s), which this version does not read", article(kind), d.path))
		}
	}
	for _, program := range unreadPrograms {
		var example placed
		count := 0
		for _, d := range s.databases {
			if d.kind == program.kind {
				if count++; count == 1 {
					example = d
				}
			}
		}
		if count > 0 {
			s.gap(Partial, program.kind+"-unread", example.path, example.layer,
				fmt.Sprintf("%s are not read by this version: %d in this image, one is %s", program.many, count, example.path))
		}
	}
}

func article(kind string) string {
	if strings.ContainsRune("ro", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
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
	isSystem := func(d placed) bool {
		return d.kind == TypeDeb || d.kind == TypeApk || slices.Contains(unreadSystems, d.kind)
	}
	if s.image.Distro.ID != "" && !slices.ContainsFunc(s.databases, isSystem) {
		s.gap(Partial, "database-missing", "", -1, fmt.Sprintf("the image calls itself %s and has no package database", s.image.Distro.ID))
	}
}
