package main

import (
	"fmt"
	"io"
	"time"
)

// progress shows one line that changes, on a terminal; nothing anywhere else.
type progress struct {
	out   io.Writer
	live  bool
	shown time.Time
}

const (
	redraw    = 100 * time.Millisecond
	clearLine = "\r\x1b[K"
)

func newProgress(out io.Writer) *progress { return &progress{out: out, live: isTerminal(out)} }

func (p *progress) show(text string) {
	if !p.live || time.Since(p.shown) < redraw {
		return
	}
	p.shown = time.Now()
	// A terminal that has gone away needs no progress.
	_, _ = fmt.Fprint(p.out, clearLine, text)
}

func (p *progress) done() {
	if p.live {
		_, _ = fmt.Fprint(p.out, clearLine)
	}
}
