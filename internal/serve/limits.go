package serve

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Limits are what one client, or all together, may ask of a door. 0 is the
// default, -1 no limit. A client is an IPv4 address or an IPv6 network of 64
// bits, as the connection has it: X-Forwarded-For is not believed. Behind a
// load balancer that hides the addresses, raise per_client and requests.
//
// What defaults for a client do not apply to clients on this machine (a reverse
// proxy speaks for many); values that are set do.
type Limits struct {
	// Connections is how many connections may be open at once. When one more
	// comes, the one that has been idle for the longest between two requests is
	// closed for it; if none is idle, it waits, first come first served, until
	// one is or ends. Default 4096.
	Connections int `yaml:"connections"`
	// PerClient is how many of them one client may have. Requests on more are
	// answered 429, and far more are closed unheard. Clusters stand behind one
	// address. Default 512.
	PerClient int `yaml:"per_client"`
	// Requests is how many requests a client may send in a second, on average;
	// more are answered 429 with Retry-After. Default 500.
	Requests int `yaml:"requests"`
	// Burst is how many it may send at once after a pause. Default four seconds'
	// worth of requests.
	Burst int `yaml:"burst"`
}

const (
	defaultConnections = 4096
	defaultPerClient   = 512
	defaultRequests    = 500
	burstSeconds       = 4

	// rememberedClients bounds the memory for rates. A client that is forgotten
	// because so many others came has its burst again.
	rememberedClients = 16384
)

// Names of limits in logs and figures.
const (
	limitConnections = "connections"
	limitPerClient   = "per_client"
	limitRequests    = "requests"
	limitSilence     = "silence"
	limitPace        = "pace"
)

// Validate refuses what is neither a limit nor -1.
func (l Limits) Validate() error {
	var errs []error
	for _, field := range []struct {
		name  string
		value int
		least int
	}{{"connections", l.Connections, -1}, {"per_client", l.PerClient, -1}, {"requests", l.Requests, -1}, {"burst", l.Burst, 0}} {
		if field.value < field.least {
			errs = append(errs, errors.New(field.name+" is "+strconv.Itoa(field.value)+": it is a number, 0 for the default, or -1 for no limit (burst goes with requests and has none)"))
		}
	}
	return errors.Join(errs...)
}

// connections is how many may be open at once.
func (l Limits) connections() int { return limit(l.Connections, defaultConnections) }

// perClient is how many the client may have open.
func (l Limits) perClient(client netip.Prefix) int {
	if l.PerClient == 0 && client.Addr().IsLoopback() {
		return math.MaxInt
	}
	return limit(l.PerClient, defaultPerClient)
}

// rate is how many requests the client may send in a second, and at once.
func (l Limits) rate(client netip.Prefix) (perSecond rate.Limit, burst int) {
	if l.Requests < 0 || l.Requests == 0 && client.Addr().IsLoopback() {
		return rate.Inf, 0
	}
	n := cmp.Or(l.Requests, defaultRequests)
	return rate.Limit(n), cmp.Or(l.Burst, min(n, math.MaxInt/burstSeconds)*burstSeconds)
}

func limit(configured, byDefault int) int {
	if configured < 0 {
		return math.MaxInt
	}
	return cmp.Or(configured, byDefault)
}

// clientOf is the client that an address belongs to. What cannot be read is one
// client together.
func clientOf(address string) netip.Prefix {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	ip, bits := at.Addr().Unmap().WithZone(""), 64
	if ip.Is4() || ip.IsLoopback() {
		bits = ip.BitLen()
	}
	return netip.PrefixFrom(ip, bits).Masked()
}

// limited turns away requests on connections that a client has too many of, and
// requests that come too fast.
func (s *Server) limited(next http.Handler) http.Handler {
	rates := newRates(s.Limits)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := clientOf(r.RemoteAddr)
		if g := guestOf(r.Context()); g != nil && g.over {
			w.Header().Set("Connection", "close")
			s.refuse(w, r, limitPerClient, time.Second)
			return
		}
		if wait := rates.take(client, time.Now()); wait > 0 {
			s.refuse(w, r, limitRequests, wait)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, what string, wait time.Duration) {
	s.turnedAway.note(what, r.RemoteAddr)
	retry := max(wait, time.Second)
	w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(retry.Seconds())), 10))
	if s.Limited == nil {
		http.Error(w, "too many requests: try again later", http.StatusTooManyRequests)
		return
	}
	s.Limited(w, r, retry)
}

// rates knows how fast clients have been of late. It is safe for concurrent use.
type rates struct {
	limits Limits

	mu      sync.Mutex
	clients *simplelru.LRU[netip.Prefix, *rate.Limiter]
}

func newRates(l Limits) *rates {
	clients, err := simplelru.NewLRU[netip.Prefix, *rate.Limiter](rememberedClients, nil)
	if err != nil {
		panic(err) // the size above is positive
	}
	return &rates{limits: l, clients: clients}
}

// take lets one request of the client pass, or tells how long it should have
// waited.
func (rs *rates) take(client netip.Prefix, now time.Time) time.Duration {
	perSecond, burst := rs.limits.rate(client)
	if perSecond == rate.Inf {
		return 0
	}
	rs.mu.Lock()
	limiter, ok := rs.clients.Get(client)
	if !ok {
		limiter = rate.NewLimiter(perSecond, burst)
		rs.clients.Add(client, limiter)
	}
	rs.mu.Unlock()
	reservation := limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// turnedAway counts what limits turned away, and logs it at most once a second:
// who is refused a lot must not fill the disk instead.
type turnedAway struct {
	door    string
	metrics *Metrics
	log     *slog.Logger

	line *rate.Sometimes
}

func (t *turnedAway) note(what, client string) {
	t.metrics.Limited(t.door, what)
	t.line.Do(func() { t.log.Warn("limit reached", "door", t.door, "limit", what, "client", client) })
}
