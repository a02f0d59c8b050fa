package layer

import (
	"fmt"
	"io"
	"time"

	"github.com/pratique/pratique/engine/cataloger"
	"github.com/pratique/pratique/engine/inventory"
)

// read lets everybody who wants a file see its content, in one pass: digest,
// taps, and one cataloger.
func (rec *recorder) read(e *inventory.Entry, size int64, body io.Reader) {
	if rec.tooLate() {
		return
	}
	c := rec.file
	c.begin(e.Path, size, body)
	c.taps = rec.taps(c.taps, c)
	if by := choose(e.Path, c); by != nil {
		rec.catalog(by, c)
	} else if isBeside(e.Path) && size > 0 {
		rec.holdBeside(c)
	}
	c.finish(rec, e)
}

// tooLate reports whether the time for reading files is used up, and says so
// once.
func (rec *recorder) tooLate() bool {
	if !rec.late && time.Since(rec.began)-time.Duration(rec.waited()) > rec.limits.Work {
		rec.late = true
		rec.gap(inventory.Blind, "layer-too-slow", "", fmt.Sprintf("reading the layer's files took longer than %s; the rest was not read", rec.limits.Work))
	}
	return rec.late
}

// choose gives the cataloger for a file: by its path, else by its content.
func choose(path string, c *content) *cataloger.Cataloger {
	if by := cataloger.ForPath(path); by != nil {
		return by
	}
	if len(c.head) < cataloger.HeadSize {
		return nil
	}
	return cataloger.ForContent(c.head)
}

// catalog lets a cataloger read a file.
func (rec *recorder) catalog(by *cataloger.Cataloger, c *content) {
	path := c.path
	if by.ReadAt != nil {
		rec.catalogHeld(by, c)
		return
	}
	result := rec.result(path)
	var in io.Reader = c
	if by.MaxSize > 0 {
		in = io.LimitReader(c, by.MaxSize)
	}
	rec.guard(by, path, func() { by.Read(in, result) })
	if by.MaxSize > 0 && c.size > by.MaxSize {
		rec.fileGap(by, "file-too-large", path, fmt.Sprintf("only the first %d bytes were read", by.MaxSize))
	}
	rec.learn(path, by, result)
}

// catalogHeld is for files that are read in any order. One that waits for a
// second file is read at the layer's end.
func (rec *recorder) catalogHeld(by *cataloger.Cataloger, c *content) {
	result := rec.result(c.path)
	if by.MaxSize > 0 && c.size > by.MaxSize {
		rec.fileGap(by, "file-too-large", c.path, fmt.Sprintf("the file has %d bytes; at most %d are read", c.size, by.MaxSize))
		rec.claim(by, c.path, result)
		return
	}
	h, err := rec.hold(c, by.Beside != "")
	if err != nil {
		rec.fileGap(by, "file-unread", c.path, err.Error())
		rec.claim(by, c.path, result)
		return
	}
	if by.Beside != "" {
		rec.waiting[c.path] = waiting{by, h}
		return
	}
	rec.guard(by, c.path, func() { by.ReadAt(h.as(), result) })
	rec.release(h)
	rec.learn(c.path, by, result)
}

// claim lets an unread database hide the one below, all the same.
func (rec *recorder) claim(by *cataloger.Cataloger, path string, result *cataloger.Result) {
	if by.Database {
		result.Databases = append(result.Databases, inventory.Database{Path: path, Type: by.Name})
		rec.learn(path, by, result)
	}
}

// guard calls a cataloger. A defect in one must not take the others' results.
func (rec *recorder) guard(by *cataloger.Cataloger, path string, call func()) {
	defer func() {
		if cause := recover(); cause != nil {
			rec.fileGap(by, "cataloger-failed", path, fmt.Sprintf("the reader of %s files failed on it: %v", by.Name, cause))
		}
	}()
	call()
}

// isBeside reports whether a file belongs to one that some cataloger reads.
func isBeside(path string) bool {
	for _, c := range cataloger.All {
		n := len(path) - len(c.Beside)
		if c.Beside != "" && n > 0 && path[n:] == c.Beside && c.Wants(path[:n]) {
			return true
		}
	}
	return false
}

// holdBeside keeps a file for the one that it belongs to.
func (rec *recorder) holdBeside(c *content) {
	h, err := rec.hold(c, true)
	if err != nil {
		rec.gap(inventory.Blind, "file-unread", c.path, err.Error())
		return
	}
	rec.beside[c.path] = h
	rec.report.Databases = append(rec.report.Databases, inventory.Database{Path: c.path, Type: inventory.DatabaseLog})
}
