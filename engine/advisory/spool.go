package advisory

import (
	"bufio"
	"fmt"
	"os"
)

// spool keeps byte strings in a file without a name: nothing is left of it when
// the process ends, however it ends.
type spool struct {
	file *os.File // nil once closed
	w    *bufio.Writer
	size int64
}

// spooled is where one byte string is.
type spooled struct {
	at     int64
	length int
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

func (s *spool) put(b []byte) (spooled, error) {
	if s.file == nil {
		return spooled{}, fmt.Errorf("write vulnerability index: %w", os.ErrClosed)
	}
	if _, err := s.w.Write(b); err != nil {
		return spooled{}, fmt.Errorf("spool vulnerability data: %w", err)
	}
	ref := spooled{at: s.size, length: len(b)}
	s.size += int64(len(b))
	return ref, nil
}

func (s *spool) get(ref spooled) ([]byte, error) {
	if s.w.Buffered() > 0 {
		if err := s.w.Flush(); err != nil {
			return nil, fmt.Errorf("spool vulnerability data: %w", err)
		}
	}
	b := make([]byte, ref.length)
	if _, err := s.file.ReadAt(b, ref.at); err != nil {
		return nil, fmt.Errorf("read back vulnerability data: %w", err)
	}
	return b, nil
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
