package upstream

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// downloadBody is the body of an answer whose connection is dropped when no byte
// comes for too long.
type downloadBody struct {
	ctx    context.Context
	body   io.ReadCloser
	idle   time.Duration
	timer  *time.Timer // runs only while a Read waits: a slow reader is no stall
	cancel context.CancelCauseFunc
}

func newDownloadBody(ctx context.Context, body io.ReadCloser, idle time.Duration, cancel context.CancelCauseFunc) *downloadBody {
	timer := time.AfterFunc(idle, func() { cancel(errStalled) })
	timer.Stop()
	return &downloadBody{ctx: ctx, body: body, idle: idle, timer: timer, cancel: cancel}
}

func (b *downloadBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *downloadBody) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.body.Close()
}

// uploadBody is a caller's stream on its way to the registry. It counts what the
// transport took, and gives up when the registry takes nothing for too long.
type uploadBody struct {
	idle  time.Duration
	timer *time.Timer // runs only between Reads: a slow sender is no stall

	mu     sync.Mutex
	stream io.Reader // nil once detached
}

func newUploadBody(stream io.Reader, idle time.Duration, cancel context.CancelCauseFunc) *uploadBody {
	timer := time.AfterFunc(idle, func() { cancel(errStalled) })
	timer.Stop()
	return &uploadBody{idle: idle, timer: timer, stream: stream}
}

func (b *uploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream == nil {
		return 0, io.ErrClosedPipe
	}
	b.timer.Stop()
	n, err := b.stream.Read(p)
	if err == nil {
		b.timer.Reset(b.idle)
	}
	return n, err
}

// Close is the transport's end of the stream. The stream belongs to the caller.
func (b *uploadBody) Close() error {
	b.timer.Stop()
	return nil
}

// detach takes the stream away from the transport, which may otherwise read on
// after it has answered. It waits for a Read that is under way: when it returns,
// the stream is the caller's again.
func (b *uploadBody) detach() {
	b.timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer.Stop()
	b.stream = nil
}

// counter counts the bytes of a stream, for AppendUpload's result.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// blobBody reads exactly left bytes. When it has a verifier, the bytes that
// complete the blob are handed out only if they fit the digest, so that a wrong
// blob never looks complete to whoever receives it.
type blobBody struct {
	io.ReadCloser
	digest   digest.Digest
	left     int64           // bytes still to come; -1: until the end, which the verifier judges
	verifier digest.Verifier // nil for a part of a blob
	err      error           // final
}

func (b *blobBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		b.err = b.verify()
		return 0, b.err
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.ReadCloser.Read(p)
	if b.verifier != nil {
		_, _ = b.verifier.Write(p[:n]) // a hash takes everything
	}
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0:
		if b.err = b.verify(); b.err != io.EOF {
			return 0, b.err
		}
		return n, nil
	case err == io.EOF && b.left > 0:
		b.err = fmt.Errorf("blob %s is %d bytes short: %w", b.digest, b.left, io.ErrUnexpectedEOF)
	case err == io.EOF:
		b.err = b.verify()
	case err != nil:
		b.err = fmt.Errorf("read blob %s: %w", b.digest, err)
	}
	return n, b.err
}

// verify returns io.EOF for a blob that is what it should be.
func (b *blobBody) verify() error {
	if b.verifier != nil && !b.verifier.Verified() {
		return fmt.Errorf("blob %s: %w", b.digest, image.ErrDigestInvalid)
	}
	return io.EOF
}
