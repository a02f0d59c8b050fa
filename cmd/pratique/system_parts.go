package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/blobcache"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/config"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/garbage"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/serve"
	"github.com/pratique/pratique/internal/upstream"
	"github.com/pratique/pratique/internal/verdicts"
	"github.com/pratique/pratique/policies"
	"github.com/pratique/pratique/proxy"
)

// memoryVerdicts bounds the verdicts kept in the process, in bytes.
const memoryVerdicts = 24 << 20

// system is everything that serve runs.
type system struct {
	config   config.Config
	catalog  *catalog.Catalog
	audit    *audit.Trail
	gate     *gate.Gate
	garbage  *garbage.Collector
	cache    *blobcache.Cache // nil when no blobs of remote upstreams are kept
	auth     *auth.Service
	feeds    *feeds.Refresher
	proxy    *proxy.Proxy
	registry *serve.Server
	api      *serve.Server
	webhook  *admissionDoor          // nil when no cluster is answered here
	local    *localregistry.Registry // nil when there is no embedded upstream
	closers  []func() error          // in the order of opening
}

// assemble opens and connects the parts. What was opened is closed again when
// something fails.
func assemble(ctx context.Context, c config.Config, log *slog.Logger) (_ *system, err error) {
	s := &system{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	metrics := serve.NewMetrics()
	if err := s.bindDoors(metrics, log); err != nil {
		return nil, fmt.Errorf("%w (is another pratique running? choose another port with --set registry.listen=... or --set api.listen=...)", err)
	}
	cat, err := catalog.Open(ctx, c.Path("catalog.db"))
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, cat.Close)
	s.catalog, s.audit = cat, &audit.Trail{Catalog: cat, Log: log, Now: time.Now}
	data, err := advisory.OpenStore(feeds.IndexDir(c.DataDir))
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, data.Close)
	upstreams, err := s.openUpstreams(c, log)
	if err != nil {
		return nil, err
	}
	tiers, err := s.openVerdicts(c, cat, metrics, log)
	if err != nil {
		return nil, err
	}
	analyzer, err := layer.New(c.Analysis)
	if err != nil {
		return nil, err
	}
	s.feeds = &feeds.Refresher{DataDir: c.DataDir, Config: c.Feeds, Log: log, OnChange: s.dataChanged(log)}
	hosts := append(c.LocalHostnames(s.registry.Addr()), c.Registry.Hostnames...)
	if s.gate, err = gate.New(gate.Options{
		Config: c.Gate, Upstreams: upstreams, Catalog: cat, Verdicts: tiers, Data: data, Analyzer: analyzer, Syncing: s.syncing,
		Audit: s.audit, Nobody: auth.Anonymous, SpoolDir: c.Path("spool"), ReportURL: s.pagesURL(), Hosts: hosts, Metrics: metrics, Log: log, Now: time.Now,
	}); err != nil {
		return nil, err
	}
	documents, err := policyDocuments(c.Policy)
	if err != nil {
		return nil, err
	}
	if err := s.gate.LoadPolicies(ctx, documents, c.Policy.Active); err != nil {
		return nil, err
	}
	s.garbage = &garbage.Collector{Config: c.Storage.GC, Gate: s.gate, Catalog: cat, Local: s.local, Name: c.EmbeddedName(), Audit: s.audit, Log: log, Now: time.Now}
	metrics.FeedAge(func() map[string]time.Duration { return feedAges(data) })
	if c.Admission.Enabled {
		if s.webhook, err = openAdmission(c, judges{standings: s.gate, own: s.gate, home: s.gate, admissions: s.gate, basis: s.gate.Basis}, metrics, log); err != nil {
			return nil, err
		}
	}
	return s, s.openDoors(upstreams, metrics, log)
}

func (s *system) openUpstreams(c config.Config, log *slog.Logger) (gate.Upstreams, error) {
	if c.Storage.Cache > 0 && c.Remote() {
		cache, err := blobcache.Open(blobcache.Options{Dir: c.Path("cache"), Limit: int64(c.Storage.Cache), Log: log, Now: time.Now})
		if err != nil {
			return nil, err
		}
		s.cache = cache
	}
	var all gate.Upstreams
	for _, u := range c.Upstreams {
		up := &gate.Upstream{Name: u.Name, Prefix: u.Prefix, Default: u.Default}
		if u.Embedded {
			local, err := localregistry.Open(c.Path("registry"), localregistry.Options{Quota: c.Storage.Quota})
			if err != nil {
				return nil, err
			}
			s.local = local
			s.closers = append(s.closers, local.Close)
			up.Registry, up.Hostnames = local, c.LocalHostnames(s.registry.Addr())
		} else {
			remote, err := upstream.New(u.Config)
			if err != nil {
				return nil, err
			}
			s.closers = append(s.closers, remote.Close)
			up.Registry, up.Hostnames = remote, u.Config.Names()
			if s.cache != nil {
				up.Registry = s.cache.Through(remote, u.Name)
			}
			up.Library = u.Prefix == "docker.io" || strings.Contains(u.URL, "registry-1.docker.io")
		}
		all = append(all, up)
	}
	return all, nil
}

func (s *system) openVerdicts(c config.Config, cat *catalog.Catalog, metrics *serve.Metrics, log *slog.Logger) (*verdicts.Tiers, error) {
	t := &verdicts.Tiers{Memory: verdicts.NewMemory(memoryVerdicts), Durable: cat, Log: log, Looked: metrics.Lookup}
	if c.Redis.URL == "" {
		return t, nil
	}
	shared, err := verdicts.NewRedis(c.Redis, log)
	if err != nil {
		return nil, err
	}
	t.Shared = shared
	s.closers = append(s.closers, shared.Close)
	return t, nil
}

// policyDocuments are the packs that ship and those of the configured folder.
func policyDocuments(c config.Policy) ([][]byte, error) {
	packs, err := policies.All()
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for _, p := range packs {
		all = append(all, p.Raw)
	}
	if c.Dir == "" {
		return all, nil
	}
	if _, err := os.Stat(c.Dir); err != nil {
		return nil, fmt.Errorf("policy.dir: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(c.Dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("policy.dir: %w", err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("policy.dir: %w", err)
		}
		all = append(all, raw)
	}
	return all, nil
}

// parts are what runs for as long as serve does.
func (s *system) parts() []func(context.Context) error {
	all := []func(context.Context) error{s.gate.Run, s.proxy.Run, s.feeds.Run, s.auth.Run, s.garbage.Run, s.registry.Run, s.api.Run}
	if s.cache != nil {
		all = append(all, s.cache.Run)
	}
	if s.local != nil {
		all = append(all, s.local.Run)
	}
	if s.webhook != nil {
		all = append(all, s.webhook.parts...)
	}
	return all
}

// close closes what was opened, the last first.
func (s *system) close() error {
	var err error
	for i := len(s.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, s.closers[i]())
	}
	return err
}

func (s *system) pagesURL() string {
	if u := strings.TrimRight(s.config.API.ExternalURL, "/"); u != "" {
		return u
	}
	return s.api.URL()
}

func (s *system) policyName() string {
	b, err := s.gate.ActivePolicy()
	if err != nil {
		return "none"
	}
	return b.Name
}

// dataChanged takes new data into use as soon as a sync has built them.
func (s *system) dataChanged(log *slog.Logger) func(context.Context, feeds.Result) {
	return func(ctx context.Context, _ feeds.Result) {
		if err := s.gate.Reload(ctx); err != nil && ctx.Err() == nil {
			log.Error("vulnerability data not taken into use", "error", err)
		}
	}
}

// syncing says what the first sync is doing, or "".
func (s *system) syncing() string {
	state := s.feeds.State()
	if !state.Running || !state.First {
		return ""
	}
	return progressText(state.Progress)
}

func feedAges(data *advisory.Store) map[string]time.Duration {
	ages := map[string]time.Duration{}
	snapshot, ok := data.Current()
	if !ok {
		return ages
	}
	defer snapshot.Release()
	for _, c := range snapshot.Coverages() {
		ages[c.Ecosystem] = time.Since(c.Synced)
	}
	return ages
}
