package faultnet

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// pieceSize is the most that moves at once.
const pieceSize = 32 << 10

// link is one client's connection and its continuation to the target.
type link struct {
	proxy          *Proxy
	client, server *net.TCPConn
	gone           chan struct{} // closed by end
	once           sync.Once     // guards gone
	budget         [2]atomic.Int64
}

// The directions, as indexes of budget.
const (
	toTarget = iota
	toClient
)

// endless is the budget of a direction that is not to be cut.
const endless = int64(1) << 62

var errCut = errors.New("cut")

func newLink(p *Proxy, client, server *net.TCPConn) *link {
	return &link{proxy: p, client: client, server: server, gone: make(chan struct{})}
}

// arm sets how many bytes may still pass. Called with the proxy's lock held,
// which guards random.
func (l *link) arm(f Faults, random *rand.Rand) {
	l.budget[toTarget].Store(endless)
	l.budget[toClient].Store(endless)
	if f.CutAfter > 0 {
		l.budget[random.IntN(2)].Store(1 + random.Int64N(f.CutAfter))
	}
}

// run moves bytes in both directions until both have ended.
func (l *link) run() {
	var group sync.WaitGroup
	group.Go(func() { l.pump(l.client, l.server, toTarget, &l.proxy.toTarget) })
	group.Go(func() { l.pump(l.server, l.client, toClient, &l.proxy.toClient) })
	group.Wait()
	l.end(func(c *net.TCPConn) { _ = c.Close() }) // in good order, unless it was reset
}

// pump moves one direction. A good end is passed on as such; anything else ends
// both directions.
func (l *link) pump(from, to *net.TCPConn, direction int, moved *atomic.Int64) {
	buf := make([]byte, pieceSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			cut := l.pass(to, buf[:n], direction, moved)
			if cut == nil {
				continue
			}
			if errors.Is(cut, errCut) && l.halfClose(to) {
				return
			}
			l.reset()
			return
		}
		if !errors.Is(err, io.EOF) || to.CloseWrite() != nil {
			l.reset()
		}
		return
	}
}

// pass sends a piece on, as the faults in force have it.
func (l *link) pass(to *net.TCPConn, piece []byte, direction int, moved *atomic.Int64) error {
	if err := l.hold(len(piece)); err != nil {
		return err
	}
	left := l.budget[direction].Add(-int64(len(piece)))
	whole := len(piece)
	if left < 0 {
		whole = max(0, whole+int(left))
	}
	moved.Add(int64(whole)) // before whoever receives it can look at the count
	n, err := to.Write(piece[:whole])
	moved.Add(int64(n - whole))
	if err == nil && left <= 0 {
		err = errCut
	}
	return err
}

// hold waits for as long as a piece of n bytes is to be delayed, and while the
// connections are stalled.
func (l *link) hold(n int) error {
	waited := false
	for {
		f, changed := l.proxy.current()
		var timer <-chan time.Time
		switch {
		case f.Stall:
		case waited:
			return nil
		default:
			delay := f.Latency
			if f.Bandwidth > 0 {
				delay += time.Duration(int64(n) * int64(time.Second) / f.Bandwidth)
			}
			if delay == 0 {
				return nil
			}
			timer = time.After(delay)
		}
		select {
		case <-l.gone:
			return net.ErrClosed
		case <-changed: // look again: the delay may be over
		case <-timer:
			waited = true
		}
	}
}

// halfClose ends a direction in good order, if that is what cutting is now.
func (l *link) halfClose(to *net.TCPConn) bool {
	if f, _ := l.proxy.current(); !f.HalfClose || to.CloseWrite() != nil {
		l.proxy.cut.Add(1)
		return false
	}
	l.proxy.halfClosed.Add(1)
	return true
}

// reset ends the link without a good-bye.
func (l *link) reset() { l.end(reset) }

// end closes both connections in one way or the other; the first way counts.
func (l *link) end(closing func(*net.TCPConn)) {
	l.once.Do(func() {
		close(l.gone)
		closing(l.client)
		closing(l.server)
	})
}

// reset closes a connection so that the peer reads "connection reset". It may
// be closed already.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
