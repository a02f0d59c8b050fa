// Package faultnet is a TCP proxy that breaks what passes through it: it cuts,
// stalls, delays, throttles and refuses connections, on demand and by a seed.
//
// It is for tests alone, on the loopback, and knows nothing of what the bytes
// mean. Start with New; pump.go moves the bytes.
package faultnet

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dialTimeout bounds the connection to the target, which is on this machine.
const dialTimeout = 2 * time.Second

// Faults are what a proxy does to connections. The zero value passes everything
// on as it comes.
type Faults struct {
	// Refuse resets new connections as soon as they are accepted. Those that
	// are open stay.
	Refuse bool
	// Stall accepts connections and keeps those that are open, and moves no
	// byte of any.
	Stall bool
	// Latency is waited before each piece of at most 32 KiB, in each direction.
	Latency time.Duration
	// Bandwidth is the bytes a second of one direction of one connection; 0 is
	// no limit.
	Bandwidth int64
	// CutAfter resets a connection after 1 to CutAfter bytes more in one
	// direction; the seed chooses the number and the direction. 0 is never.
	CutAfter int64
	// HalfClose makes CutAfter end its direction in good order, as a peer does
	// that has nothing more to say, and lets the other go on.
	HalfClose bool
}

// Stats count what a proxy has done since it began.
type Stats struct {
	Accepted   int64 // connections
	Refused    int64 // reset on arrival, by Refuse or because the target did not answer
	Cut        int64 // reset by Cut or CutAfter
	HalfClosed int64 // directions ended by HalfClose
	ToTarget   int64 // bytes
	ToClient   int64 // bytes
}

// Proxy is a running proxy. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	group    sync.WaitGroup // the acceptor and all connections

	mu      sync.Mutex
	target  string
	faults  Faults
	changed chan struct{} // closed when faults are replaced
	random  *rand.Rand
	links   map[*link]bool
	closed  bool

	accepted, refused, cut, halfClosed, toTarget, toClient atomic.Int64
}

// New starts a proxy to the target (host:port) on a port of its own; it ends
// with the test. The seed decides where CutAfter cuts.
func New(t testing.TB, target string, seed uint64) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		listener: listener, target: target, changed: make(chan struct{}),
		random: rand.New(rand.NewPCG(seed, 0)), links: map[*link]bool{},
	}
	p.group.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is the proxy's host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget sends new connections elsewhere; open ones stay where they are.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Set puts faults in force at once, for open connections too, instead of those
// before.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	close(p.changed)
	p.changed = make(chan struct{})
	for l := range p.links {
		l.arm(f, p.random)
	}
}

// Heal ends all faults. What was stalled goes on.
func (p *Proxy) Heal() { p.Set(Faults{}) }

// Cut resets all open connections and returns how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
	p.cut.Add(int64(len(p.links)))
	return len(p.links)
}

// Stats returns the counts so far.
func (p *Proxy) Stats() Stats {
	return Stats{
		Accepted: p.accepted.Load(), Refused: p.refused.Load(), Cut: p.cut.Load(), HalfClosed: p.halfClosed.Load(),
		ToTarget: p.toTarget.Load(), ToClient: p.toClient.Load(),
	}
}

// accept owns the listener until close.
func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		p.group.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

// serve is one connection, from its arrival to its end.
func (p *Proxy) serve(client *net.TCPConn) {
	target, refused := p.route()
	if refused {
		p.refuse(client)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		p.refuse(client)
		return
	}
	l := newLink(p, client, server.(*net.TCPConn))
	if !p.add(l) {
		l.reset()
		return
	}
	l.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

func (p *Proxy) route() (target string, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target, p.faults.Refuse
}

func (p *Proxy) refuse(client *net.TCPConn) {
	p.refused.Add(1)
	reset(client)
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	l.arm(p.faults, p.random)
	p.links[l] = true
	return true
}

// current returns the faults in force, and the channel that is closed when
// they are no longer.
func (p *Proxy) current() (Faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

// close ends everything and waits for it. That the listener could not be closed
// would show in the wait.
func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.reset()
	}
	p.mu.Unlock()
	p.group.Wait()
}
