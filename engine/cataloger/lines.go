package cataloger

import (
	"bufio"
	"errors"
	"io"
)

// maxLine bounds the lines of a database, in bytes. Longer ones are cut.
const maxLine = 64 << 10

// lines reads text line by line in bounded memory.
type lines struct {
	r    *bufio.Reader
	text string // of the line, without its end
	cut  bool   // the line was longer than maxLine
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine)} }

// next goes to the next line; false at the end.
func (l *lines) next() bool {
	line, err := l.r.ReadSlice('\n')
	if len(line) == 0 && err != nil {
		return false
	}
	l.cut = errors.Is(err, bufio.ErrBufferFull)
	for n := len(line); n > 0 && (line[n-1] == '\n' || line[n-1] == '\r'); n-- {
		line = line[:n-1]
	}
	l.text = string(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = l.r.ReadSlice('\n')
	}
	return true
}
