package auth

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/pratique/pratique/internal/lru"
)

// How many log-ins may fail: so many at once, then one in each interval.
const (
	pairBurst       = 10 // of one user from one client; containerd tries each password twice
	pairInterval    = 15 * time.Second
	clientBurst     = 30 // of all users from one client
	clientInterval  = 2 * time.Second
	throttleEntries = 8192 // pairs, and clients, that are remembered
	maxThrottleName = 128  // bytes of a name that tell it from others
)

// throttle limits how often log-ins fail. Only failures count, so that nobody
// who knows the password is held up by having used it. It is safe for
// concurrent use.
type throttle struct {
	pairs   *lru.Cache[pair, *rate.Limiter]
	clients *lru.Cache[string, *rate.Limiter]
}

type pair struct{ user, client string }

func newThrottle() *throttle {
	return &throttle{
		pairs:   lru.New[pair](throttleEntries, lru.Each[*rate.Limiter]),
		clients: lru.New[string](throttleEntries, lru.Each[*rate.Limiter]),
	}
}

// check says whether one more log-in may be tried.
func (t *throttle) check(user, client string, now time.Time) error {
	p := newPair(user, client)
	byPair, _ := t.pairs.Get(p)
	byClient, _ := t.clients.Get(p.client)
	if wait := max(untilNext(byPair, now), untilNext(byClient, now)); wait > 0 {
		return &LimitedError{RetryAfter: wait}
	}
	return nil
}

// untilNext is how long it takes until the limiter has a token again.
func untilNext(l *rate.Limiter, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	// Whole seconds, as Retry-After counts.
	return time.Duration(missing/float64(l.Limit())*float64(time.Second)).Truncate(time.Second) + time.Second
}

// failed counts a log-in that failed.
func (t *throttle) failed(user, client string, now time.Time) {
	p := newPair(user, client)
	count(t.pairs, p, rate.Every(pairInterval), pairBurst).AllowN(now, 1)
	count(t.clients, p.client, rate.Every(clientInterval), clientBurst).AllowN(now, 1)
}

// count finds the limiter of a key, and makes it if need be.
func count[K comparable](c *lru.Cache[K, *rate.Limiter], k K, limit rate.Limit, burst int) *rate.Limiter {
	var found *rate.Limiter
	c.Update(k, func(old *rate.Limiter, ok bool) (*rate.Limiter, bool) {
		if found = old; !ok {
			found = rate.NewLimiter(limit, burst)
		}
		return found, true
	})
	return found
}

// passed forgets what failed for this user from this client. What failed for
// others from there stays counted.
func (t *throttle) passed(user, client string) { t.pairs.Remove(newPair(user, client)) }

// newPair bounds what is remembered of a name, and takes the addresses that one
// customer of IPv6 has for one client.
func newPair(user, client string) pair {
	if len(user) > maxThrottleName {
		user = user[:maxThrottleName]
	}
	if ip, err := netip.ParseAddr(client); err == nil {
		ip = ip.Unmap().WithZone("")
		client = ip.String()
		if ip.Is6() {
			client = netip.PrefixFrom(ip, 64).Masked().String()
		}
	} else if len(client) > maxThrottleName {
		client = client[:maxThrottleName]
	}
	return pair{user, client}
}
