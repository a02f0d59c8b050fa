package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/policy"
)

// Get returns the verdict in force, or nil. Catalog is a verdict store: see
// verdicts.Store for the contract.
func (c *Catalog) Get(ctx context.Context, manifest digest.Digest, selection string) (*policy.Verdict, error) {
	var doc []byte
	err := c.read.QueryRowContext(ctx, `SELECT doc FROM verdicts WHERE manifest = ? AND selection = ?`, manifest.String(), selection).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read verdict of %s: %w", manifest, err)
	}
	v := new(policy.Verdict)
	if err := c.decode(doc, v); err != nil {
		return nil, fmt.Errorf("read verdict of %s: %w", manifest, err)
	}
	return v, nil
}

// Put stores a verdict unless one from a newer engine or newer data is there.
func (c *Catalog) Put(ctx context.Context, v *policy.Verdict) (bool, error) {
	doc, err := c.encode(v)
	if err != nil {
		return false, fmt.Errorf("store verdict of %s: %w", v.Manifest, err)
	}
	res, err := c.write.ExecContext(ctx, `INSERT INTO verdicts (manifest, selection, engine, data, action, doc) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (manifest, selection) DO UPDATE SET engine = excluded.engine, data = excluded.data, action = excluded.action, doc = excluded.doc
		WHERE excluded.engine > verdicts.engine OR (excluded.engine = verdicts.engine AND excluded.data >= verdicts.data)`,
		v.Manifest.String(), v.Selection, v.Engine, v.Data.Sequence, v.Action.String(), doc)
	if err != nil {
		return false, fmt.Errorf("store verdict of %s: %w", v.Manifest, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Drop forgets a verdict.
func (c *Catalog) Drop(ctx context.Context, manifest digest.Digest, selection string) error {
	return c.exec(ctx, `DELETE FROM verdicts WHERE manifest = ? AND selection = ?`, manifest.String(), selection)
}

// VerdictSelections returns the selections under which the image was judged,
// with the requests that led to them.
func (c *Catalog) VerdictSelections(ctx context.Context, manifest digest.Digest) (map[string][]byte, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT s.selection, s.request FROM verdicts v JOIN selections s ON s.selection = v.selection WHERE v.manifest = ?`, manifest.String())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var s string
		var request []byte
		if err := rows.Scan(&s, &request); err != nil {
			return nil, err
		}
		all[s] = request
	}
	return all, rows.Err()
}

// JudgedBefore returns the images with a verdict that rests on data older than
// the sequence.
func (c *Catalog) JudgedBefore(ctx context.Context, sequence uint64) ([]digest.Digest, error) {
	all, err := c.texts(ctx, `SELECT DISTINCT manifest FROM verdicts WHERE data < ? ORDER BY manifest`, sequence)
	return digests(all), err
}

// PutSelection keeps a request that leads to a selection, so that the image can
// be judged again when data change, without anybody asking.
func (c *Catalog) PutSelection(ctx context.Context, selection string, request any) error {
	doc, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return c.exec(ctx, `INSERT INTO selections (selection, request) VALUES (?, ?) ON CONFLICT DO NOTHING`, selection, doc)
}

// Key is a name under which an image's packages are looked up.
type Key struct{ Ecosystem, Package string }

// PutKeys replaces the names under which the image's packages are looked up.
func (c *Catalog) PutKeys(ctx context.Context, manifest digest.Digest, keys []Key) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM image_keys WHERE manifest = ?`, manifest.String()); err != nil {
			return err
		}
		insert, err := tx.PrepareContext(ctx, `INSERT INTO image_keys (ecosystem, package, manifest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, k := range keys {
			if _, err := insert.ExecContext(ctx, k.Ecosystem, k.Package, manifest.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

// ImagesWith returns the images that have a package under one of the keys.
func (c *Catalog) ImagesWith(ctx context.Context, keys []Key) ([]digest.Digest, error) {
	seen := map[string]bool{}
	var all []digest.Digest
	for _, k := range keys {
		found, err := c.texts(ctx, `SELECT manifest FROM image_keys WHERE ecosystem = ? AND package = ?`, k.Ecosystem, k.Package)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			if !seen[d] {
				seen[d] = true
				all = append(all, digest.Digest(d))
			}
		}
	}
	return all, nil
}

// Event is something that happened and is worth keeping.
type Event struct {
	ID   int64           `json:"id"`
	At   time.Time       `json:"at"`
	Kind string          `json:"kind"` // "verdict flipped", "dry run", "policy activated"
	Doc  json.RawMessage `json:"detail"`
}

// AddEvent keeps an event.
func (c *Catalog) AddEvent(ctx context.Context, kind string, detail any, now time.Time) error {
	doc, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	return c.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO events (at, kind, doc) VALUES (?, ?, ?)`, now.UnixMilli(), kind, doc)
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM events WHERE id <= ?`, id-maxEvents)
		return err
	})
}

// maxEvents is how many events are kept.
const maxEvents = 100_000

// Events returns the newest events, newest first.
func (c *Catalog) Events(ctx context.Context, limit int) ([]Event, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT id, at, kind, doc FROM events ORDER BY id DESC LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Event
	for rows.Next() {
		var e Event
		var at int64
		var doc []byte
		if err := rows.Scan(&e.ID, &at, &e.Kind, &doc); err != nil {
			return nil, err
		}
		e.At, e.Doc = time.UnixMilli(at).UTC(), doc
		all = append(all, e)
	}
	return all, rows.Err()
}
