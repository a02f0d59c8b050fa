// Package garbage removes what nothing needs any more: manifests without a name,
// blobs of the embedded registry, reports and records of the catalog. It does so
// while pushes and pulls go on.
//
// It decides nothing about images. Start with Collector.
package garbage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/localregistry"
)

// Config says what is removed, and when.
type Config struct {
	// Interval is the time between two collections. Default 24h.
	Interval time.Duration `yaml:"interval"`
	// Grace is how long what nothing names is kept, because a push that will name
	// it may be under way. Default 24h, at least 1h.
	Grace time.Duration `yaml:"grace"`
	// Untagged is how long a manifest of the embedded registry is kept that has
	// no tag, belongs to no index, refers to nothing that is there and is not in
	// quarantine. Default 0s: for ever, until somebody deletes it.
	Untagged time.Duration `yaml:"untagged"`
	// Audit is how long entries of the audit trail are kept, two million at the
	// most. Default 2160h.
	Audit time.Duration `yaml:"audit"`
}

// Defaults returns the configuration that holds when nothing is configured.
func Defaults() Config {
	return Config{Interval: 24 * time.Hour, Grace: 24 * time.Hour, Audit: 2160 * time.Hour}
}

// Validate checks every value.
func (c Config) Validate() error {
	var problems []error
	if c.Interval < time.Minute {
		problems = append(problems, errors.New("storage.gc.interval: at least 1m"))
	}
	if c.Grace < time.Hour {
		problems = append(problems, errors.New("storage.gc.grace: at least 1h, or what is being pushed would be collected"))
	}
	if c.Untagged != 0 && c.Untagged < c.Grace {
		problems = append(problems, errors.New("storage.gc.untagged: 0, or no shorter than storage.gc.grace"))
	}
	if c.Audit < 24*time.Hour {
		problems = append(problems, errors.New("storage.gc.audit: at least 24h"))
	}
	return errors.Join(problems...)
}

// Collector is safe for concurrent use.
type Collector struct {
	Config  Config
	Gate    *gate.Gate
	Catalog *catalog.Catalog
	Local   *localregistry.Registry // nil when there is no embedded upstream
	Name    string                  // of the embedded upstream
	Audit   *audit.Trail
	Log     *slog.Logger
	Now     func() time.Time
}

// Collected counts what one collection has removed.
type Collected struct {
	Untagged  int           `json:"untagged_manifests"`
	Forgotten int           `json:"forgotten_manifests"` // that no repository had any more
	Blobs     int           `json:"blobs"`               // files of the embedded registry
	Bytes     int64         `json:"bytes"`               // of these files
	Links     int           `json:"links"`               // of blobs to repositories
	Records   int64         `json:"records"`             // of the catalog: layer reports, rights, audit entries
	Took      time.Duration `json:"took_ns"`
}

// firstRound is how long after the start the first collection comes at the latest:
// a process that is restarted every day collects too.
const firstRound = 15 * time.Minute

// Run collects after every interval, until ctx ends. A round that fails is made
// good by the next.
func (c *Collector) Run(ctx context.Context) error {
	timer := time.NewTimer(min(c.Config.Interval, firstRound))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(c.Config.Interval)
		done, err := c.Collect(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.Log.Error("garbage not collected", "error", err)
			}
			continue
		}
		c.Log.Info("garbage collected", "untagged", done.Untagged, "forgotten", done.Forgotten, "blobs", done.Blobs, "bytes", done.Bytes, "records", done.Records, "took", done.Took)
	}
}

// Collect removes what may go now. Manifests go first, then what only they
// needed.
func (c *Collector) Collect(ctx context.Context) (Collected, error) {
	begun := c.Now()
	var done Collected
	err := c.collect(ctx, begun, &done)
	done.Took = c.Now().Sub(begun)
	return done, err
}

func (c *Collector) collect(ctx context.Context, now time.Time, done *Collected) error {
	before := now.Add(-c.Config.Grace)
	if c.Local != nil && c.Config.Untagged > 0 {
		if err := c.untagged(ctx, now.Add(-c.Config.Untagged), done); err != nil {
			return err
		}
	}
	if c.Local != nil {
		blobs, err := c.Local.Collect(ctx, localregistry.CollectOptions{OlderThan: before})
		done.Blobs, done.Bytes, done.Links = blobs.Blobs, blobs.Bytes, blobs.Links
		if err != nil {
			return err
		}
	}
	forgotten, err := c.Gate.Forget(ctx, before)
	done.Forgotten = forgotten
	if err != nil {
		return err
	}
	purged, err := c.Catalog.Purge(ctx, before, now.Add(-c.Config.Audit))
	done.Records = purged.Layers + purged.Audit + purged.Other
	if err != nil {
		return err
	}
	gone, err := c.Catalog.PurgeAdmitted(ctx, now.Add(-gate.AdmittedFor))
	done.Records += gone
	return err
}

// batch is how many manifests are looked up at a time.
const batch = 200

// untagged deletes the manifests of the embedded registry that nothing keeps.
func (c *Collector) untagged(ctx context.Context, before time.Time, done *Collected) error {
	var last digest.Digest
	for {
		found, err := c.Catalog.Untagged(ctx, c.Name, before, last, batch)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, m := range found {
			last = m.Manifest
			deleted, err := c.Gate.DeleteUntagged(ctx, m, before)
			if err != nil {
				return fmt.Errorf("delete untagged manifest %s: %w", m.Manifest, err)
			}
			if !deleted {
				continue
			}
			done.Untagged++
			entry := catalog.AuditEntry{Kind: audit.Collected, Principal: "pratique", Repository: m.Repository.Name, Reference: m.Manifest.String(), Digest: m.Manifest.String(), Message: "untagged"}
			if err := c.Audit.Add(ctx, entry); err != nil {
				return err
			}
		}
	}
}
