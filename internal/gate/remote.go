package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/lru"
	"github.com/pratique/pratique/internal/verdicts"
)

// errPolicyUnknown: there is no bundle of that id.
var errPolicyUnknown = errors.New("there is no such policy")

// Remote answers inquiries from Redis alone, in a process beside those that
// judge. What is not there it asks them for. It is safe for concurrent use.
type Remote struct {
	shared *verdicts.Reader
	parsed *lru.Cache[string, *bundle.Bundle] // by hash
	last   atomic.Pointer[understood]
	now    func() time.Time
}

// NewRemote makes a Remote.
func NewRemote(shared *verdicts.Reader, now func() time.Time) *Remote {
	return &Remote{shared: shared, parsed: lru.New[string](100, lru.Each[*bundle.Bundle]), now: now}
}

// published are the rules in force, in the words of verdicts.Active.Gate.
type published struct {
	Config    publishedConfig      `json:"config"`
	Upstreams []publishedUpstream  `json:"upstreams"`
	Hosts     []string             `json:"hosts"`  // of the proxy
	Report    string               `json:"report"` // address of the pages
	Synced    map[string]time.Time `json:"synced"` // by ecosystem
	// Exceptions are those that hold beside any bundle.
	Exceptions []bundle.Exception `json:"exceptions,omitempty"`
}

type publishedConfig struct {
	Defaults   Settings      `json:"defaults"`
	Rules      []Rule        `json:"rules"`
	MaxDataAge time.Duration `json:"max_data_age"`
}

type publishedUpstream struct {
	Name      string   `json:"name"`
	Prefix    string   `json:"prefix,omitempty"`
	Default   bool     `json:"default,omitempty"`
	Hostnames []string `json:"hostnames,omitempty"`
	Library   bool     `json:"library,omitempty"`
}

// publish lets processes that have Redis alone know which rules are in force. A
// Redis that is away is told by one of the next rounds.
func (g *Gate) publish(ctx context.Context) {
	active := g.active.Load()
	if g.Verdicts.Shared == nil || active == nil {
		return
	}
	a := verdicts.Active{Epoch: active.epoch, Bundle: active.ID, Bundles: map[string]string{}}
	documents := map[string][]byte{}
	stored, err := g.Catalog.Bundles(ctx)
	for _, s := range stored {
		if b, err := bundle.Parse(s.Raw); err == nil {
			a.Bundles[b.ID] = b.Hash
			documents[b.Hash] = s.Raw
		}
	}
	a.Bundles[active.ID], documents[active.Hash] = active.Hash, active.raw
	if err == nil {
		a.Gate, err = json.Marshal(g.published())
	}
	if err == nil {
		err = g.Verdicts.Shared.Publish(ctx, a, documents)
	}
	if err != nil && ctx.Err() == nil {
		g.Log.Debug("active policy not published", "error", err)
	}
}

func (g *Gate) published() published {
	c := g.Config()
	p := published{
		Config: publishedConfig{c.Settings, c.Rules, c.MaxDataAge},
		Hosts:  g.Hosts, Report: g.ReportURL, Synced: map[string]time.Time{}, Exceptions: g.holding(g.Exceptions()),
	}
	for _, u := range g.Upstreams {
		p.Upstreams = append(p.Upstreams, publishedUpstream{u.Name, u.Prefix, u.Default, u.Hostnames, u.Library})
	}
	if snapshot, ok := g.Data.Current(); ok {
		defer snapshot.Release()
		for _, c := range snapshot.Coverages() {
			p.Synced[c.Ecosystem] = c.Synced
		}
	}
	return p
}

// publishInterval is how often the rules are published although nothing has
// changed: for a Redis that has lost them, and the age of the data.
const publishInterval = 5 * time.Second

// publishLoop takes what clusters have left, and publishes, until ctx ends.
func (g *Gate) publishLoop(ctx context.Context) {
	tick := time.NewTicker(publishInterval)
	defer tick.Stop()
	taken := takings{}
	for {
		taken.take(ctx, g)
		g.publish(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-g.left:
		}
	}
}

// inform lets processes that have Redis alone know what a manifest is, and which
// tags stand for it.
func (g *Gate) inform(ctx context.Context, t Target, m *image.Manifest) {
	if g.Verdicts.Shared == nil {
		return
	}
	f, err := g.factOf(ctx, t, m)
	if err == nil && (f.Index || f.Kind != "") {
		g.Verdicts.ShareFact(ctx, manifestFact(m.Digest), f)
	}
	var tags []string
	if err == nil {
		tags, err = g.Catalog.TagsOf(ctx, t.Key(), m.Digest)
	}
	if err != nil {
		g.Log.Warn("image not shared", "manifest", m.Digest, "error", err)
		return
	}
	g.Verdicts.ShareFact(ctx, tagsFact(t, m.Digest), tags)
}

func manifestFact(d digest.Digest) string { return "manifest:" + d.String() }

func tagsFact(t Target, d digest.Digest) string {
	return "tags:" + t.Upstream.Name + "/" + t.Repository + "@" + d.String()
}

// Standing says how an image stands, by what Redis knows.
func (r *Remote) Standing(ctx context.Context, i Inquiry) Standing {
	a, err := r.assessor(ctx)
	if err != nil {
		return cannotSay(i.Digest, err)
	}
	return a.standing(ctx, i)
}

// Basis changes with everything that can change an answer but the image, as far
// as it is published; "" while that cannot be said.
func (r *Remote) Basis(ctx context.Context) string {
	active, err := r.shared.Active(ctx)
	if err != nil || active == nil {
		return ""
	}
	raw, err := json.Marshal(active)
	if err != nil {
		return ""
	}
	return digest.FromBytes(raw).String()
}

// Want asks the processes that judge for an image.
func (r *Remote) Want(ctx context.Context, i Inquiry) error {
	a, err := r.assessor(ctx)
	if err != nil {
		return err
	}
	if _, _, err := a.rules.place(i.Reference); err != nil {
		return fmt.Errorf("%w: %w", errUnmapped, err)
	}
	return r.shared.Want(ctx, wish(i), i)
}

// errNothingPublished: no process that judges has said yet what is in force.
var errNothingPublished = errors.New("no pratique has published its rules")

func (r *Remote) assessor(ctx context.Context) (*assessor, error) {
	active, err := r.shared.Active(ctx)
	if err == nil && active == nil {
		err = errNothingPublished
	}
	if err != nil {
		return nil, err
	}
	if last := r.last.Load(); last != nil && (last.active == active || same(last.active, active)) {
		return last.assessor, nil
	}
	a, err := r.read(active)
	if err == nil {
		r.last.Store(&understood{active, a})
	}
	return a, err
}

// same tells whether two publications say the same: each is read anew from Redis
// every half second.
func same(a, b *verdicts.Active) bool {
	return a.Epoch == b.Epoch && a.Bundle == b.Bundle && maps.Equal(a.Bundles, b.Bundles) && bytes.Equal(a.Gate, b.Gate)
}

// understood is what was published last, taken apart.
type understood struct {
	active   *verdicts.Active
	assessor *assessor
}

func (r *Remote) read(active *verdicts.Active) (*assessor, error) {
	var p published
	if err := json.Unmarshal(active.Gate, &p); err != nil {
		return nil, fmt.Errorf("read the published rules: %w", err)
	}
	// One that is not understood here excepts nothing.
	beside, _ := bundle.NewExceptions(p.Exceptions)
	var us Upstreams
	for _, u := range p.Upstreams {
		us = append(us, &Upstream{Name: u.Name, Prefix: u.Prefix, Default: u.Default, Hostnames: u.Hostnames, Library: u.Library})
	}
	return &assessor{known: &distant{r, p.Synced, p.Config.MaxDataAge}, now: r.now, rules: &rules{
		bundle:    func(ctx context.Context, id string) (*bundle.Bundle, error) { return r.bundle(ctx, active, id) },
		beside:    beside,
		config:    Config{Settings: p.Config.Defaults, Rules: p.Config.Rules},
		upstreams: us, hosts: p.Hosts, report: p.Report,
	}}, nil
}

func (r *Remote) bundle(ctx context.Context, active *verdicts.Active, id string) (*bundle.Bundle, error) {
	if id == "" {
		id = active.Bundle
	}
	hash := active.Bundles[id]
	if hash == "" {
		return nil, fmt.Errorf("%w: %q", errPolicyUnknown, id)
	}
	if b, ok := r.parsed.Get(hash); ok {
		return b, nil
	}
	raw, err := r.shared.Bundle(ctx, hash)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, errNothingPublished
	}
	b, err := bundle.Parse(raw)
	if err == nil {
		r.parsed.Put(hash, b)
	}
	return b, err
}

// distant is what a process knows that has Redis alone.
type distant struct {
	remote *Remote
	synced map[string]time.Time
	maxAge time.Duration
}

func (d *distant) fact(ctx context.Context, _ Target, m digest.Digest) (*fact, error) {
	return verdicts.Fact[fact](ctx, d.remote.shared, manifestFact(m))
}

func (d *distant) tags(ctx context.Context, t Target, m digest.Digest) ([]string, error) {
	tags, err := verdicts.Fact[[]string](ctx, d.remote.shared, tagsFact(t, m))
	if tags == nil {
		return nil, err
	}
	return *tags, err
}

func (d *distant) verdict(ctx context.Context, m digest.Digest, sel bundle.Selection, _ bundle.Request) (*policy.Verdict, error) {
	v, err := d.remote.shared.Verdict(ctx, m, sel.Hash)
	if err != nil {
		return nil, err
	}
	now := d.remote.now()
	if !holds(v, now) {
		return nil, errPending
	}
	err = recent(v, now, d.maxAge, func(feed string) (time.Time, bool) {
		at, ok := d.synced[feed]
		return at, ok
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// wish names what is the same wish. Others may be reading the caller's platforms.
func wish(i Inquiry) string {
	i.Platforms = slices.Sorted(slices.Values(i.Platforms))
	raw, _ := json.Marshal(i) // strings alone
	return digest.FromBytes(raw).Encoded()
}
