// Package spool is a pipe whose writer never waits for its reader: what the
// reader has not taken yet is kept in a little memory, then in an unlinked
// temporary file, and when that is used up the pipe breaks and says so.
//
// It knows nothing of images. It lets an analyser follow an upload without ever
// slowing the upload down. Start with Pipe.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// ErrOverflow is what the reader of a pipe gets when the writer was too far
// ahead: the bytes have to be read again from where they were stored.
var ErrOverflow = errors.New("spool overflow")

const (
	memoryLimit = 2 << 20  // bytes of one pipe kept in memory
	chunkSize   = 64 << 10 // granularity of the memory queue
)

// Budget bounds the bytes that all pipes together keep on disk. It is safe for
// concurrent use.
type Budget struct {
	Dir   string // where the unlinked files are made; "" is the system's place
	Limit int64  // bytes
	used  atomic.Int64
}

// Used returns the bytes that are on disk now.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) take(n int64) bool {
	if b.used.Add(n) > b.Limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// Pipe joins one writer and one reader. Write never waits for the reader.
type Pipe struct {
	budget *Budget

	mu     sync.Mutex
	ready  *sync.Cond // signalled when something can be read, or the end was reached
	memory [][]byte   // queue; the last chunk is filled up to chunkSize
	queued int        // bytes in memory
	file   *os.File   // nil until the memory is full for the first time
	head   int64      // file offset that the reader has reached
	tail   int64      // file offset that the writer has reached
	held   int64      // bytes taken from the budget
	end    error      // io.EOF after a good end; why the pipe broke otherwise
	closed bool       // the reader has gone
}

// NewPipe returns an empty pipe that draws on the budget.
func NewPipe(b *Budget) *Pipe {
	p := &Pipe{budget: b}
	p.ready = sync.NewCond(&p.mu)
	return p
}

// Write takes all of data, or breaks the pipe for its reader. It always reports
// success, so that it can stand in a tee: the upload is not to suffer.
func (p *Pipe) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil || p.closed {
		return len(data), nil
	}
	if p.head == p.tail && p.queued+len(data) <= memoryLimit {
		p.keep(data)
	} else if err := p.spill(data); err != nil {
		p.stop(err)
	}
	p.ready.Signal()
	return len(data), nil
}

// keep appends to the memory queue. Called with the lock held.
func (p *Pipe) keep(data []byte) {
	p.queued += len(data)
	for len(data) > 0 {
		last := len(p.memory) - 1
		if last < 0 || len(p.memory[last]) == cap(p.memory[last]) {
			p.memory = append(p.memory, make([]byte, 0, chunkSize))
			last++
		}
		n := min(len(data), cap(p.memory[last])-len(p.memory[last]))
		p.memory[last] = append(p.memory[last], data[:n]...)
		data = data[n:]
	}
}

// spill appends to the file. Called with the lock held.
func (p *Pipe) spill(data []byte) error {
	if p.file == nil {
		f, err := os.CreateTemp(p.budget.Dir, "pratique-spool-*")
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOverflow, err)
		}
		if err := os.Remove(f.Name()); err != nil {
			return fmt.Errorf("%w: %w", ErrOverflow, errors.Join(err, f.Close()))
		}
		p.file = f
	}
	if !p.budget.take(int64(len(data))) {
		return fmt.Errorf("%w: %d bytes on disk already", ErrOverflow, p.budget.Used())
	}
	p.held += int64(len(data))
	if _, err := p.file.WriteAt(data, p.tail); err != nil {
		return fmt.Errorf("%w: %w", ErrOverflow, err)
	}
	p.tail += int64(len(data))
	return nil
}

// CloseWrite ends the pipe: with nil the reader gets io.EOF after the last
// byte, otherwise the error at once.
func (p *Pipe) CloseWrite(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil {
		return
	}
	if err != nil {
		p.stop(err)
	} else {
		p.end = io.EOF
	}
	p.ready.Signal()
}

// stop breaks the pipe and drops what it holds. Called with the lock held.
func (p *Pipe) stop(err error) {
	p.end = err
	p.release()
}

// release gives memory and disk back. Called with the lock held.
func (p *Pipe) release() {
	p.memory, p.queued = nil, 0
	if p.file != nil {
		// The file has no name and nothing in it is needed: an error here
		// could only mean that it is closed already.
		_ = p.file.Close()
		p.file = nil
	}
	p.budget.used.Add(-p.held)
	p.head, p.tail, p.held = 0, 0, 0
}

// Read waits for the writer. It ends with io.EOF, with the error given to
// CloseWrite, or with ErrOverflow.
func (p *Pipe) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.queued == 0 && p.head == p.tail && p.end == nil && !p.closed {
		p.ready.Wait()
	}
	switch {
	case p.closed:
		return 0, io.ErrClosedPipe
	case p.queued > 0:
		return p.takeMemory(buf), nil
	case p.head < p.tail:
		return p.takeFile(buf)
	}
	return 0, p.end
}

func (p *Pipe) takeMemory(buf []byte) int {
	n := copy(buf, p.memory[0])
	p.queued -= n
	if n == len(p.memory[0]) {
		p.memory = p.memory[1:]
	} else {
		p.memory[0] = p.memory[0][n:]
	}
	return n
}

// takeFile reads from the file, and starts it anew once the reader has caught
// up, so that the disk is free again. Called with the lock held: a local read
// of at most len(buf) bytes.
func (p *Pipe) takeFile(buf []byte) (int, error) {
	n, err := p.file.ReadAt(buf[:min(int64(len(buf)), p.tail-p.head)], p.head)
	if n == 0 && err != nil {
		p.stop(fmt.Errorf("%w: %w", ErrOverflow, err))
		return 0, p.end
	}
	p.head += int64(n)
	if p.head == p.tail {
		p.budget.used.Add(-p.held)
		p.head, p.tail, p.held = 0, 0, 0
		if err := p.file.Truncate(0); err != nil {
			p.stop(fmt.Errorf("%w: %w", ErrOverflow, err))
		}
	}
	return n, nil
}

// Close is called by the reader when it has had enough; later writes are
// dropped. It may be called more than once.
func (p *Pipe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.release()
	p.ready.Signal()
}
