// Package gate decides what may pass. It joins analysis, data, policy and the
// verdict stores, and it alone answers "what if we cannot know".
//
// It knows no HTTP: the doors (proxy, api) turn its decisions into answers.
// Start with Gate.Pull (decide.go) for manifests and Gate.Blob (blobs.go) for
// what they name; judge.go makes verdicts, subject.go the analysis behind them,
// follow.go the analysis of what is being pushed, renew.go what happens when
// the data change.
package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/lru"
	"github.com/pratique/pratique/internal/serve"
	"github.com/pratique/pratique/internal/spool"
	"github.com/pratique/pratique/internal/verdicts"
)

// Options are what a Gate is made of.
type Options struct {
	Config    Config // at the start; Gate.Config has the one in force
	Upstreams Upstreams
	Catalog   *catalog.Catalog
	Verdicts  *verdicts.Tiers
	Data      *advisory.Store
	Analyzer  *layer.Analyzer // reads layers
	// Syncing tells a person what the first sync of the vulnerability data is
	// doing ("Debian 40 %"); "" when none is running.
	Syncing  func() string
	SpoolDir string // where uploads wait for their analysis
	Audit    *audit.Trail
	// Nobody is the name of clients that did not say who they are.
	Nobody string
	// Hosts are the names of the proxy itself, as clusters write them in front of
	// an image ("registry.example.com:5000").
	Hosts []string
	// ReportURL is the address of the pages, without a slash at its end.
	ReportURL string
	Metrics   *serve.Metrics
	Log       *slog.Logger
	Now       func() time.Time
}

// Gate is safe for concurrent use. Run must be running for anything new to be
// analysed.
type Gate struct {
	Options
	crew   crew
	active atomic.Pointer[activeBundle]
	config atomic.Pointer[Config]

	excepting sync.Mutex // one change of the exceptions at a time
	excepted  atomic.Pointer[exceptions]
	left      chan struct{} // a cluster has left exceptions in Redis

	running sync.Mutex
	runs    map[string]json.RawMessage // what runs, by cluster

	images    *flights                 // analyses of whole images, by manifest
	layers    *flights                 // analyses of layers, by the digest of the stored bytes
	judging   *flights                 // evaluations, by manifest and selection
	wishes    *wishes                  // inquiries that are being fulfilled
	following chan struct{}            // uploads being analysed while they stream
	reading   map[string]chan struct{} // layers being read, by upstream: a slow one holds up only its own
	reloading sync.Mutex               // one renewal at a time
	tags      resolver
	tagged    tagLocks                           // tags being moved or deleted
	stored    tagLocks                           // manifests being stored or deleted; taken after tagged
	named     *lru.Cache[binding, digest.Digest] // by which digest tags were pushed, as the catalog has it
	wanted    *expirable.LRU[member, struct{}]   // manifests that pushers have just asked for

	subjects  *lru.Cache[digest.Digest, inventory.Subject]
	inventory *lru.Cache[digest.Digest, *inventory.Image]
	manifests *lru.Cache[digest.Digest, *image.Manifest]
	members   *lru.Cache[member, struct{}]       // as the catalog has them
	bindings  *lru.Cache[binding, digest.Digest] // as the catalog has them
	// forgetting is held while a manifest or tag is forgotten, and shared by those
	// who put something into members and bindings.
	forgetting sync.RWMutex
	forgotten  atomic.Int64 // manifests that were; what was read before the last is read again
	reports    *lru.Cache[digest.Digest, *inventory.Report]
	grants     *expirable.LRU[grant, struct{}]
	keyed      *lru.Cache[digest.Digest, struct{}] // images whose keys are in the catalog
	selected   *lru.Cache[string, struct{}]        // selections that are in the catalog
	spool      *spool.Budget
}

type activeBundle struct {
	*bundle.Bundle
	raw   []byte
	epoch int64
}

// Sizes of the caches: bytes, roughly. Together they stay far below what serve
// may use at its peak.
const (
	inventoryCache = 16 << 20
	manifestCache  = 8 << 20
	reportCache    = 24 << 20
	maxGrants      = 100_000
	maxKnown       = 100_000 // entries of the caches that are counted, not weighed
	spoolLimit     = 4 << 30
)

// New makes a gate. The active bundle comes from LoadPolicies.
func New(o Options) (*Gate, error) {
	spoolDir := filepath.Clean(o.SpoolDir)
	if err := os.MkdirAll(spoolDir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool folder: %w", err)
	}
	g := &Gate{
		Options: o,
		images:  newFlights(), layers: newFlights(), judging: newFlights(),
		wishes:    newWishes(),
		runs:      map[string]json.RawMessage{},
		left:      make(chan struct{}, 1),
		tags:      resolver{all: map[tagKey]*tagQueue{}},
		following: make(chan struct{}, maxFollowing),
		reading:   map[string]chan struct{}{},
		subjects:  lru.New[digest.Digest](maxKnown, lru.Each[inventory.Subject]),
		inventory: lru.New[digest.Digest](inventoryCache, func(im *inventory.Image) int { return 1024 + 512*len(im.Packages) }),
		manifests: lru.New[digest.Digest](manifestCache, func(m *image.Manifest) int { return 1024 + 3*len(m.Raw) }),
		members:   lru.New[member](maxKnown, lru.Each[struct{}]),
		bindings:  lru.New[binding](maxKnown, lru.Each[digest.Digest]),
		reports:   lru.New[digest.Digest](reportCache, reportCost),
		grants:    expirable.NewLRU[grant, struct{}](maxGrants, nil, o.Config.Grant),
		named:     lru.New[binding](maxKnown, lru.Each[digest.Digest]),
		wanted:    expirable.NewLRU[member, struct{}](10_000, nil, time.Minute),
		keyed:     lru.New[digest.Digest](maxKnown, lru.Each[struct{}]),
		selected:  lru.New[string](10_000, lru.Each[struct{}]),
		spool:     &spool.Budget{Dir: spoolDir, Limit: spoolLimit},
	}
	for _, u := range o.Upstreams {
		g.reading[u.Name] = make(chan struct{}, maxReading)
	}
	g.config.Store(&o.Config)
	return g, nil
}

// Config returns the configuration in force.
func (g *Gate) Config() Config { return *g.config.Load() }

// Reconfigure puts another configuration in force, at once and for every
// request from now on. The time of grants stays as it was at the start.
func (g *Gate) Reconfigure(ctx context.Context, c Config) {
	g.config.Store(&c)
	g.excepting.Lock()
	err := g.loadExceptions(ctx)
	g.excepting.Unlock()
	if err != nil {
		g.Log.Error("exceptions not read again", "error", err)
	}
	g.publish(ctx)
}

func reportCost(r *inventory.Report) int {
	return 1024 + r.Entries.Bytes() + 400*len(r.Packages) + 100*len(r.Owned)
}

// Run owns all work that outlives a request: analyses, renewal, following other
// processes. It ends when ctx ends and all work has stopped.
func (g *Gate) Run(ctx context.Context) error {
	g.crew.run(ctx, func(ctx context.Context) {
		if g.Verdicts.Shared != nil {
			g.crew.start(func(ctx context.Context) {
				g.Verdicts.Shared.Follow(ctx, g.Verdicts.Memory.Forget, g.poke)
			})
			g.crew.start(g.publishLoop)
			g.crew.start(g.fulfilLoop)
		}
		g.crew.start(g.releaseLoop)
		g.crew.start(g.renewEngine) // may read many layers: data must not wait for it
		g.renewLoop(ctx)
	})
	return nil
}

// Ready says why the gate cannot answer yet, or nil.
func (g *Gate) Ready(ctx context.Context) error {
	if err := g.Catalog.Ping(ctx); err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	if g.active.Load() == nil {
		return fmt.Errorf("no policy bundle is active")
	}
	snapshot, ok := g.Data.Current()
	if !ok {
		return errNoData(g.Syncing())
	}
	snapshot.Release()
	return nil
}
