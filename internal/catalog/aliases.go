package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Canonical returns the digest under which the catalog knows content: its
// sha256 where that has been learnt, else d itself.
func (c *Catalog) Canonical(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	return canonical(ctx, c.read, d)
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func canonical(ctx context.Context, q queryer, d digest.Digest) (digest.Digest, error) {
	if d.Algorithm() == digest.SHA256 {
		return d, nil
	}
	known := d
	err := q.QueryRowContext(ctx, `SELECT digest FROM aliases WHERE alias = ?`, d.String()).Scan(&known)
	if errors.Is(err, sql.ErrNoRows) {
		return d, nil
	}
	if err != nil {
		return "", fmt.Errorf("look up digest %s: %w", d, err)
	}
	return known, nil
}

// Aliases returns the other digests of the content with this sha256.
func (c *Catalog) Aliases(ctx context.Context, d digest.Digest) ([]digest.Digest, error) {
	all, err := c.texts(ctx, `SELECT alias FROM aliases WHERE digest = ? ORDER BY alias`, d.String())
	return digests(all), err
}

// NameTag notes by which digest a tag was pushed: whoever resolves it is told
// that one, for as long as it stands for the manifest.
func (c *Catalog) NameTag(ctx context.Context, repo Repository, tag string, manifest, named digest.Digest) error {
	return c.exec(ctx, `INSERT INTO names (upstream, repository, tag, manifest, named) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (upstream, repository, tag) DO UPDATE SET manifest = excluded.manifest, named = excluded.named`,
		repo.Upstream, repo.Name, tag, manifest.String(), named.String())
}

// TagName returns the digest by which a tag was pushed, manifest if none was
// noted.
func (c *Catalog) TagName(ctx context.Context, repo Repository, tag string, manifest digest.Digest) (digest.Digest, error) {
	named := manifest
	err := c.read.QueryRowContext(ctx, `SELECT named FROM names WHERE upstream = ? AND repository = ? AND tag = ? AND manifest = ?`,
		repo.Upstream, repo.Name, tag, manifest.String()).Scan(&named)
	if errors.Is(err, sql.ErrNoRows) {
		return manifest, nil
	}
	return named, err
}

// PutAlias notes that alias and d are digests of the same bytes, which the
// caller has hashed, d with sha256. What was known under the alias is known
// under d from now on.
func (c *Catalog) PutAlias(ctx context.Context, alias, d digest.Digest) error {
	err := c.update(ctx, func(tx *sql.Tx) error { return putAlias(ctx, tx, alias, d) })
	if err != nil {
		return fmt.Errorf("keep digest %s: %w", alias, err)
	}
	return nil
}

func putAlias(ctx context.Context, tx *sql.Tx, alias, d digest.Digest) error {
	res, err := tx.ExecContext(ctx, `INSERT INTO aliases (alias, digest) VALUES (?, ?) ON CONFLICT DO NOTHING`, alias.String(), d.String())
	if err != nil {
		return err
	}
	if added, err := res.RowsAffected(); err != nil || added == 0 {
		return err
	}
	for _, statement := range []string{
		`UPDATE OR REPLACE children SET child = ? WHERE child = ?`,
		// The second condition is that of the index.
		`UPDATE OR REPLACE blobs SET blob = ? WHERE blob = ? AND blob >= 'sha512:'`,
		`UPDATE OR REPLACE referrers SET subject = ? WHERE subject = ? AND subject >= 'sha512:'`,
		`UPDATE OR REPLACE uploads SET blob = ? WHERE blob = ? AND blob >= 'sha512:'`,
		`UPDATE OR REPLACE unproven SET blob = ? WHERE blob = ? AND blob >= 'sha512:'`,
		`UPDATE OR REPLACE former SET blob = ? WHERE blob = ? AND blob >= 'sha512:'`,
	} {
		if _, err := tx.ExecContext(ctx, statement, d.String(), alias.String()); err != nil {
			return err
		}
	}
	return nil
}
