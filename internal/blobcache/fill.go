package blobcache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
)

// errDisk: the disk failed, not the registry. Readers go on without the cache.
var errDisk = errors.New("cache disk failed")

// chunk is how many bytes a fill reads at a time.
const chunk = 256 << 10

// fill brings one blob in. It runs at the registry's pace, whoever reads, and
// also when nobody does any more.
type fill struct {
	digest digest.Digest
	ready  chan struct{} // closed when there is something to follow, or nothing will be

	// Set before ready is closed.
	err  error  // why there is nothing to follow
	size int64  // of the whole blob
	path string // of the file that grows

	// Guarded by Cache.mu.
	opener home   // who asked first; empty once that one deleted the blob
	homes  []home // who is known to have the blob

	mu      sync.Mutex
	written int64         // bytes in the file; all only when they are what the digest says
	end     error         // why no more will come
	grown   chan struct{} // closed when one of these changes; nil while nobody waits
	readers int
	ending  bool // to be ended when nobody reads
	cancel  context.CancelFunc
}

// source is the body of a registry's answer, and what ends it.
type source struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// start makes a fill that was begun run, with one follower. It is errPast when
// there is no room for the blob, or no owner for the fill.
func (c *Cache) start(f *fill, src source, size int64) (*os.File, error) {
	if size <= 0 || !c.reserve(size) { // an empty one has no byte to hold back
		return nil, errPast
	}
	f.size, f.path = size, filepath.Join(c.folder.filling(), rand.Text())
	file, err := c.folder.create(f.path)
	if err != nil {
		c.diskFailed(f, err)
		c.giveBack(f)
		return nil, errPast
	}
	own, err := os.Open(f.path)
	if err == nil && !c.hire(f, src, file) {
		err = errors.Join(errPast, own.Close())
	}
	if err != nil {
		c.discard(f, file)
		return nil, errPast
	}
	return own, nil
}

// hire starts the goroutine of a fill. It reports false, and does nothing, when
// Run does not run.
func (c *Cache) hire(f *fill, src source, file sink) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		return false
	}
	if f.opener != "" {
		f.homes = withHome(f.homes, f.opener)
	}
	f.hired(src.cancel)
	stop := context.AfterFunc(c.ctx, src.cancel)
	c.group.Go(func() {
		defer stop()
		c.run(f, src, file)
	})
	close(f.ready)
	return true
}

// run fills the file and keeps it, or removes it.
func (c *Cache) run(f *fill, src source, file sink) {
	err := f.copy(file, src)
	// The registry has said all; how its connection ends matters to nobody.
	_ = src.Close()
	src.cancel()
	if err == nil {
		if err = file.Sync(); err != nil {
			err = fmt.Errorf("%w: %w", errDisk, err)
		}
	}
	if err != nil {
		c.abort(f, file, err)
		return
	}
	if err := file.Close(); err != nil {
		c.abort(f, file, fmt.Errorf("%w: %w", errDisk, err))
		return
	}
	kept, err := c.publish(f)
	switch {
	case err != nil:
		c.abort(f, file, fmt.Errorf("%w: %w", errDisk, err))
	case !kept:
		c.discard(f, file)
	}
}

// copy writes what comes, and lets the readers have it. The body hands out its
// last bytes only when the whole is what the digest says; so does the file.
func (f *fill) copy(file io.Writer, src io.Reader) error {
	buf := make([]byte, min(chunk, f.size+1))
	for written := int64(0); ; {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := file.Write(buf[:n]); err != nil {
				return fmt.Errorf("%w: %w", errDisk, err)
			}
			written += int64(n)
			f.grow(written)
		}
		switch {
		case err == io.EOF && written == f.size:
			return nil
		case err == io.EOF:
			return fmt.Errorf("blob %s has %d bytes, not %d: %w", f.digest, written, f.size, io.ErrUnexpectedEOF)
		case err != nil:
			return err
		}
	}
}

// publish makes the filled file a blob of the cache, unless nobody is known to
// have the blob any more: then it was deleted while it came.
func (c *Cache) publish(f *fill) (kept bool, err error) {
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	b := &blob{digest: f.digest, size: f.size, homes: f.homes, touched: c.now()}
	c.mu.Unlock()
	if err := c.folder.keep(*b, f.path); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fills, f.digest)
	if b.homes = f.homes; len(b.homes) == 0 {
		return false, c.folder.remove(f.digest)
	}
	c.reserved -= cost(f.size)
	c.kept.Add(f.digest, b)
	c.stats.Fills++
	return true, nil
}

// abort ends a fill that failed; its readers get to know why.
func (c *Cache) abort(f *fill, file sink, err error) {
	if errors.Is(err, errDisk) {
		c.diskFailed(f, err)
	} else {
		c.log.Info("cached blob not filled", "digest", f.digest.String(), "error", err)
	}
	f.finish(err)
	c.mu.Lock()
	if c.fills[f.digest] == f {
		delete(c.fills, f.digest)
	}
	c.stats.Aborted++
	c.mu.Unlock()
	c.discard(f, file)
}

// diskFailed keeps the cache from filling for a while: what is filled half way
// costs the registry a second answer.
func (c *Cache) diskFailed(f *fill, err error) {
	c.log.Warn("cache disk failed", "digest", f.digest.String(), "rest", rest, "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = c.now().Add(rest)
}

// discard removes the file of a fill and gives its room back.
func (c *Cache) discard(f *fill, file sink) {
	_ = file.Close() // may be closed already; nothing in it is needed
	if err := os.Remove(f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.warn("unfinished blob not removed", f.digest, err)
	}
	c.giveBack(f)
}

func (c *Cache) giveBack(f *fill) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used -= cost(f.size)
	c.reserved -= cost(f.size)
}

func (f *fill) grow(written int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = written
	f.wake()
}

func (f *fill) finish(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end = err
	f.wake()
}

// wake is called with the lock held.
func (f *fill) wake() {
	if f.grown != nil {
		close(f.grown)
		f.grown = nil
	}
}

// await returns how many bytes there are after at; none at the end of the blob.
// It waits for them, or for ctx.
func (f *fill) await(ctx context.Context, at int64) (int64, error) {
	for {
		f.mu.Lock()
		n, err := f.written-at, f.end
		if n > 0 || err != nil || at == f.size {
			f.mu.Unlock()
			return n, err
		}
		if f.grown == nil {
			f.grown = make(chan struct{})
		}
		grown := f.grown
		f.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// hired notes the first reader, and what ends the fill.
func (f *fill) hired(cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers, f.cancel = 1, cancel
}

// open opens the file for one more reader.
func (f *fill) open() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.Open(f.path)
	if err == nil {
		f.readers++
	}
	return file, err
}

// leave takes a reader away.
func (f *fill) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
	if f.ending && f.readers == 0 {
		f.cancel()
	}
}

// endWhenLeft gives the fill up as soon as nobody reads it.
func (f *fill) endWhenLeft() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ending = true
	if f.readers == 0 && f.cancel != nil {
		f.cancel()
	}
}
