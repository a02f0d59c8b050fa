package layer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
)

// source is the stored bytes: hashed and counted as they are read. It is read
// by one goroutine at a time.
type source struct {
	r       io.Reader
	alive   func() error // the context's Err
	hash    hash.Hash
	count   atomic.Int64
	waited  atomic.Int64 // nanoseconds spent in reading r
	failure error        // of r or the context, never io.EOF
}

func newSource(r io.Reader, alive func() error) *source {
	return &source{r: r, alive: alive, hash: sha256.New()}
}

func (s *source) Read(p []byte) (int, error) {
	if s.failure == nil {
		s.failure = s.alive()
	}
	if s.failure != nil {
		return 0, s.failure
	}
	began := time.Now()
	n, err := s.r.Read(p)
	s.waited.Add(int64(time.Since(began)))
	s.hash.Write(p[:n])
	s.count.Add(int64(n))
	if err != nil && err != io.EOF {
		s.failure = err
	}
	return n, err
}

func (s *source) digest() digest.Digest {
	return digest.NewDigestFromBytes(digest.SHA256, s.hash.Sum(nil))
}

// sameBytes stands for the digest of the stored bytes.
const sameBytes = "same"

func digestOf(hexSum string) digest.Digest { return digest.NewDigestFromEncoded(digest.SHA256, hexSum) }

// Bounds that a stream may break.
var (
	errTooLarge = errors.New("unpacks to more than this version reads")
	errBomb     = errors.New("unpacks to so much more than its size that it must be a bomb")
)

// unpacked is the uncompressed bytes: hashed (unless the stored ones are the
// same), counted, and ended when they are too many.
type unpacked struct {
	r       io.Reader
	limits  Limits
	hash    hash.Hash    // nil: not wanted
	stored  func() int64 // bytes read of the compressed stream; nil: not compressed
	count   int64
	failure error // what ended the stream, io.EOF when all was well
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.failure != nil {
		return 0, u.failure
	}
	n, err := u.r.Read(p)
	u.count += int64(n)
	if u.hash != nil {
		u.hash.Write(p[:n])
	}
	switch {
	case err != nil:
		u.failure = err
	case u.count > u.limits.Uncompressed:
		u.failure = errTooLarge
	case u.stored != nil && u.count > u.limits.FreeBytes && u.count/u.limits.Ratio > u.stored():
		u.failure = errBomb
	}
	return n, u.failure
}

func (u *unpacked) sum() string { return hex.EncodeToString(u.hash.Sum(nil)) }

// rest reads to the end and reports whether any byte was not zero.
func (u *unpacked) rest() (dirty bool) {
	buf := make([]byte, 32<<10)
	for u.failure == nil {
		n, _ := u.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				dirty = true
				break
			}
		}
	}
	return dirty
}

// describe tells why the stream ended before its time.
func describe(err error) (code, detail string) {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "layer-truncated", "the compressed stream is cut off"
	case errors.Is(err, errTooLarge), errors.Is(err, errBomb):
		return "layer-too-large", "the layer " + err.Error()
	}
	return "layer-corrupt", fmt.Sprintf("the compressed stream cannot be read to its end: %v", err)
}
