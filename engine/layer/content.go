package layer

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/pratique/pratique/engine/inventory"
)

// headSize is how much of a file is read before it is decided who wants it, in
// bytes. Most files are smaller, and are then had whole.
const headSize = 64 << 10

// tap is given the content of a file as it passes, and tells at its end what it
// found. It cannot stop the file.
type tap interface {
	io.Writer
	end(rec *recorder, path string)
}

// content is the bytes of one file on their way: whoever reads them lets the
// digest and the taps see them. One content serves a layer's files in turn.
type content struct {
	path string
	size int64 // by the header
	body io.Reader
	head []byte // read ahead and not yet given
	buf  []byte // headSize bytes, of which head is a part
	hash hash.Hash
	taps []tap
	done bool
}

func newContent(digests bool) *content {
	c := &content{buf: make([]byte, headSize)}
	if digests {
		c.hash = sha256.New()
	}
	return c
}

// begin takes the next file and reads its head.
func (c *content) begin(path string, size int64, body io.Reader) {
	n, err := io.ReadFull(body, c.buf[:min(size, headSize)])
	*c = content{path: path, size: size, body: body, buf: c.buf, hash: c.hash, taps: c.taps[:0], head: c.buf[:n], done: err != nil}
	if c.hash != nil {
		c.hash.Reset()
	}
}

// whole reports whether the head is all there is.
func (c *content) whole() bool { return c.size <= headSize }

// Read is for whoever wants the content.
func (c *content) Read(p []byte) (n int, err error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case len(c.head) > 0:
		n = copy(p, c.head)
		c.head = c.head[n:]
	case c.done || c.whole():
		return 0, io.EOF
	default:
		if n, err = c.body.Read(p); err != nil {
			c.done = true
		}
	}
	c.show(p[:n])
	return n, err
}

// show lets digest and taps see the next bytes.
func (c *content) show(b []byte) {
	if c.hash != nil {
		c.hash.Write(b)
	}
	for _, t := range c.taps {
		_, _ = t.Write(b) // taps keep their failures to themselves
	}
}

// drain reads what nobody has read, if anybody looks on.
func (c *content) drain() {
	if c.hash == nil && len(c.taps) == 0 {
		return
	}
	if head := c.head; len(head) > 0 {
		c.head = nil
		c.show(head)
	}
	for !c.done && !c.whole() {
		n, err := c.body.Read(c.buf)
		c.show(c.buf[:n])
		c.done = err != nil
	}
}

// finish sets the digest and lets the taps tell.
func (c *content) finish(rec *recorder, e *inventory.Entry) {
	c.drain()
	if c.hash != nil {
		c.hash.Sum(e.Sum[:0])
	}
	for i, t := range c.taps {
		t.end(rec, c.path)
		c.taps[i] = nil
	}
	c.body = nil
}
