package advisory

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// spool keeps bytes in a file without a name: nothing is left of it when the
// process ends, however it ends.
type spool struct {
	file *os.File // nil once closed
	w    *bufio.Writer
	size int64
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("make spool of the vulnerability index: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("make spool of the vulnerability index: %w", err)
	}
	return &spool{file: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

// Write appends.
func (s *spool) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("spool vulnerability data: %w", err)
	}
	return n, nil
}

// section reads back what was written between two offsets.
func (s *spool) section(from, to int64) (*io.SectionReader, error) {
	if err := s.w.Flush(); err != nil {
		return nil, fmt.Errorf("spool vulnerability data: %w", err)
	}
	return io.NewSectionReader(s.file, from, to-from), nil
}

// reset forgets all that was written and gives the disk back.
func (s *spool) reset() error {
	s.w.Reset(s.file)
	s.size = 0
	if err := s.file.Truncate(0); err != nil {
		return fmt.Errorf("empty spool of the vulnerability index: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("empty spool of the vulnerability index: %w", err)
	}
	return nil
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("close spool of the vulnerability index: %w", err)
	}
	return nil
}
