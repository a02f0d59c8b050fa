package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pratique/pratique/engine/cataloger"
)

// errSpool: a file could not be held for reading in any order.
var errSpool = errors.New("the file cannot be held for reading")

// held is the content of a file for reading in any order: in memory, or in a
// file without a name.
type held struct {
	io.ReaderAt
	size int64
	file *os.File // nil: in memory
}

func (h *held) as() cataloger.File { return cataloger.File{ReaderAt: h.ReaderAt, Size: h.size} }

// hold reads a file whole. What it returns is good until release; in memory it
// shares nothing with the recorder's own buffers, if keep says that it must
// outlive the file's turn.
func (rec *recorder) hold(c *content, keep bool) (*held, error) {
	if c.size <= rec.limits.Memory {
		buf := rec.memory[:0]
		if keep {
			buf = nil
		}
		b, err := readInto(buf, c)
		if !keep {
			rec.memory = b
		}
		return &held{ReaderAt: bytes.NewReader(b), size: int64(len(b))}, err
	}
	if rec.spooled+c.size > rec.limits.Spool {
		return nil, fmt.Errorf("%w: more than %d bytes on disk", errSpool, rec.limits.Spool)
	}
	f, err := unnamed(rec.config.SpoolDir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSpool, err)
	}
	n, err := io.Copy(f, c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errSpool, err), f.Close())
	}
	rec.spooled += n
	return &held{ReaderAt: f, size: n, file: f}, nil
}

// release gives back what was held.
func (rec *recorder) release(h *held) {
	if h.file != nil {
		rec.spooled -= h.size
		_ = h.file.Close() // nothing was promised of it
	}
}

// readInto reads all of r behind buf, in steps that only what has come pays for.
func readInto(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// unnamed makes a file that is gone with its last descriptor.
func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "pratique-layer-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
