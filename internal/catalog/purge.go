package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
)

// Purged counts what a purge has removed.
type Purged struct {
	Layers int64 `json:"layers"` // reports that no image names
	Audit  int64 `json:"audit"`
	Other  int64 `json:"other"` // upload rights and grants that have run out, names of gone content
}

// purges are the statements of Purge, in order. Each touches so few rows at a
// time that pushes need not wait; ?1 is the time before which something must
// have been added to go.
var purges = []struct {
	statement string
	count     func(*Purged) *int64
}{
	{`DELETE FROM uploads WHERE added < ?1`, (*Purged).other},
	{`DELETE FROM passes WHERE until < ?1`, (*Purged).other},
	{`DELETE FROM layers WHERE (digest, engine) IN (SELECT digest, engine FROM layers WHERE added < ?1 AND digest NOT IN (SELECT blob FROM blobs) LIMIT 500)`,
		func(p *Purged) *int64 { return &p.Layers }},
	{`DELETE FROM reports WHERE (id, engine) IN (SELECT id, engine FROM reports WHERE (id, engine) NOT IN (SELECT report, engine FROM layers) LIMIT 500)`, (*Purged).other},
	{`DELETE FROM aliases WHERE digest IN (SELECT digest FROM aliases WHERE digest NOT IN (SELECT blob FROM blobs) AND digest NOT IN (SELECT digest FROM manifests)
		AND digest NOT IN (SELECT blob FROM uploads) AND digest NOT IN (SELECT blob FROM former) LIMIT 500)`, (*Purged).other},
}

func (p *Purged) other() *int64 { return &p.Other }

// Purge removes what nothing refers to: reports of layers that no manifest names
// and upload rights and grants that ended, all older than before, and audit
// entries older than audit.
func (c *Catalog) Purge(ctx context.Context, before, audit time.Time) (Purged, error) {
	var p Purged
	for _, purge := range purges {
		if err := c.purge(ctx, purge.statement, purge.count(&p), before.Unix()); err != nil {
			return p, err
		}
	}
	err := c.purge(ctx, `DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 LIMIT 5000)`, &p.Audit, audit.UnixMilli())
	return p, err
}

// purge repeats a bounded statement until it finds nothing more.
func (c *Catalog) purge(ctx context.Context, statement string, count *int64, before int64) error {
	for {
		res, err := c.write.ExecContext(ctx, statement, before)
		if err != nil {
			return fmt.Errorf("purge catalog: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if *count += n; n == 0 {
			return nil
		}
	}
}

// PurgeAdmitted forgets what was let in, and not seen to run since before.
func (c *Catalog) PurgeAdmitted(ctx context.Context, before time.Time) (gone int64, err error) {
	err = c.purge(ctx, `DELETE FROM admitted WHERE (cluster, namespace, reference, digest) IN
		(SELECT cluster, namespace, reference, digest FROM admitted WHERE seen < ?1 LIMIT 5000)`, &gone, before.Unix())
	return gone, err
}

// Orphans returns manifests that no repository has had since before.
func (c *Catalog) Orphans(ctx context.Context, before time.Time, limit int) ([]digest.Digest, error) {
	all, err := c.texts(ctx, `SELECT manifest FROM orphans WHERE since < ? ORDER BY manifest LIMIT ?`, before.Unix(), limit)
	return digests(all), err
}

// PurgeManifest removes all that is known of a manifest, unless a repository has
// come to have it again.
func (c *Catalog) PurgeManifest(ctx context.Context, d digest.Digest) error {
	err := c.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM orphans WHERE manifest = ?1 AND manifest NOT IN (SELECT manifest FROM members WHERE manifest = ?1)`, d.String())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		for _, statement := range []string{
			`DELETE FROM manifests WHERE digest = ?`, `DELETE FROM children WHERE parent = ?`, `DELETE FROM images WHERE manifest = ?`,
			`DELETE FROM image_keys WHERE manifest = ?`, `DELETE FROM verdicts WHERE manifest = ?`,
		} {
			if _, err := tx.ExecContext(ctx, statement, d.String()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("purge manifest %s: %w", d, err)
	}
	return nil
}

// unkept chooses members m, older than ?1, that nothing keeps: no tag, no tag
// that waits, no index of the repository, no subject that the repository has.
const unkept = ` m.added < ?1
	AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.upstream = m.upstream AND t.repository = m.repository AND t.manifest = m.manifest)
	AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.upstream = m.upstream AND h.repository = m.repository AND h.manifest = m.manifest)
	AND NOT EXISTS (SELECT 1 FROM children c JOIN members p ON p.manifest = c.parent AND p.upstream = m.upstream AND p.repository = m.repository WHERE c.child = m.manifest)
	AND NOT EXISTS (SELECT 1 FROM referrers r JOIN members s ON s.manifest = r.subject AND s.upstream = m.upstream AND s.repository = m.repository
		WHERE r.upstream = m.upstream AND r.repository = m.repository AND r.manifest = m.manifest)`

// Unkept reports whether the member is older than before and nothing keeps it.
func (c *Catalog) Unkept(ctx context.Context, m Member, before time.Time) (bool, error) {
	found, err := c.texts(ctx, `SELECT m.manifest FROM members m WHERE m.upstream = ?2 AND m.repository = ?3 AND m.manifest = ?4 AND`+unkept,
		before.Unix(), m.Repository.Upstream, m.Repository.Name, m.Manifest.String())
	return len(found) > 0, err
}

// Untagged returns manifests of the upstream, older than before, that nothing
// keeps, in the order of their digests, those after the given one.
func (c *Catalog) Untagged(ctx context.Context, upstream string, before time.Time, after digest.Digest, limit int) ([]Member, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT m.repository, m.manifest FROM members m WHERE m.upstream = ?2 AND m.manifest > ?3 AND`+unkept+`
		ORDER BY m.manifest, m.repository LIMIT ?4`, before.Unix(), upstream, after.String(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Member
	for rows.Next() {
		m := Member{Repository: Repository{Upstream: upstream}}
		if err := rows.Scan(&m.Repository.Name, &m.Manifest); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, rows.Err()
}

// Member is a manifest that a repository has.
type Member struct {
	Repository Repository
	Manifest   digest.Digest
}

// Refresh notes that a member is wanted again: it counts as added now. It reports
// whether it still is one.
func (c *Catalog) Refresh(ctx context.Context, m Member, now time.Time) (bool, error) {
	res, err := c.write.ExecContext(ctx, `UPDATE members SET added = ? WHERE upstream = ? AND repository = ? AND manifest = ?`,
		now.Unix(), m.Repository.Upstream, m.Repository.Name, m.Manifest.String())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
