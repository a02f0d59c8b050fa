package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/catalog"
)

const (
	reloadInterval = 2 * time.Second // how soon data that another process has built are picked up
	outdatedBatch  = 100
)

// renewLoop keeps verdicts up to date with the data, until ctx ends. An old verdict stays in force until its successor is there. A round
// that failed is made good by the next: what counts is the state, not the news.
func (g *Gate) renewLoop(ctx context.Context) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		if err := g.Reload(ctx); err != nil && ctx.Err() == nil {
			g.Log.Error("vulnerability data not renewed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// settingRenewed is the data revision that all stored verdicts have been held
// against.
const settingRenewed = "data.renewed"

// Reload takes newer vulnerability data into use and judges again the images
// that the difference can touch. Where the difference is not known (the data
// changed while nobody looked, or a round was cut) it judges again every image
// whose verdict rests on older data.
func (g *Gate) Reload(ctx context.Context) error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	old, had := g.Data.Current()
	if had {
		defer old.Release()
	}
	if _, err := g.Data.Reload(ctx); err != nil {
		return err
	}
	now, ok := g.Data.Current()
	if !ok {
		return nil
	}
	defer now.Release()
	renewed, err := g.Catalog.Setting(ctx, settingRenewed)
	if err != nil {
		return err
	}
	revision := now.Revision()
	if renewed == revisionText(revision) {
		return nil
	}
	var touched []digest.Digest
	if had && renewed == revisionText(old.Revision()) {
		touched, err = g.touched(ctx, old, now)
	} else {
		touched, err = g.Catalog.JudgedBefore(ctx, revision.Sequence)
	}
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range touched { // all of them: one that cannot be judged must not keep the others
		if err := g.renew(ctx, m); err != nil {
			failed = append(failed, fmt.Errorf("judge %s again: %w", m, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	g.Log.Info("vulnerability data in use", "sequence", revision.Sequence, "digest", revision.Digest, "images_judged_again", len(touched))
	return g.Catalog.PutSetting(ctx, settingRenewed, revisionText(revision))
}

func revisionText(r advisory.Revision) string { return fmt.Sprintf("%d %s", r.Sequence, r.Digest) }

// touched finds the images that the difference of two revisions can touch.
func (g *Gate) touched(ctx context.Context, old, now *advisory.Snapshot) ([]digest.Digest, error) {
	changed, err := advisory.Diff(old.Index(), now.Index())
	if err != nil {
		return nil, err
	}
	keys := make([]catalog.Key, 0, len(changed))
	for _, k := range changed {
		keys = append(keys, catalog.Key{Ecosystem: k.Ecosystem, Package: k.Package})
	}
	covered := map[string]int{} // ecosystems that came or went as a whole
	for _, c := range now.Coverages() {
		covered[c.Ecosystem]++
	}
	for _, c := range old.Coverages() {
		covered[c.Ecosystem]--
	}
	for ecosystem, difference := range covered {
		if difference != 0 {
			keys = append(keys, catalog.Key{Ecosystem: ecosystem})
		}
	}
	return g.Catalog.ImagesWith(ctx, keys)
}

// renew judges an image again under every selection that the active bundle
// still leads to. A verdict that cannot be renewed, because the request that once
// led to its selection leads elsewhere now (others may still lead there), or
// because the image cannot be judged any more, is dropped: whoever asks next has
// it made anew.
func (g *Gate) renew(ctx context.Context, m digest.Digest) error {
	selections, err := g.Catalog.VerdictSelections(ctx, m)
	if err != nil || len(selections) == 0 {
		return err
	}
	names, err := g.names(ctx, m)
	if err != nil {
		return err
	}
	for hash, doc := range selections {
		var req bundle.Request
		if err := json.Unmarshal(doc, &req); err != nil {
			return fmt.Errorf("read selection %s: %w", hash, err)
		}
		req.Digests = names
		sel := g.active.Load().Select(req, g.Beside())
		if sel.Hash == hash {
			_, err = g.judge(ctx, m, sel, req)
		}
		if sel.Hash != hash || errors.Is(err, image.ErrManifestUnknown) {
			err = g.Verdicts.Drop(ctx, m, hash)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names are the digests that image lists may know a manifest by.
func (g *Gate) names(ctx context.Context, m digest.Digest) ([]string, error) {
	aliases, err := g.Catalog.Aliases(ctx, m)
	if err != nil {
		return nil, err
	}
	all := []string{m.String()}
	for _, a := range aliases {
		all = append(all, a.String())
	}
	return all, nil
}

// renewEngine analyses again, one by one, what an older engine looked at.
func (g *Gate) renewEngine(ctx context.Context) {
	var last digest.Digest
	for ctx.Err() == nil {
		outdated, err := g.Catalog.Outdated(ctx, g.Analyzer.Maker(), last, outdatedBatch)
		if err != nil {
			g.Log.Error("outdated images not found", "error", err)
		}
		if len(outdated) == 0 {
			return
		}
		for _, m := range outdated {
			last = m
			if err := g.reanalyse(ctx, m); err != nil && ctx.Err() == nil {
				g.Log.Warn("image not analysed again", "manifest", m, "error", err)
			}
		}
	}
}

func (g *Gate) reanalyse(ctx context.Context, m digest.Digest) error {
	holders, err := g.Catalog.Holders(ctx, m)
	if err != nil {
		return err
	}
	err = errors.New("no repository has it")
	for _, repo := range holders {
		u := g.Upstreams.Named(repo.Upstream)
		if u == nil {
			continue
		}
		t := Target{u, repo.Name}
		var manifest *image.Manifest
		if manifest, err = g.Manifest(ctx, t, image.Descriptor{Digest: m}); err != nil || manifest == nil {
			continue
		}
		if err = g.inspect(ctx, t, manifest); err == nil {
			g.keyed.Remove(m)
			return g.renew(ctx, m)
		}
	}
	return err
}
