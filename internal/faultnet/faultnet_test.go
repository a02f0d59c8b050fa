package faultnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/faultnet"
)

// TestFaults holds each fault to what it promises, against a server that sends
// back what it gets.
func TestFaults(t *testing.T) {
	message := bytes.Repeat([]byte("0123456789abcdef"), 16<<10) // 256 KiB
	for _, c := range []struct {
		name   string
		faults faultnet.Faults
		want   func(t *testing.T, got []byte, took time.Duration, err error)
	}{
		{"none", faultnet.Faults{}, func(t *testing.T, got []byte, _ time.Duration, err error) {
			if err != nil || !bytes.Equal(got, message) {
				t.Errorf("%d bytes of %d came back, %v", len(got), len(message), err)
			}
		}},
		{"refuse", faultnet.Faults{Refuse: true}, func(t *testing.T, got []byte, _ time.Duration, err error) {
			if len(got) != 0 || err == nil {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		}},
		{"stall", faultnet.Faults{Stall: true}, func(t *testing.T, got []byte, took time.Duration, err error) {
			if len(got) != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || took < time.Second {
				t.Errorf("%d bytes came back after %v, %v", len(got), took, err)
			}
		}},
		{"latency", faultnet.Faults{Latency: 50 * time.Millisecond}, func(t *testing.T, got []byte, took time.Duration, err error) {
			if took < 100*time.Millisecond {
				t.Errorf("%d bytes came back after %v, %v", len(got), took, err)
			}
		}},
		{"bandwidth", faultnet.Faults{Bandwidth: 1 << 20}, func(t *testing.T, got []byte, took time.Duration, err error) {
			if err != nil || !bytes.Equal(got, message) || took < 200*time.Millisecond {
				t.Errorf("%d bytes of %d came back after %v, %v", len(got), len(message), took, err)
			}
		}},
		{"cut", faultnet.Faults{CutAfter: 64 << 10}, func(t *testing.T, got []byte, _ time.Duration, err error) {
			if len(got) > 64<<10 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		}},
		{"half-close", faultnet.Faults{CutAfter: 64 << 10, HalfClose: true}, func(t *testing.T, got []byte, _ time.Duration, err error) {
			if len(got) > 64<<10 || len(got) == 0 || !bytes.HasPrefix(message, got) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := faultnet.New(t, echo(t), 1)
			p.Set(c.faults)
			start := time.Now()
			got, err := exchange(t, p.Addr(), message)
			c.want(t, got, time.Since(start), err)
		})
	}
}

// TestHealAndCut: what is stalled goes on after Heal; what is cut reads a reset;
// all of it is counted.
func TestHealAndCut(t *testing.T) {
	p := faultnet.New(t, echo(t), 1)
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p.Set(faultnet.Faults{Stall: true})
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("while stalled: %d bytes, %v", n, err)
	}
	p.Heal()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Errorf("after Heal: %q, %v", buf, err)
	}
	if n := p.Cut(); n != 1 {
		t.Errorf("%d connections cut", n)
	}
	if _, err := conn.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after Cut: %v", err)
	}
	want := faultnet.Stats{Accepted: 1, Cut: 1, ToTarget: 5, ToClient: 5}
	if got := p.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestTarget: new connections go to the new target; a target that is not there
// is a refusal.
func TestTarget(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	p := faultnet.New(t, dead.Addr().String(), 1)
	if got, err := exchange(t, p.Addr(), []byte("x")); len(got) != 0 || err == nil {
		t.Errorf("nobody there: %q, %v", got, err)
	}
	p.SetTarget(echo(t))
	if got, err := exchange(t, p.Addr(), []byte("x")); string(got) != "x" || err != nil {
		t.Errorf("after SetTarget: %q, %v", got, err)
	}
	if s := p.Stats(); s.Refused != 1 || s.Accepted != 2 {
		t.Errorf("%+v", s)
	}
}

// TestSeed: the same seed cuts at the same place.
func TestSeed(t *testing.T) {
	message := bytes.Repeat([]byte("x"), 1<<10)
	length := func(seed uint64) int {
		// In good order: what is on its way when a connection is reset is a
		// matter of luck.
		p := faultnet.New(t, echo(t), seed)
		p.Set(faultnet.Faults{CutAfter: 1 << 10, HalfClose: true})
		got, err := exchange(t, p.Addr(), message)
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	different := map[int]bool{}
	for seed := range uint64(8) {
		first := length(seed)
		if again := length(seed); again != first {
			t.Errorf("seed %d: %d, then %d", seed, first, again)
		}
		different[first] = true
	}
	if len(different) < 4 {
		t.Errorf("eight seeds cut at %d places", len(different))
	}
}

// echo is a server that sends back what it gets, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				if _, err := io.Copy(conn, conn); err == nil {
					_ = conn.(*net.TCPConn).CloseWrite() // the peer may have gone
				}
			})
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	})
	return listener.Addr().String()
}

// exchange sends a message, ends its own direction, and reads what comes back
// for at most a few seconds.
func exchange(t *testing.T, addr string, message []byte) ([]byte, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if _, err := conn.Write(message); err == nil {
			_ = conn.(*net.TCPConn).CloseWrite() // the peer may have gone
		}
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		_ = conn.Close() // ends the write
	}
	<-sent
	return got, err
}
