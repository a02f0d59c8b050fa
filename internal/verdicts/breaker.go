package verdicts

import (
	"sync"
	"time"
)

const breakerPause = 2 * time.Second // how long a failed store is left alone

// Breaker leaves a store alone for a while after it has failed. The zero value
// is ready, and safe for concurrent use.
type Breaker struct {
	mu    sync.Mutex
	down  bool
	until time.Time
}

// Closed reports whether the store may be asked now. After a pause one who asks
// may try; the others wait for how that goes.
func (b *Breaker) Closed(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.down {
		return true
	}
	if !now.After(b.until) {
		return false
	}
	b.until = now.Add(breakerPause)
	return true
}

// Report notes how a call went, and reports whether the state changed.
func (b *Breaker) Report(err error, now time.Time) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.down
	if b.down = err != nil; b.down {
		b.until = now.Add(breakerPause)
	}
	return was != b.down
}
