package spool_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/pratique/pratique/internal/spool"
)

func TestReaderBehindTheWriter(t *testing.T) {
	budget := &spool.Budget{Dir: t.TempDir(), Limit: 64 << 20}
	for _, size := range []int{0, 1, 64 << 10, 2 << 20, 2<<20 + 1, 9 << 20} {
		p := spool.NewPipe(budget)
		want := randomBytes(size)
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(100_000))
			if w, err := p.Write(rest[:n]); w != n || err != nil {
				t.Fatalf("Write = %d, %v", w, err)
			}
			rest = rest[n:]
		}
		p.CloseWrite(nil)
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("size %d: read %d bytes, %v", size, len(got), err)
		}
		p.Close()
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes still taken from the budget", budget.Used())
	}
}

func TestReaderBesideTheWriter(t *testing.T) {
	budget := &spool.Budget{Dir: t.TempDir(), Limit: 64 << 20}
	p := spool.NewPipe(budget)
	data := randomBytes(24 << 20)
	want := sha256.Sum256(data)
	sum := make(chan [32]byte)
	go func() {
		h := sha256.New()
		if _, err := io.Copy(h, p); err != nil {
			t.Error(err)
		}
		p.Close()
		sum <- [32]byte(h.Sum(nil))
	}()
	for len(data) > 0 {
		n := min(len(data), 1+rand.IntN(300_000))
		p.Write(data[:n])
		data = data[n:]
	}
	p.CloseWrite(nil)
	if got := <-sum; got != want {
		t.Error("the reader got other bytes than were written")
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes still taken from the budget", budget.Used())
	}
}

func TestOverflowBreaksTheReaderAlone(t *testing.T) {
	budget := &spool.Budget{Dir: t.TempDir(), Limit: 1 << 20}
	p := spool.NewPipe(budget)
	for range 8 {
		if n, err := p.Write(randomBytes(1 << 20)); n != 1<<20 || err != nil {
			t.Fatalf("Write = %d, %v: the writer must not suffer", n, err)
		}
	}
	p.CloseWrite(nil)
	if _, err := io.ReadAll(p); !errors.Is(err, spool.ErrOverflow) {
		t.Errorf("ReadAll = %v, want ErrOverflow", err)
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes still taken from the budget", budget.Used())
	}
}

func TestAbandonedByEitherSide(t *testing.T) {
	budget := &spool.Budget{Dir: t.TempDir(), Limit: 64 << 20}
	aborted := errors.New("aborted")
	p := spool.NewPipe(budget)
	p.Write(randomBytes(5 << 20))
	p.CloseWrite(aborted)
	if _, err := io.ReadAll(p); !errors.Is(err, aborted) {
		t.Errorf("ReadAll = %v, want the writer's error", err)
	}
	p = spool.NewPipe(budget)
	p.Write(randomBytes(5 << 20))
	p.Close()
	p.Write(randomBytes(5 << 20))
	if _, err := p.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Read after Close = %v", err)
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes still taken from the budget", budget.Used())
	}
}

func randomBytes(n int) []byte {
	var seed [32]byte
	r := rand.NewChaCha8(seed)
	b := make([]byte, n)
	r.Read(b)
	return b
}
