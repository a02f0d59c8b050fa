package blobcache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
)

// errPast: the cache cannot help, the bytes have to come from the registry.
var errPast = errors.New("past the cache")

// errAgain: what was found has changed meanwhile; looking again tells.
var errAgain = errors.New("look again")

// find returns the blob, or the fill that brings it, or neither.
func (c *Cache) find(d digest.Digest) (*blob, *fill) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, _ := c.kept.Peek(d)
	return b, c.fills[d]
}

// begin enters the fill of a blob that is not here, for the caller to open or
// give up. It is errPast when there is to be no fill, and errAgain when somebody
// else was faster.
func (c *Cache) begin(d digest.Digest, opener home) (*fill, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept.Contains(d) || c.fills[d] != nil {
		return nil, errAgain
	}
	if c.ctx == nil || len(c.fills) >= maxFills || c.now().Before(c.resting) {
		return nil, errPast
	}
	f := &fill{digest: d, opener: opener, ready: make(chan struct{})}
	c.fills[d] = f
	return f, nil
}

// giveUp takes back a fill that did not get under way. Those who wait for it are
// told why.
func (c *Cache) giveUp(f *fill, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fills, f.digest)
	f.err = err
	close(f.ready)
}

// failed tells one who waited for a fill that did not get under way what that
// means for h: what was said to the repository that asked is no answer for
// another.
func (c *Cache) failed(f *fill, h home) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.opener == h || errors.Is(f.err, errPast) {
		return f.err
	}
	return errAgain
}

// read opens a part of a whole blob.
func (c *Cache) read(b *blob, q part) (io.ReadCloser, error) {
	path := c.folder.path(b.digest)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		c.drop(b)
		return nil, errAgain
	}
	if err != nil {
		return nil, errPast
	}
	if info, err := file.Stat(); err != nil || info.Size() != b.size {
		file.Close()
		c.drop(b)
		return nil, errAgain
	}
	left := b.size - q.offset
	if q.length >= 0 {
		left = min(left, q.length)
	}
	if _, err := file.Seek(q.offset, io.SeekStart); err != nil {
		file.Close()
		return nil, errPast
	}
	if c.hit(b) {
		// Recency is worth an hour's exactness after a restart, and no error.
		_ = c.folder.touch(b.digest, c.now())
	}
	return &section{file: file, left: left}, nil
}

// hit counts a read, and tells whether the disk should know of it.
func (c *Cache) hit(b *blob) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.Get(b.digest)
	c.stats.Hits++
	if now := c.now(); now.Sub(b.touched) > touchInterval {
		b.touched = now
		return true
	}
	return false
}

// followed counts a read of a blob that somebody else brings in.
func (c *Cache) followed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Hits++
}

// missed counts a read that goes to the registry.
func (c *Cache) missed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Misses++
}

// drop removes a blob whose file is not what it was.
func (c *Cache) drop(b *blob) {
	c.disk.Lock()
	defer c.disk.Unlock()
	if c.unlist(b) {
		c.warn("cached blob not removed", b.digest, c.folder.remove(b.digest))
	}
}

// unlist takes the blob out of the table, unless another stands in its place.
func (c *Cache) unlist(b *blob) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, _ := c.kept.Peek(b.digest); now != b {
		return false
	}
	c.kept.Remove(b.digest)
	c.used -= cost(b.size)
	return true
}

// knows reports whether h is known to have the blob, or is about to be when the
// fill that it opened gets under way. seen is for learn.
func (c *Cache) knows(h home, d digest.Digest) (known bool, seen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.kept.Peek(d); ok {
		return slices.Contains(b.homes, h), c.forgotten
	}
	if f := c.fills[d]; f != nil {
		return f.opener == h || slices.Contains(f.homes, h), c.forgotten
	}
	return false, c.forgotten
}

// learn notes that h has the blob: its registry gave some of it away, and
// nothing was deleted since seen.
func (c *Cache) learn(h home, d digest.Digest, seen uint64) {
	c.disk.Lock()
	defer c.disk.Unlock()
	if b, ok := c.addHome(h, d, seen); ok {
		c.warn("cached blob not noted", d, c.folder.note(b))
	}
}

// addHome adds h to what is here of the blob. It returns a copy of the blob to be
// noted, if that is whole.
func (c *Cache) addHome(h home, d digest.Digest, seen uint64) (blob, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgotten != seen {
		return blob{}, false
	}
	if b, ok := c.kept.Peek(d); ok {
		b.homes = withHome(b.homes, h)
		return *b, true
	}
	if f := c.fills[d]; f != nil {
		f.homes = withHome(f.homes, h)
	}
	return blob{}, false
}

// withHome makes a new list, so that copies of the old one stay what they are.
func withHome(homes []home, h home) []home {
	homes = append(withoutHome(homes, h), h)
	return homes[max(0, len(homes)-maxHomes):]
}

func withoutHome(homes []home, h home) []home {
	var rest []home
	for _, other := range homes {
		if other != h {
			rest = append(rest, other)
		}
	}
	return rest
}

// forget notes that h may no longer have the blob. A blob that nobody is known
// to have is removed.
func (c *Cache) forget(h home, d digest.Digest) {
	c.disk.Lock()
	defer c.disk.Unlock()
	b, ok := c.removeHome(h, d)
	switch {
	case !ok:
	case len(b.homes) > 0:
		c.warn("cached blob not noted", d, c.folder.note(b))
	default:
		c.warn("cached blob not removed", d, c.folder.remove(d))
	}
}

// removeHome returns a copy of the blob as it is then, if it is whole.
func (c *Cache) removeHome(h home, d digest.Digest) (blob, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten++
	if f := c.fills[d]; f != nil {
		f.homes = withoutHome(f.homes, h)
		if f.opener == h {
			f.opener = ""
		}
	}
	b, ok := c.kept.Peek(d)
	if !ok {
		return blob{}, false
	}
	if b.homes = withoutHome(b.homes, h); len(b.homes) == 0 {
		c.kept.Remove(d)
		c.used -= cost(b.size)
	}
	return *b, true
}
