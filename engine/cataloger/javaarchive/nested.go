package javaarchive

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// open reads an archive within an archive. What is wrong with it is a problem
// and no error: the others are still to be read.
func (r *reader) open(a archive, e entry) error {
	inner := archive{name: path.Base(e.name), inner: a.place(e.name), depth: a.depth + 1}
	if inner.depth > r.limits.Depth {
		r.problem(CodeTooDeep, "archives stand in archives more than %d deep; not read: %s", r.limits.Depth, shorten(inner.inner))
		return nil
	}
	packed, err := e.content(a, a.size)
	if err != nil {
		r.problem(CodeInvalid, "%s could not be read: %v", shorten(inner.inner), err)
		return nil
	}
	if e.method == methodStored {
		inner.ReaderAt, inner.size = packed, packed.Size()
		if r.bytes -= inner.size; r.bytes < 0 {
			return r.spent(inner)
		}
		return r.inside(inner)
	}
	in := flate.NewReader(packed)
	defer in.Close()
	return r.unpacked(inner, in)
}

// inside reads a nested archive that is at hand.
func (r *reader) inside(a archive) error {
	if a.size == 0 {
		return nil // a placeholder
	}
	err := r.archive(a)
	if err == nil || errors.Is(err, errStop) {
		return err
	}
	r.problem(CodeInvalid, "%s could not be read: %v", shorten(a.inner), err)
	return nil
}

func (r *reader) spent(a archive) error {
	r.problem(CodeTooLarge, "the archives in the archive hold more bytes than are read; not read: %s and what comes after it", shorten(a.inner))
	return errStop
}

// unpacked brings the bytes of a nested archive to where they can be read in
// any order, memory or an unlinked file, and reads it.
func (r *reader) unpacked(a archive, in io.Reader) error {
	var memory bytes.Buffer
	limit := min(r.bytes, r.limits.Memory-r.held)
	n, err := io.Copy(&memory, io.LimitReader(in, limit))
	r.bytes -= n
	if err != nil {
		r.problem(CodeInvalid, "%s could not be unpacked: %v", shorten(a.inner), err)
		return nil
	}
	if n < limit {
		r.held += int64(memory.Cap())
		defer func() { r.held -= int64(memory.Cap()) }()
		a.ReaderAt, a.size = bytes.NewReader(memory.Bytes()), n
		return r.inside(a)
	}
	file, err := unlinked()
	if err != nil {
		r.problem(CodeSpool, "%s could not be unpacked: no room for its bytes", shorten(a.inner))
		return nil
	}
	defer file.Close()
	rest, err := io.Copy(file, io.MultiReader(&memory, io.LimitReader(in, r.bytes+1)))
	switch r.bytes -= rest - n; {
	case r.bytes < 0:
		return r.spent(a)
	case err != nil:
		r.problem(CodeInvalid, "%s could not be unpacked: %v", shorten(a.inner), unnamed(err))
		return nil
	}
	a.ReaderAt, a.size = file, rest
	return r.inside(a)
}

// unlinked makes a temporary file that has no name.
func unlinked() (*os.File, error) {
	f, err := os.CreateTemp("", "pratique-archive-*")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("unlink a temporary file: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// unnamed takes the name of the temporary file out of an error: reports say the
// same of the same bytes, everywhere.
func unnamed(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// metadata reads a small entry; nil when it cannot be read, with a problem.
func (r *reader) metadata(a archive, e entry) []byte {
	if r.described < 0 {
		r.problem(CodeTooLarge, "the archive holds more bytes of descriptions than are read; not read: %s and more", shorten(a.place(e.name)))
		return nil
	}
	packed, err := e.content(a, a.size)
	if err != nil {
		r.problem(CodeInvalid, "%s could not be read: %v", shorten(a.place(e.name)), err)
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.plain(packed, e.method), maxMetadata+1))
	r.described -= int64(len(raw))
	if err != nil {
		r.problem(CodeInvalid, "%s could not be unpacked: %v", shorten(a.place(e.name)), err)
		return nil
	}
	if len(raw) > maxMetadata {
		r.problem(CodeLong, "%s is longer than %d bytes and was cut", shorten(a.place(e.name)), maxMetadata)
		raw = raw[:maxMetadata]
	}
	return raw
}

// plain gives the content of an entry; the reader is good until the next call.
func (r *reader) plain(packed io.Reader, method uint16) io.Reader {
	if method == methodStored {
		return packed
	}
	if again, ok := r.inflater.(flate.Resetter); ok && again.Reset(packed, nil) == nil {
		return r.inflater
	}
	r.inflater = flate.NewReader(packed)
	return r.inflater
}

// shorten makes a place fit for a problem's detail.
func shorten(place string) string {
	if len(place) > 200 {
		return place[:60] + "..." + place[len(place)-140:]
	}
	return place
}
