// Package blobcache keeps blobs of remote registries on the local disk, so that
// a second pull does not touch the registry: content-addressed, verified before
// the last byte is handed out, bounded in bytes, the least recently used first
// to go.
//
// Content is shared by all repositories, the right to read it is not: a
// repository gets a blob from here only after its own registry gave it the blob
// once. The cache is an aid. When it has no room, no disk or no luck, bytes come
// from the registry as if there were no cache.
//
// It must not know policy, or who asks. Start with Registry.Blob in registry.go;
// fill.go brings a blob in, body.go hands it out, folder.go is the disk.
package blobcache

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"
)

const (
	maxFills = 16      // at once; further blobs pass by
	maxBlobs = 100_000 // kept; bounds what the table of them takes of memory
	maxHomes = 64      // repositories remembered for one blob; more are asked for anew
	// drain is how long fills that somebody reads may go on when the process
	// ends: a little longer than the doors drain.
	drain = 40 * time.Second
	// rest is how long nothing is filled after the disk failed.
	rest = 30 * time.Second
	// touchInterval is how stale the recency on disk may be.
	touchInterval = time.Hour
)

// Options are what a cache is opened with.
type Options struct {
	// Dir is the folder of the cache, made if need be. What is in its
	// subfolders sha256, sha512 and filling belongs to the cache.
	Dir string
	// Limit is how many bytes of disk the blobs may take, those that are being
	// filled included; each counts in full blocks and with the note beside it.
	Limit int64
	Log   *slog.Logger     // nil: nothing is logged
	Now   func() time.Time // nil: time.Now
}

// Cache is safe for concurrent use. Until Run runs, and after it, blobs that are
// in the cache are served, and no new ones are kept.
type Cache struct {
	log    *slog.Logger
	now    func() time.Time
	limit  int64
	folder folder

	// disk is held while names in the folder change, so that the folder and the
	// table below change in the same order. It is taken before mu.
	disk sync.Mutex

	mu        sync.Mutex
	kept      *simplelru.LRU[digest.Digest, *blob]
	fills     map[digest.Digest]*fill // opening, or under way
	used      int64                   // bytes of all that is kept, and reserved
	reserved  int64                   // bytes of fills under way
	forgotten uint64                  // counts deletions: what was learnt before one may not hold
	resting   time.Time               // until when nothing is filled
	stats     Stats
	ctx       context.Context // of fills; nil while Run does not run

	group sync.WaitGroup // fills; grows only while ctx is set
}

// blob is one file of the cache. size and cost never change; the rest is guarded
// by Cache.mu.
type blob struct {
	digest  digest.Digest
	size    int64
	homes   []home // the last learnt last
	touched time.Time
}

// home is a repository of a registry, as one account sees it.
type home string

// Stats are figures for /metrics. The counters begin at Open.
type Stats struct {
	Bytes   int64 // of disk, taken or reserved
	Blobs   int   // complete
	Filling int   // fills under way

	Hits      uint64 // reads of bytes that the registry was not asked for
	Misses    uint64 // reads that went to the registry
	Fills     uint64 // blobs that were brought in whole
	Aborted   uint64 // fills that were not
	Evictions uint64 // blobs that made room for others
}

// Open takes what a former process left in the folder: whole blobs. What is
// unfinished or damaged is removed.
func Open(o Options) (*Cache, error) {
	if o.Dir == "" || o.Limit <= 0 {
		return nil, errors.New("open blob cache: folder or limit is missing")
	}
	c := &Cache{
		log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), now: o.Now, limit: o.Limit,
		folder: newFolder(o.Dir), fills: map[digest.Digest]*fill{},
	}
	if c.now == nil {
		c.now = time.Now
	}
	kept, err := simplelru.NewLRU[digest.Digest, *blob](maxBlobs+maxFills, nil)
	if err != nil {
		return nil, err
	}
	c.kept = kept
	found, err := c.folder.open()
	if err != nil {
		return nil, err
	}
	for _, b := range found {
		if !c.reserve(b.size) { // larger than the limit, which was lowered
			c.warn("cached blob not removed", b.digest, c.folder.remove(b.digest))
			continue
		}
		c.mu.Lock()
		c.reserved -= cost(b.size)
		c.kept.Add(b.digest, b)
		c.mu.Unlock()
	}
	c.stats = Stats{}
	return c, nil
}

// Run owns the fills. When ctx ends, those that nobody reads are given up, the
// others may go on for a while; it returns when all have stopped.
func (c *Cache) Run(ctx context.Context) error {
	fills, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	c.mu.Lock()
	c.ctx = fills
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.ctx = nil
	for _, f := range c.fills {
		f.endWhenLeft()
	}
	c.mu.Unlock()
	timer := time.AfterFunc(drain, cancel)
	defer timer.Stop()
	c.group.Wait()
	return nil
}

// Stats returns the figures of now.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes, s.Blobs, s.Filling = c.used, c.kept.Len(), len(c.fills)
	return s
}

// cost is what a blob of so many bytes takes of the disk: full blocks, and one
// for the note beside it.
func cost(size int64) int64 {
	const block = 4 << 10
	return (size+block-1)/block*block + block
}

// reserve makes room for a blob, if there can be room beside the fills under
// way. Whoever reserved gives back, or keeps the blob.
func (c *Cache) reserve(size int64) bool {
	c.disk.Lock()
	defer c.disk.Unlock()
	victims, ok := c.makeRoom(size)
	for _, b := range victims {
		c.warn("cached blob not removed", b.digest, c.folder.remove(b.digest))
	}
	return ok
}

// makeRoom takes the room for a blob out of the table, and tells which blobs
// have to go.
func (c *Cache) makeRoom(size int64) (victims []*blob, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size < 0 || size > c.limit || cost(size) > c.limit-c.reserved {
		return nil, false
	}
	for c.used+cost(size) > c.limit || c.kept.Len() >= maxBlobs {
		_, b, ok := c.kept.RemoveOldest()
		if !ok {
			break
		}
		c.used -= cost(b.size)
		c.stats.Evictions++
		victims = append(victims, b)
	}
	c.used += cost(size)
	c.reserved += cost(size)
	return victims, true
}

// warn logs trouble with the disk, which nobody else gets to know.
func (c *Cache) warn(event string, d digest.Digest, err error) {
	if err != nil {
		c.log.Warn(event, "digest", d.String(), "error", err)
	}
}
