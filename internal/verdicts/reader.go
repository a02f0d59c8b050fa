package verdicts

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/flight"
	"github.com/pratique/pratique/internal/lru"
)

// ErrUnreachable: Redis does not answer, and memory has nothing to go by.
var ErrUnreachable = errors.New("redis does not answer")

// Bounds of what a Reader remembers.
const (
	freshness    = 500 * time.Millisecond // how old memory may be while Redis answers
	freshAbsence = 100 * time.Millisecond // the same, of what was not there
	staleness    = 10 * time.Minute       // and while Redis does not answer
	readerMemory = 64 << 20               // bytes, roughly
)

// TierStale is the tier of what memory had while Redis did not answer.
const TierStale = "stale"

// Reader reads what other processes share through Redis, for a process that has
// Redis alone. Memory answers for half a second, then Redis is asked again; when
// Redis is away, memory answers for ten minutes. It is safe for concurrent use;
// many who want the same ask once.
type Reader struct {
	redis   *Redis
	now     func() time.Time
	looked  func(tier string)
	memory  *lru.Cache[string, remembered]
	breaker Breaker
	reads   flight.Group[string, any]
}

type remembered struct {
	value any // nil: absent
	at    time.Time
	cost  int
}

// NewReader makes a Reader. looked is called with the tier that answered.
func NewReader(r *Redis, now func() time.Time, looked func(tier string)) *Reader {
	return &Reader{redis: r, now: now, looked: looked, memory: lru.New[string](readerMemory, func(m remembered) int { return m.cost })}
}

// Verdict returns the verdict of a manifest under a selection, or nil.
func (r *Reader) Verdict(ctx context.Context, manifest digest.Digest, selection string) (*policy.Verdict, error) {
	return read(ctx, r, verdictKey(manifest, selection), cost, func(ctx context.Context) (*policy.Verdict, error) {
		return r.redis.Get(ctx, manifest, selection)
	})
}

// Active returns what was published last, or nil.
func (r *Reader) Active(ctx context.Context) (*Active, error) {
	return read(ctx, r, activeKey, func(a *Active) int { return 1024 + len(a.Gate) }, r.redis.Active)
}

// Bundle returns the text of a published bundle, or nil.
func (r *Reader) Bundle(ctx context.Context, hash string) ([]byte, error) {
	text, err := read(ctx, r, bundleKey(hash), func(b *[]byte) int { return len(*b) }, func(ctx context.Context) (*[]byte, error) {
		raw, err := r.redis.Bundle(ctx, hash)
		if err != nil || raw == nil {
			return nil, err
		}
		return &raw, nil
	})
	if text == nil {
		return nil, err
	}
	return *text, err
}

// Fact returns what PutFact kept under a name, or nil.
func Fact[T any](ctx context.Context, r *Reader, name string) (*T, error) {
	return read(ctx, r, "fact:"+name, func(*T) int { return 1024 }, func(ctx context.Context) (*T, error) {
		fact := new(T)
		found, err := r.redis.Fact(ctx, name, fact)
		if err != nil || !found {
			return nil, err
		}
		return fact, nil
	})
}

// Want is Redis.Want, unless Redis is away.
func (r *Reader) Want(ctx context.Context, name string, wish any) error {
	return r.write(func() error { return r.redis.Want(ctx, name, wish) })
}

func (r *Reader) write(do func() error) error {
	if !r.breaker.Closed(r.now()) {
		return ErrUnreachable
	}
	err := do()
	r.breaker.Report(err, r.now())
	return err
}

// read answers from memory or Redis. What is nil is absent.
func read[T any](ctx context.Context, r *Reader, key string, cost func(*T) int, get func(context.Context) (*T, error)) (*T, error) {
	m, known := r.memory.Get(key)
	value, _ := m.value.(*T)
	age := r.now().Sub(m.at)
	if known && (age < freshAbsence || value != nil && age < freshness) {
		r.looked(TierMemory)
		return value, nil
	}
	if r.breaker.Closed(r.now()) {
		found, err := r.reads.Do(ctx, key, func(ctx context.Context) (any, error) {
			got, err := get(ctx)
			if ctx.Err() != nil { // which says nothing about Redis
				return got, ctx.Err()
			}
			r.breaker.Report(err, r.now())
			if err == nil {
				c := 512
				if got != nil {
					c += cost(got)
				}
				r.memory.Put(key, remembered{got, r.now(), c})
			}
			return got, err
		})
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			got := found.(*T)
			r.looked(map[bool]string{true: TierRedis, false: TierMiss}[got != nil])
			return got, nil
		}
	}
	if value != nil && age < staleness {
		r.looked(TierStale)
		return value, nil
	}
	return nil, ErrUnreachable
}

// PutFact is Redis.PutFact, unless Redis is away.
func (r *Reader) PutFact(ctx context.Context, name string, fact any) error {
	return r.write(func() error { return r.redis.PutFact(ctx, name, fact) })
}

// Leave is Redis.Leave. What is large and late says nothing about look-ups.
func (r *Reader) Leave(ctx context.Context, what, cluster string, doc any) error {
	return r.redis.Leave(ctx, what, cluster, doc)
}
