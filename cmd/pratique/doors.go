package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pratique/pratique/internal/api"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/config"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
	"github.com/pratique/pratique/proxy"
)

// bindDoors opens the ports.
func (s *system) bindDoors(metrics *serve.Metrics, log *slog.Logger) error {
	door := func(name string, d config.Door) *serve.Server {
		return &serve.Server{Name: name, Listen: d.Listen, TLS: d.TLS, Limits: d.Limits, Drain: drain, Metrics: metrics, Log: log}
	}
	s.registry, s.api = door("registry", s.config.Registry.Door), door("api", s.config.API.Door)
	s.registry.Limited, s.api.Limited = proxy.Limited, api.Limited
	return errors.Join(s.registry.Bind(), s.api.Bind())
}

// openDoors puts the handlers behind the ports.
func (s *system) openDoors(upstreams gate.Upstreams, metrics *serve.Metrics, log *slog.Logger) error {
	c := s.config
	tokens, err := auth.New(c.Auth, c.Loopback())
	if err != nil {
		return err
	}
	tokens.Log, tokens.Resolve = log, upstreams.Names
	s.auth = tokens
	s.proxy = &proxy.Proxy{
		Gate: s.gate, Upstreams: upstreams, Catalog: s.catalog, Auth: tokens, OpenLoopback: c.Loopback(),
		Audit: s.audit, MaxBlob: int64(c.Registry.MaxBlob), Log: log, Now: time.Now,
	}
	s.registry.Handler = serve.Recorded("registry", log, metrics, nil, s.proxy.Handler())
	pages := &api.API{
		Gate: s.gate, Catalog: s.catalog, Metrics: metrics, Feeds: func() ([]feeds.Status, error) { return feeds.List(c.DataDir) },
		Version: versionText(), RegistryHost: s.registry.Addr(), OpenLoopback: c.Loopback(),
		Auth: tokens, Audit: s.audit, Collect: func(ctx context.Context) (any, error) { return s.garbage.Collect(ctx) }, Log: log, Now: time.Now,
	}
	quiet := map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true, "/health": true}
	s.api.Handler = serve.Recorded("api", log, metrics, quiet, pages.Handler())
	return nil
}

// reload puts in force what of a changed configuration can be without a restart.
func (s *system) reload(ctx context.Context, c config.Config) error {
	if err := errors.Join(s.registry.Reload(), s.api.Reload()); err != nil { // else the certificates in force stay
		return err
	}
	if err := s.auth.Reconfigure(c.Auth); err != nil {
		return err
	}
	if s.webhook != nil {
		if err := s.webhook.reload(ctx, c); err != nil {
			return err
		}
	}
	s.gate.Reconfigure(ctx, c.Gate)
	return nil
}
