package main_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/faultnet"
	"github.com/pratique/pratique/internal/registrytest"
)

// The environment of TestChaos.
const (
	chaosSeed = "PRATIQUE_CHAOS_SEED" // a number; default: a new one, which is printed
	chaosTime = "PRATIQUE_CHAOS_TIME" // how long faults go on, as Go text; default 45s
)

const (
	workers    = 6
	quietEvery = 20 * time.Second // a quiet point, at which everything is checked
	calm       = time.Second      // without faults or operations, before a check
)

// chaos is one run: the real program with the embedded registry, a remote one
// and a Redis, all behind links that break; workers that push, pull and delete;
// a nemesis that breaks things by a seed; and the history that is checked.
type chaos struct {
	t       *testing.T
	seed    uint64
	history *history
	world   *world
	workers []*worker

	server                *server // the running one; nil while killed
	front, upLink, shared *faultnet.Proxy
	redis                 *clients.RedisServer
	upstream              string // the remote registry's URL, around everything
	liar                  *liar
	disk                  string // the small disk that holds dataDir; "" without root
	dataDir, feedDir      string
	settings              []string
	version               int // of the vulnerability data in feedDir
	vain                  int // waits of the checks that ended in a violation

	pause sync.RWMutex // held for reading by an operation, for writing at a quiet point
	heavy atomic.Bool  // images that take long to analyse are pushed

	mu     sync.Mutex
	public []publication
}

// publication is an image in a repository, for everybody to pull.
type publication struct {
	repo     string
	specimen *specimen
}

// TestChaos kills, stops, cuts, starves and deceives the real program while
// images are pushed and pulled, and holds what it answered against what it must
// never do. See docs/reliability.md.
func TestChaos(t *testing.T) {
	seed, span := rand.Uint64(), 45*time.Second
	var err error
	if text := taken(t, chaosSeed); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		fatal(t, err)
	}
	if text := taken(t, chaosTime); text != "" {
		span, err = time.ParseDuration(text)
		fatal(t, err)
	}
	t.Logf("%s=%d %s=%s", chaosSeed, seed, chaosTime, span)
	c := newChaos(t, seed)
	before := c.gauges()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for _, w := range c.workers {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.step()
				}
			}
		})
	}
	c.rampage(span)
	close(stop)
	group.Wait()
	c.quiet(true)
	c.settled(before)
	c.stored()
	c.history.report(t, seed)
}

// taken returns a variable of the environment and hides it from the program,
// which takes what begins with its name for a setting.
func taken(t *testing.T, name string) string {
	value := os.Getenv(name)
	t.Setenv(name, "") // puts it back after the test
	fatal(t, os.Unsetenv(name))
	return value
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{t: t, seed: seed, history: newHistory(), world: newWorld(seed)}
	c.redis = clients.Redis(t)
	c.shared = faultnet.New(t, c.redis.Addr, seed+1)
	c.upstream = registrytest.StartDistribution(t, registrytest.Options{}).URL
	c.liar = newLiar(t, c.upstream, seed)
	c.upLink = faultnet.New(t, strings.TrimPrefix(c.liar.url, "http://"), seed+2)
	c.front = faultnet.New(t, "127.0.0.1:1", seed+3) // until the program runs
	home := t.TempDir()
	c.disk = smallDisk(t)
	if c.disk != "" {
		home = c.disk
	}
	c.dataDir, c.feedDir = filepath.Join(home, "data"), filepath.Join(t.TempDir(), "osv")
	writeFeed(t, c.feedDir, c.version)
	c.settings = append(smallFeed(c.feedDir), "--set", "redis.url=redis://"+c.shared.Addr(), "--set", "gate.wait=5s", "--set", "log.level=warn", "--set",
		fmt.Sprintf(`upstreams=[{name: local, embedded: true, default: true}, {name: remote, prefix: %s, url: "http://%s", idle_timeout: 5s}]`, remoteName, c.upLink.Addr()))
	for id := range workers {
		c.workers = append(c.workers, newWorker(c, id))
	}
	c.start()
	return c
}

// start runs the program on the data of the one before, and leads clients to it.
func (c *chaos) start() {
	c.server = serve(c.t, c.dataDir, c.settings...)
	c.front.SetTarget(c.server.registry)
}

func (c *chaos) publish(repo string, x *specimen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.public = append(c.public, publication{repo, x})
}

func (c *chaos) published(r *rand.Rand) *publication {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.public) == 0 {
		return nil
	}
	return &c.public[r.IntN(len(c.public))]
}

// smallDisk mounts a disk that can be filled. Without root that fault is left
// out, loudly.
func smallDisk(t *testing.T) string {
	dir := ""
	t.Run("full disk", func(t *testing.T) {
		if os.Geteuid() != 0 {
			clients.Skip(t, "full-disk", "a small tmpfs needs root")
		}
	})
	if os.Geteuid() != 0 {
		return ""
	}
	dir, err := os.MkdirTemp("", "pratique-chaos-")
	fatal(t, err)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512m,mode=0700"); err != nil {
		t.Logf("FULL DISK NOT TESTED: mount a small tmpfs: %v", err)
		fatal(t, os.Remove(dir))
		return ""
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
			return
		}
		fatal(t, os.Remove(dir))
	})
	return dir
}

// liar stands before the remote registry and, when told to, cuts answers short
// in a way that looks whole.
type liar struct {
	url  string
	lies atomic.Bool
	told atomic.Int64

	mu     sync.Mutex
	random *rand.Rand
}

func newLiar(t *testing.T, upstream string, seed uint64) *liar {
	target, err := url.Parse(upstream)
	fatal(t, err)
	l := &liar{random: rand.New(rand.NewPCG(seed, 77))}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: l.shorten,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			// The proxy panics with this when its client has gone; that cuts the
			// connection, as it should.
			if p := recover(); p != nil {
				panic(http.ErrAbortHandler)
			}
		}()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

// shorten makes every second good answer with a body one that ends early.
func (l *liar) shorten(r *http.Response) error {
	l.mu.Lock()
	honest := !l.lies.Load() || l.random.IntN(2) == 0 || r.ContentLength < 2
	part := l.random.Float64()
	l.mu.Unlock()
	if honest || r.Request.Method != http.MethodGet || r.StatusCode != http.StatusOK {
		return nil
	}
	l.told.Add(1)
	// At a block of tar, where an archive without compression looks finished.
	size := int64(part*float64(r.ContentLength)) &^ 511
	r.Body = &limitedBody{r.Body, size}
	r.ContentLength = size
	r.Header.Set("Content-Length", strconv.FormatInt(size, 10))
	return nil
}
