package serve

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// answered is how many connections beyond its limit a client may have for the
// time that it takes to tell it so. Still more are closed at once.
const answered = 16

// turnstile is a listener that counts who is inside.
type turnstile struct {
	*net.TCPListener
	limits Limits
	note   func(limit, client string) // of what was turned away or held up

	// changed is signalled when a connection ended or became idle.
	changed chan struct{}
	closed  chan struct{}
	closing sync.Once

	mu      sync.Mutex
	open    int
	clients map[netip.Prefix]int
	idle    *list.List // of *guest, between two requests; longest first
}

func newTurnstile(l *net.TCPListener, limits Limits, note func(limit, client string)) *turnstile {
	return &turnstile{
		TCPListener: l, limits: limits, note: note, changed: make(chan struct{}, 1), closed: make(chan struct{}),
		clients: map[netip.Prefix]int{}, idle: list.New(),
	}
}

// guest is a connection. It is a *net.TCPConn to net/http, which is how files
// reach it without a copy.
type guest struct {
	*net.TCPConn
	turnstile *turnstile
	client    netip.Prefix
	over      bool          // one more than its client may have: to be told so
	gone      sync.Once     // left the count
	seat      *list.Element // in idle, nil while a request is served; under turnstile.mu
}

// Accept returns the next connection that may come in.
func (t *turnstile) Accept() (net.Conn, error) {
	for {
		conn, err := t.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if g := t.admit(conn); g != nil {
			return t.wait(g)
		}
		t.note(limitPerClient, conn.RemoteAddr().String())
		// It is turned away: there is nobody to tell what closing says.
		_ = conn.Close()
	}
}

// admit counts a connection for its client, or returns nil if there are far too
// many.
func (t *turnstile) admit(conn *net.TCPConn) *guest {
	g := &guest{TCPConn: conn, turnstile: t, client: clientOf(conn.RemoteAddr().String())}
	most := t.limits.perClient(g.client)
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.clients[g.client]
	if n-answered >= most {
		return nil
	}
	g.over = n >= most
	t.clients[g.client] = n + 1
	return g
}

// wait returns when there is room for one more. The connections behind this one
// wait in the queue of the kernel.
func (t *turnstile) wait(g *guest) (net.Conn, error) {
	for first := true; !t.enter(); first = false {
		if first {
			t.note(limitConnections, g.RemoteAddr().String())
		}
		select {
		case <-t.changed:
		case <-t.closed:
			t.discount(g)
			return nil, errors.Join(net.ErrClosed, g.TCPConn.Close())
		}
	}
	return g, nil
}

// enter takes a place, if need be that of the connection that has been idle for
// the longest.
func (t *turnstile) enter() bool {
	t.mu.Lock()
	if t.open < t.limits.connections() {
		t.open++
		t.mu.Unlock()
		return true
	}
	var longest *guest
	if front := t.idle.Front(); front != nil {
		longest = t.idle.Remove(front).(*guest)
		longest.seat = nil
	}
	t.mu.Unlock()
	if longest == nil {
		return false
	}
	// Its client sees what it sees when a server gives an idle connection up.
	_ = longest.Close()
	return t.enter()
}

// Close stops listening.
func (t *turnstile) Close() error {
	t.closing.Do(func() { close(t.closed) })
	return t.TCPListener.Close()
}

// Close ends the connection and makes room for another.
func (g *guest) Close() error {
	err := g.TCPConn.Close()
	g.gone.Do(func() {
		t := g.turnstile
		t.discount(g)
		t.mu.Lock()
		t.open--
		t.leaveSeat(g)
		t.mu.Unlock()
		t.signal()
	})
	return err
}

func (t *turnstile) discount(g *guest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients[g.client]--; t.clients[g.client] <= 0 {
		delete(t.clients, g.client)
	}
}

func (t *turnstile) signal() {
	select {
	case t.changed <- struct{}{}:
	default: // there is a signal that nobody has seen yet
	}
}

// state is told by net/http what becomes of a connection.
func (t *turnstile) state(conn net.Conn, state http.ConnState) {
	g := guestBehind(conn)
	if g == nil {
		return
	}
	t.mu.Lock()
	t.leaveSeat(g)
	if state == http.StateIdle {
		g.seat = t.idle.PushBack(g)
	}
	t.mu.Unlock()
	if state == http.StateIdle {
		t.signal()
	}
}

// leaveSeat is called with the lock held.
func (t *turnstile) leaveSeat(g *guest) {
	if g.seat != nil {
		t.idle.Remove(g.seat)
		g.seat = nil
	}
}

type guestKey struct{}

// withGuest is called by net/http for each new connection.
func withGuest(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, guestKey{}, guestBehind(conn))
}

// guestOf returns the connection of a request, nil if it came by another way.
func guestOf(ctx context.Context) *guest {
	g, _ := ctx.Value(guestKey{}).(*guest)
	return g
}

func guestBehind(conn net.Conn) *guest {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	g, _ := conn.(*guest)
	return g
}
