package layer

import (
	"crypto/sha256"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	blockSize = 256 << 10 // bytes passed from the inflating goroutine at a time
	blocks    = 4
)

// readCompressed inflates and walks, on two goroutines.
func readCompressed(in io.Reader, src *source, rec *recorder) (diffID string) {
	p := startPipe(func() (io.Reader, func(), error) { return decompress(in, rec.report.Format, rec.limits) })
	rec.waited = p.waited.Load
	out := &unpacked{r: p, limits: rec.limits, hash: sha256.New(), stored: src.count.Load}
	head := make([]byte, sniffSize)
	n, _ := io.ReadFull(out, head)
	if looksLikeTar(head[:n]) || n == 0 {
		rec.walk(&replay{head: head[:n], unpacked: out})
	} else if out.failure == nil || out.failure == io.EOF {
		rec.report.Format = formatOther // a compressed file that is no tar
	}
	out.rest()
	p.close()
	rec.report.Tar = out.count
	if out.failure != io.EOF {
		rec.streamGap(out.failure)
		return ""
	}
	return out.sum()
}

// decompress opens a stream; done frees what it holds.
func decompress(in io.Reader, format string, limits Limits) (r io.Reader, done func(), err error) {
	if format == formatGzip {
		z, err := gzip.NewReader(in)
		return z, func() {}, err
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(limits.Window)))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
}

// pipe carries blocks from a goroutine that reads ahead. Its reader and closer
// are the same goroutine.
type pipe struct {
	full    chan block
	free    chan []byte
	stop    chan struct{}
	stopped chan struct{}
	current block
	at      int
	waited  atomic.Int64 // nanoseconds that the reader has waited
}

type block struct {
	bytes []byte
	err   error
}

func startPipe(open func() (io.Reader, func(), error)) *pipe {
	p := &pipe{full: make(chan block, blocks+1), free: make(chan []byte, blocks), stop: make(chan struct{}), stopped: make(chan struct{})}
	for range blocks {
		p.free <- make([]byte, blockSize)
	}
	go func() {
		defer close(p.stopped)
		defer close(p.full)
		if err := p.pump(open); err != nil {
			p.full <- block{err: err} // there is room: only blocks go round
		}
	}()
	return p
}

// pump reads until the stream ends or the pipe is closed. A decoder that panics
// on hostile bytes must not end the process.
func (p *pipe) pump(open func() (io.Reader, func(), error)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoder panicked: %v", r)
		}
	}()
	src, done, err := open()
	if err != nil {
		return err
	}
	defer done()
	for err == nil {
		var buf []byte
		select {
		case buf = <-p.free:
		case <-p.stop:
			return nil
		}
		n := 0
		for n < len(buf) && err == nil {
			var k int
			k, err = src.Read(buf[n:])
			n += k
		}
		if n > 0 {
			p.full <- block{bytes: buf[:n]}
		}
	}
	return err
}

func (p *pipe) Read(b []byte) (int, error) {
	for p.at == len(p.current.bytes) {
		if p.current.err != nil {
			return 0, p.current.err
		}
		if p.current.bytes != nil {
			p.free <- p.current.bytes[:blockSize]
		}
		next, ok := p.next()
		if !ok {
			next = block{err: io.ErrClosedPipe}
		}
		p.current, p.at = next, 0
	}
	n := copy(b, p.current.bytes[p.at:])
	p.at += n
	return n, nil
}

// next waits for the next block, and counts the time.
func (p *pipe) next() (block, bool) {
	select {
	case b, ok := <-p.full:
		return b, ok
	default:
	}
	began := time.Now()
	b, ok := <-p.full
	p.waited.Add(int64(time.Since(began)))
	return b, ok
}

// close ends the goroutine and waits for it.
func (p *pipe) close() {
	close(p.stop)
	for range p.full {
	}
	<-p.stopped
}
