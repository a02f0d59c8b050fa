package verdicts

import (
	"sync"
	"time"
)

const breakerPause = 2 * time.Second // how long a failed store is left alone

// breaker leaves a store alone for a while after it has failed. The zero value
// is ready.
type breaker struct {
	mu    sync.Mutex
	down  bool
	until time.Time
}

// closed reports whether the store may be asked now.
func (b *breaker) closed(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.down || now.After(b.until)
}

// report notes how a call went, and reports whether the state changed.
func (b *breaker) report(err error, now time.Time) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.down
	if b.down = err != nil; b.down {
		b.until = now.Add(breakerPause)
	}
	return was != b.down
}
