package serve

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Pace is the least that a transfer has to move, in either direction. It cuts
// clients that keep a connection busy with a byte now and then: each byte ends a
// silence, but no honest line is that slow. Only time that is spent waiting for
// the client counts, so a slow upstream is nobody's fault.
type Pace struct {
	// Rate is in bytes per second. Default 1024: a layer of 1 GiB may take twelve
	// days.
	Rate int64
	// Window is the time over which the rate is averaged, again and again.
	// Default 5m.
	Window time.Duration
}

func (p Pace) withDefaults() Pace {
	return Pace{Rate: cmp.Or(p.Rate, 1<<10), Window: cmp.Or(p.Window, 5*time.Minute)}
}

// piece is how much is written under one deadline. A client at the least pace
// takes it within the default silence.
const piece = 256 << 10

// errTooSlow is a timeout to all who ask.
var errTooSlow = fmt.Errorf("the client moves too few bytes: %w", os.ErrDeadlineExceeded)

// quiet ends connections on which too little moves.
type quiet struct {
	silence time.Duration
	pace    Pace
	cut     func(limit, client string) // told of each that was ended
}

func (q quiet) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &patience{
			ResponseWriter: w, quiet: q, body: r.Body, rc: http.NewResponseController(w), client: r.RemoteAddr, guest: guestOf(r.Context()),
			in: progress{pace: q.pace}, out: progress{pace: q.pace},
		}
		p.extend()
		r.Body = patientBody{p}
		next.ServeHTTP(p, r)
	})
}

// patience moves the deadlines of a connection with every byte that moves in
// either direction: an upload that is under way may answer late, a download may
// be taken slowly.
type patience struct {
	http.ResponseWriter
	quiet
	body    io.ReadCloser
	rc      *http.ResponseController
	client  string
	guest   *guest // nil on connections that are not a Server's
	in, out progress
	told    sync.Once
}

// extend cannot fail on the connections of net/http's own server; on others
// (tests) there is no deadline to move.
func (p *patience) extend() {
	until := time.Now().Add(p.silence)
	if !p.out.over.Load() {
		_ = p.rc.SetWriteDeadline(until)
	}
	if !p.in.over.Load() {
		_ = p.rc.SetReadDeadline(until)
	}
}

func (p *patience) Write(b []byte) (int, error) {
	written := 0
	for {
		n, err := p.watch(&p.out, func() (int64, error) {
			n, err := p.ResponseWriter.Write(b[:min(len(b), piece)])
			return int64(n), err
		})
		written += int(n)
		b = b[n:]
		if err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// ReadFrom hands files to the connection in pieces, which keeps the copy inside
// the kernel (sendfile on plain HTTP) and the deadlines moving. Everything else
// is copied through Write.
func (p *patience) ReadFrom(src io.Reader) (int64, error) {
	whole, limited := src.(*io.LimitedReader)
	file := src
	if limited {
		file = whole.R
	}
	if _, ok := file.(syscall.Conn); !ok {
		return io.Copy(writeOnly{p}, src)
	}
	for written := int64(0); ; {
		part := &io.LimitedReader{R: file, N: piece}
		if limited {
			part.N = min(part.N, whole.N)
		}
		n, err := p.watch(&p.out, func() (int64, error) { return io.Copy(p.ResponseWriter, part) })
		written += n
		if limited {
			whole.N -= n
		}
		if err != nil || part.N > 0 || limited && whole.N == 0 {
			return written, err
		}
	}
}

// writeOnly hides ReadFrom.
type writeOnly struct{ io.Writer }

// Unwrap lets http.ResponseController reach the connection.
func (p *patience) Unwrap() http.ResponseWriter { return p.ResponseWriter }

type patientBody struct{ p *patience }

func (b patientBody) Read(buf []byte) (int, error) {
	n, err := b.p.watch(&b.p.in, func() (int64, error) {
		n, err := b.p.body.Read(buf)
		return int64(n), err
	})
	return int(n), err
}

func (b patientBody) Close() error { return b.p.body.Close() }

// watch lets something move that waits for the client, and cuts the client off
// when it is too slow: nothing more is read from it or written to it. A body that
// has arrived whole is welcome all the same.
func (p *patience) watch(way *progress, move func() (int64, error)) (int64, error) {
	if way.over.Load() {
		return 0, errTooSlow
	}
	p.extend()
	begun := time.Now()
	n, err := move()
	switch {
	case err == nil && way.slow(n, time.Since(begun)):
		p.end(way, limitPace)
		return n, errTooSlow
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.end(way, limitSilence)
	}
	return n, err
}

// end lets no more be read, so that net/http closes the connection after the
// answer. If it is the client's reading that is slow, there is no answer either,
// and what the kernel still holds for the client is thrown away: without that it
// would be kept for many minutes after the connection is closed.
func (p *patience) end(way *progress, limit string) {
	p.told.Do(func() { p.cut(limit, p.client) })
	past := time.Unix(1, 0)
	p.in.over.Store(true)
	_ = p.rc.SetReadDeadline(past)
	if way == &p.out {
		p.out.over.Store(true)
		_ = p.rc.SetWriteDeadline(past)
		if p.guest != nil {
			_ = p.guest.SetLinger(0)
		}
	}
}

// progress is how one direction of a transfer does in the window under way. It
// belongs to the one goroutine at a time that moves bytes.
type progress struct {
	over   atomic.Bool // the client was too slow; read by both directions
	pace   Pace
	waited time.Duration // for the client
	moved  int64
}

// slow adds bytes and the time that they took, and reports whether a window has
// ended with too few.
func (p *progress) slow(moved int64, took time.Duration) bool {
	p.waited += took
	p.moved += moved
	if p.waited < p.pace.Window {
		return false
	}
	tooFew := float64(p.moved) < float64(p.pace.Rate)*p.waited.Seconds()
	p.waited, p.moved = 0, 0
	return tooFew
}
