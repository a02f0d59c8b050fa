// Package gatetest makes a whole gate for tests: catalog, embedded registry,
// verdict stores, policies and a small set of vulnerability data, all real and
// in a temporary folder.
//
// It knows no HTTP: doors are put in front of it by their own tests. Start with
// New.
package gatetest

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/garbage"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/localregistry"
	"github.com/pratique/pratique/internal/serve"
	"github.com/pratique/pratique/internal/verdicts"
	"github.com/pratique/pratique/policies"
)

// System is a running gate and what it stands on.
type System struct {
	Gate      *gate.Gate
	Catalog   *catalog.Catalog
	Local     *localregistry.Registry
	Upstreams gate.Upstreams
	Metrics   *serve.Metrics
	Log       *slog.Logger
	Dir       string
	Clock     *Clock
	Audit     *audit.Trail
}

// Options change what New makes.
type Options struct {
	Dir       string       // data folder; "": a temporary one
	Config    *gate.Config // nil: gate.Defaults
	Redis     string       // address; "": none
	NoData    bool         // no vulnerability data at all
	Upstreams gate.Upstreams
	Log       *slog.Logger // nil: quiet
}

// Clock is the time that the gate sees. It can be moved; it is safe for
// concurrent use.
type Clock struct {
	mu    sync.Mutex
	moved time.Duration
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.moved)
}

// Move moves the clock.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}

// New starts a gate that stops with the test.
func New(t testing.TB, o Options) *System {
	t.Helper()
	s := &System{Dir: o.Dir, Log: o.Log, Metrics: serve.NewMetrics(), Clock: &Clock{}}
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.open(t, o)
	if !o.NoData {
		WriteData(t, s.Dir, 1, Advisories())
	}
	config := gate.Defaults()
	if o.Config != nil {
		config = *o.Config
	}
	data, err := advisory.OpenStore(filepath.Join(s.Dir, "vulndb"))
	check(t, err)
	t.Cleanup(func() { check(t, data.Close()) })
	tiers := &verdicts.Tiers{Memory: verdicts.NewMemory(1 << 20), Durable: s.Catalog, Log: s.Log, Looked: s.Metrics.Lookup}
	if o.Redis != "" {
		tiers.Shared, err = verdicts.NewRedis(verdicts.RedisConfig{URL: "redis://" + o.Redis}, s.Log)
		check(t, err)
		t.Cleanup(func() { check(t, tiers.Shared.Close()) })
	}
	s.Audit = &audit.Trail{Catalog: s.Catalog, Log: s.Log, Now: s.Clock.Now}
	analyzer, err := layer.New(layer.DefaultConfig())
	check(t, err)
	s.Gate, err = gate.New(gate.Options{
		Analyzer: analyzer, Audit: s.Audit, Nobody: auth.Anonymous,
		Config: config, Upstreams: s.Upstreams, Catalog: s.Catalog, Verdicts: tiers, Data: data, Syncing: func() string { return "" },
		Hosts: []string{"pratique.test:5000"}, SpoolDir: filepath.Join(s.Dir, "spool"), ReportURL: "http://127.0.0.1:8228", Metrics: s.Metrics, Log: s.Log, Now: s.Clock.Now,
	})
	check(t, err)
	s.run(t)
	return s
}

// Collect removes garbage, and tells what.
func (s *System) Collect(ctx context.Context) (any, error) { return s.Collector().Collect(ctx) }

// Collector removes garbage as serve does.
func (s *System) Collector() *garbage.Collector {
	return &garbage.Collector{Config: garbage.Defaults(), Gate: s.Gate, Catalog: s.Catalog, Local: s.Local, Name: "local", Audit: s.Audit, Log: s.Log, Now: s.Clock.Now}
}

func (s *System) open(t testing.TB, o Options) {
	t.Helper()
	var err error
	s.Catalog, err = catalog.Open(context.Background(), filepath.Join(s.Dir, "catalog.db"))
	check(t, err)
	t.Cleanup(func() { check(t, s.Catalog.Close()) })
	s.Local, err = localregistry.Open(filepath.Join(s.Dir, "registry"), localregistry.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, s.Local.Close()) })
	s.Upstreams = append(gate.Upstreams{{
		Name: "local", Default: true, Hostnames: []string{"127.0.0.1:5000", "localhost:5000"}, Registry: s.Local,
	}}, o.Upstreams...)
}

// run loads the packs that ship and runs the gate until the test ends.
func (s *System) run(t testing.TB) {
	t.Helper()
	packs, err := policies.All()
	check(t, err)
	var documents [][]byte
	for _, p := range packs {
		documents = append(documents, p.Raw)
	}
	ctx, cancel := context.WithCancel(context.Background())
	check(t, s.Gate.LoadPolicies(ctx, documents, policies.Default))
	done := make(chan error, 1)
	go func() { done <- s.Gate.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
	})
}

// WriteData puts a revision of vulnerability data into a data folder, synced
// just now.
func WriteData(t testing.TB, dir string, sequence uint64, records []advisory.Advisory) {
	t.Helper()
	b, err := advisory.NewBuilder(filepath.Join(dir, "vulndb"))
	check(t, err)
	counts := map[string]int{}
	for _, a := range records {
		check(t, b.Add(a))
		counts[a.Ecosystem]++
	}
	var coverage []advisory.Coverage
	now := time.Now().UTC()
	for ecosystem, n := range counts {
		coverage = append(coverage, advisory.Coverage{Ecosystem: ecosystem, Source: "test", Records: n, Newest: now, Synced: now})
	}
	b.SetCoverage(coverage)
	_, _, err = b.Finish(sequence, now)
	check(t, err)
}

// Advisories are the vulnerabilities of the ready-made images of imagetest:
// openssl of Alpine 3.20 before 3.3.6-r0, and lodash before 4.17.21.
func Advisories() []advisory.Advisory {
	return []advisory.Advisory{
		record("ALPINE-CVE-2025-15467", "CVE-2025-15467", "Alpine:v3.20", "openssl", "3.3.6-r0", "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H"),
		record("ALPINE-CVE-2024-58251", "CVE-2024-58251", "Alpine:v3.20", "busybox", "1.36.1-r31", "CVSS:3.1/AV:L/AC:H/PR:N/UI:R/S:U/C:N/I:N/A:L"),
		record("GHSA-p6mc-m468-83gw", "CVE-2020-8203", "npm", "lodash", "4.17.19", "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:H/A:H"),
		record("PYSEC-2023-74", "CVE-2023-32681", "PyPI", "requests", "2.31.0", "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:C/C:H/I:N/A:N"),
		record("GO-2023-2102", "CVE-2023-39325", "Go", "golang.org/x/net", "0.17.0", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"),
	}
}

func record(id, cve, ecosystem, pkg, fixed, cvss string) advisory.Advisory {
	kind := "ECOSYSTEM"
	if ecosystem == "npm" || ecosystem == "Go" {
		kind = "SEMVER"
	}
	return advisory.Advisory{
		ID: id, Aliases: []string{cve}, Ecosystem: ecosystem, Package: pkg, Summary: "a vulnerability of " + pkg, URL: "https://osv.dev/vulnerability/" + id,
		Published: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), Modified: time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC), CVSS: []string{cvss},
		Ranges: []advisory.Range{{Type: kind, Events: []advisory.Event{{Introduced: "0"}, {Fixed: fixed}}}},
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
