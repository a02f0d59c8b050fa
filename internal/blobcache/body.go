package blobcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// section is a part of a whole blob. WriteTo hands the file itself to whoever
// can take one: a server sends it without copying.
type section struct {
	file *os.File // at the first byte
	left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.file.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF { // somebody cut the file
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo sends the rest.
func (s *section) WriteTo(w io.Writer) (int64, error) {
	n, err := send(w, s.file, s.left)
	s.left -= n
	return n, err
}

func (s *section) Close() error { return s.file.Close() }

// send sends exactly n bytes of the file.
func send(w io.Writer, file *os.File, n int64) (int64, error) {
	sent, err := io.Copy(w, &io.LimitedReader{R: file, N: n})
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	return sent, err
}

// follower reads a blob while it is filled. When the disk fails, it goes on with
// what the registry sends; when the registry fails, so does the follower. It
// ends well only after all bytes of a blob that is what its digest says.
type follower struct {
	ctx    context.Context // of the reader
	fill   *fill
	file   *os.File // its own, at the byte that comes next
	at     int64
	around func(ctx context.Context, at int64) (io.ReadCloser, error)

	rest   io.ReadCloser // once the disk failed
	err    error         // final
	closed bool
}

// next returns how many bytes can be read from the file, or that the rest is to
// be read elsewhere, or why there is no more: io.EOF after the last byte.
func (b *follower) next() (int64, error) {
	if b.err != nil || b.rest != nil {
		return 0, b.err
	}
	n, err := b.fill.await(b.ctx, b.at)
	switch {
	case b.at == b.fill.size:
		b.err = io.EOF
	case errors.Is(err, errDisk):
		b.rest, b.err = b.divert()
	case err != nil:
		b.err = err
	}
	return n, b.err
}

func (b *follower) Read(p []byte) (int, error) {
	n, err := b.next()
	if err != nil {
		return 0, err
	}
	if b.rest != nil {
		return b.rest.Read(p)
	}
	k, err := b.file.Read(p[:min(int64(len(p)), n)])
	b.at += int64(k)
	if err == io.EOF {
		b.err = io.ErrUnexpectedEOF
	} else {
		b.err = err
	}
	return k, b.err
}

// WriteTo sends what there is each time, and waits for more.
func (b *follower) WriteTo(w io.Writer) (int64, error) {
	var sent int64
	for {
		n, err := b.next()
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		if b.rest != nil {
			n, err := io.Copy(w, b.rest)
			return sent + n, err
		}
		k, err := send(w, b.file, n)
		b.at += k
		sent += k
		if err != nil {
			b.err = err
			return sent, err
		}
	}
}

// divert opens the rest of the blob at the registry. What was handed out so far
// counts for the digest with what is still to come.
func (b *follower) divert() (io.ReadCloser, error) {
	verifier := b.fill.digest.Verifier()
	if _, err := io.Copy(verifier, io.NewSectionReader(b.file, 0, b.at)); err != nil {
		return nil, fmt.Errorf("read back blob %s: %w", b.fill.digest, err)
	}
	body, err := b.around(b.ctx, b.at)
	if err != nil {
		return nil, err
	}
	return &checked{ReadCloser: body, verifier: verifier, digest: b.fill.digest, left: b.fill.size - b.at}, nil
}

func (b *follower) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.fill.leave()
	err := b.file.Close()
	if b.rest != nil {
		err = errors.Join(err, b.rest.Close())
	}
	return err
}

// checked is the rest of a blob. Its last bytes are handed out only when all are
// what the digest says.
type checked struct {
	io.ReadCloser
	verifier digest.Verifier // has seen what came before
	digest   digest.Digest
	left     int64
}

func (b *checked) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	_, _ = b.verifier.Write(p[:n]) // a hash takes everything
	if int64(n) == b.left && !b.verifier.Verified() {
		return 0, fmt.Errorf("blob %s: %w", b.digest, image.ErrDigestInvalid)
	}
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// linked is the body of an answer that was asked for in a context of its own; it
// ends with its reader.
type linked struct {
	source
	release func() bool // unlinks the reader's context
}

func (b *linked) Close() error {
	b.release()
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
