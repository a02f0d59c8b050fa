package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/inventory"
)

// LayerReport returns what that maker learnt from the layer with this digest, or
// nil.
func (c *Catalog) LayerReport(ctx context.Context, layer digest.Digest, by inventory.Maker) (*inventory.Report, error) {
	var doc []byte
	err := c.read.QueryRowContext(ctx, `SELECT r.doc FROM layers l JOIN reports r ON r.id = l.report AND r.engine = l.engine
		WHERE l.digest = ? AND l.engine = ? AND r.gathers = ?`, layer.String(), by.Engine, by.Gathers).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read report of layer %s: %w", layer, err)
	}
	r := new(inventory.Report)
	if err := c.decode(doc, r); err != nil {
		return nil, fmt.Errorf("read report of layer %s: %w", layer, err)
	}
	return r, nil
}

// PutLayerReport stores a report under its diffID and maps its digest to it. A
// stream that could not be read to its end has no diffID and shares its report
// with nobody.
func (c *Catalog) PutLayerReport(ctx context.Context, r *inventory.Report, now time.Time) error {
	doc, err := c.encode(r)
	if err != nil {
		return fmt.Errorf("store report of layer %s: %w", r.Digest, err)
	}
	id := r.DiffID.String()
	if id == "" {
		id = "unread:" + r.Digest.String()
	}
	err = c.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO reports (id, engine, doc, gathers) VALUES (?, ?, ?, ?)
			ON CONFLICT (id, engine) DO UPDATE SET doc = excluded.doc, gathers = excluded.gathers WHERE excluded.gathers <> reports.gathers`,
			id, r.Engine, doc, r.Gathers); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO layers (digest, engine, report, added) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			r.Digest.String(), r.Engine, id, now.Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("store report of layer %s: %w", r.Digest, err)
	}
	return nil
}

// Subject returns what the manifest was found to be, or nil.
func (c *Catalog) Subject(ctx context.Context, manifest digest.Digest) (*inventory.Subject, error) {
	s := new(inventory.Subject)
	var reason string
	err := c.read.QueryRowContext(ctx, `SELECT engine, gathers, kind, reason FROM images WHERE manifest = ?`, manifest.String()).Scan(&s.Engine, &s.Gathers, &s.Kind, &reason)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read subject %s: %w", manifest, err)
	}
	if s.DiffIDsMatch = s.Kind == inventory.KindImage && reason == ""; s.Kind != inventory.KindImage {
		s.Reason = reason
	}
	return s, nil
}

// Image returns the inventory of the image, or nil.
func (c *Catalog) Image(ctx context.Context, manifest digest.Digest) (*inventory.Image, error) {
	var doc []byte
	err := c.read.QueryRowContext(ctx, `SELECT doc FROM images WHERE manifest = ? AND doc IS NOT NULL`, manifest.String()).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read inventory of %s: %w", manifest, err)
	}
	im := new(inventory.Image)
	if err := c.decode(doc, im); err != nil {
		return nil, fmt.Errorf("read inventory of %s: %w", manifest, err)
	}
	return im, nil
}

// PutSubject stores what a manifest was found to be, and the inventory of an
// image. A result of an older engine does not replace one of a newer.
func (c *Catalog) PutSubject(ctx context.Context, manifest digest.Digest, s inventory.Subject, im *inventory.Image) error {
	var doc any // NULL for what has no inventory
	reason := s.Reason
	if im != nil {
		b, err := c.encode(im)
		if err != nil {
			return fmt.Errorf("store inventory of %s: %w", manifest, err)
		}
		doc = b
		if reason = ""; !s.DiffIDsMatch {
			reason = "diffids"
		}
	}
	err := c.exec(ctx, `INSERT INTO images (manifest, engine, gathers, kind, reason, doc) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (manifest) DO UPDATE SET engine = excluded.engine, gathers = excluded.gathers, kind = excluded.kind, reason = excluded.reason, doc = excluded.doc
		WHERE excluded.engine >= images.engine`, manifest.String(), s.Engine, s.Gathers, s.Kind, reason, doc)
	if err != nil {
		return fmt.Errorf("store inventory of %s: %w", manifest, err)
	}
	return nil
}

// Outdated returns manifests that an older engine looked at, or the same one by
// another configuration, in order, those after the given one.
func (c *Catalog) Outdated(ctx context.Context, by inventory.Maker, after digest.Digest, limit int) ([]digest.Digest, error) {
	all, err := c.texts(ctx, `SELECT manifest FROM images WHERE (engine < ? OR engine = ? AND gathers <> ?) AND manifest > ?
		ORDER BY manifest LIMIT ?`, by.Engine, by.Engine, by.Gathers, after.String(), limit)
	return digests(all), err
}

func (c *Catalog) encode(doc any) ([]byte, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return c.enc.EncodeAll(b, nil), nil
}

func (c *Catalog) decode(b []byte, doc any) error {
	raw, err := c.dec.DecodeAll(b, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, doc)
}

func digests(texts []string) []digest.Digest {
	all := make([]digest.Digest, len(texts))
	for i, s := range texts {
		all[i] = digest.Digest(s)
	}
	return all
}
