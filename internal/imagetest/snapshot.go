package imagetest

import (
	"archive/tar"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Snapshot is a folder as it stood at one moment, by path.
type Snapshot map[string]Content

// TakeSnapshot reads a folder whole. It is for small trees.
func TakeSnapshot(dir string) (Snapshot, error) {
	s := Snapshot{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		c := Content{Entry: Entry{Name: name, Mode: int64(info.Mode().Perm())}}
		switch {
		case info.IsDir():
			c.Typeflag, c.Name = tar.TypeDir, name+"/"
		case info.Mode()&fs.ModeSymlink != 0:
			c.Typeflag = tar.TypeSymlink
			c.Linkname, err = os.Readlink(path)
		case info.Mode().IsRegular():
			var body []byte
			body, err = os.ReadFile(path)
			c.Typeflag, c.Body, c.Size = tar.TypeReg, string(body), int64(len(body))
		default:
			return nil
		}
		s[name] = c
		return err
	})
	return s, err
}

// Since lists what a layer has to hold to make the older snapshot into this
// one: what is new or changed, and whiteouts for what is gone.
func (s Snapshot) Since(older Snapshot) []Content {
	var layer []Content
	for _, name := range sortedNames(s) {
		old, ok := older[name]
		if now := s[name]; !ok || old.Body != now.Body || old.Mode != now.Mode || old.Typeflag != now.Typeflag || old.Linkname != now.Linkname {
			layer = append(layer, now)
		}
	}
	gone := ""
	for _, name := range sortedNames(older) {
		if _, ok := s[name]; ok || gone != "" && strings.HasPrefix(name, gone+"/") {
			continue
		}
		gone = name
		layer = append(layer, Whiteout(name))
	}
	return layer
}

func sortedNames(s Snapshot) []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
