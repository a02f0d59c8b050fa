package catalog

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
)

// Hold is a tag that waits for its image to be allowed.
type Hold struct {
	Repository Repository
	Tag        string
	Manifest   digest.Digest
	Principal  string // who pushed it
	Added      time.Time
	Reason     string // why it waits; "" while nobody has looked
}

// PutHold notes that a tag waits. A later one for the same tag takes its place.
func (c *Catalog) PutHold(ctx context.Context, h Hold) error {
	return c.exec(ctx, `INSERT INTO holds (upstream, repository, tag, manifest, principal, added, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (upstream, repository, tag) DO UPDATE SET manifest = excluded.manifest, principal = excluded.principal, added = excluded.added, reason = excluded.reason`,
		h.Repository.Upstream, h.Repository.Name, h.Tag, h.Manifest.String(), h.Principal, h.Added.Unix(), h.Reason)
}

// DropHold notes that a tag no longer waits for a manifest, and reports whether
// it did.
func (c *Catalog) DropHold(ctx context.Context, h Hold) (bool, error) {
	res, err := c.write.ExecContext(ctx, `DELETE FROM holds WHERE upstream = ? AND repository = ? AND tag = ? AND manifest = ?`,
		h.Repository.Upstream, h.Repository.Name, h.Tag, h.Manifest.String())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Holds returns what waits, the oldest first.
func (c *Catalog) Holds(ctx context.Context) ([]Hold, error) {
	return c.holds(ctx, `1 = 1`)
}

// Hold returns what waits under a tag; nil when nothing does.
func (c *Catalog) Hold(ctx context.Context, repo Repository, tag string) (*Hold, error) {
	all, err := c.holds(ctx, `upstream = ? AND repository = ? AND tag = ?`, repo.Upstream, repo.Name, tag)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

func (c *Catalog) holds(ctx context.Context, where string, args ...any) ([]Hold, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT upstream, repository, tag, manifest, principal, added, reason FROM holds WHERE `+where+` ORDER BY added, upstream, repository, tag`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Hold
	for rows.Next() {
		var h Hold
		var added int64
		if err := rows.Scan(&h.Repository.Upstream, &h.Repository.Name, &h.Tag, &h.Manifest, &h.Principal, &added, &h.Reason); err != nil {
			return nil, err
		}
		h.Added = time.Unix(added, 0).UTC()
		all = append(all, h)
	}
	return all, rows.Err()
}
