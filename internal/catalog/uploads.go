package catalog

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"
)

// Uploaded notes that all bytes of the blob came from the principal, who may read
// them back until a manifest names the blob. One that a manifest names already is
// nobody's own, or deleting the manifest later would open it: then the upload is
// a proof, and no right.
func (c *Catalog) Uploaded(ctx context.Context, repo Repository, blob digest.Digest, principal string, now time.Time) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		if err := reopen(ctx, tx, repo, blob); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO uploads (upstream, repository, blob, principal, added, proof) SELECT ?1, ?2, ?3, ?4, ?5,
			EXISTS (SELECT 1 FROM blobs WHERE upstream = ?1 AND repository = ?2 AND blob = ?3)
			ON CONFLICT (upstream, repository, blob, principal) DO UPDATE SET added = excluded.added, proof = excluded.proof`,
			repo.Upstream, repo.Name, blob.String(), principal, now.Unix())
		return err
	})
}

// Mounted notes that the principal could read the blob where it was mounted from.
// It gives no right to read it here.
func (c *Catalog) Mounted(ctx context.Context, repo Repository, blob digest.Digest, principal string, now time.Time) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		if err := reopen(ctx, tx, repo, blob); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO uploads (upstream, repository, blob, principal, added, proof) VALUES (?, ?, ?, ?, ?, 1)
			ON CONFLICT (upstream, repository, blob, principal) DO UPDATE SET added = excluded.added`, repo.Upstream, repo.Name, blob.String(), principal, now.Unix())
		return err
	})
}

// reopen lets artifacts open a blob again.
func reopen(ctx context.Context, tx *sql.Tx, repo Repository, blob digest.Digest) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM former WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, blob.String())
	return err
}

// UploadedBy reports whether the principal uploaded the blob after the given
// time, and no manifest has named it since.
func (c *Catalog) UploadedBy(ctx context.Context, repo Repository, blob digest.Digest, principal string, after time.Time) (bool, error) {
	return c.uploaded(ctx, repo, blob, principal, after, `AND proof = 0`)
}

// Proven reports whether the principal has shown after the given time that it may
// have the bytes of the blob, by an upload or a mount.
func (c *Catalog) Proven(ctx context.Context, repo Repository, blob digest.Digest, principal string, after time.Time) (bool, error) {
	return c.uploaded(ctx, repo, blob, principal, after, ``)
}

func (c *Catalog) uploaded(ctx context.Context, repo Repository, blob digest.Digest, principal string, after time.Time, and string) (bool, error) {
	return c.exists(ctx, `SELECT 1 FROM uploads WHERE upstream = ? AND repository = ? AND blob = ? AND principal = ? AND added > ? `+and,
		repo.Upstream, repo.Name, blob.String(), principal, after.Unix())
}

// Closed reports whether artifacts do not open the blob: it belonged to an image
// that the repository no longer has, and nobody has uploaded or mounted it since.
func (c *Catalog) Closed(ctx context.Context, repo Repository, blob digest.Digest) (bool, error) {
	return c.exists(ctx, `SELECT 1 FROM former WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, blob.String())
}

// Unproven returns the manifests of the repository that do not open the blob,
// because whoever pushed them had not shown to have it.
func (c *Catalog) Unproven(ctx context.Context, repo Repository, blob digest.Digest) (map[digest.Digest]bool, error) {
	all, err := c.texts(ctx, `SELECT manifest FROM unproven WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, blob.String())
	set := map[digest.Digest]bool{}
	for _, m := range all {
		set[digest.Digest(m)] = true
	}
	return set, err
}

// Prove notes that somebody who pushes the manifest has shown to have all of its
// blobs.
func (c *Catalog) Prove(ctx context.Context, repo Repository, manifest digest.Digest) error {
	return c.exec(ctx, `DELETE FROM unproven WHERE upstream = ? AND repository = ? AND manifest = ?`, repo.Upstream, repo.Name, manifest.String())
}

// Doubted reports whether the manifest does not open all of its blobs.
func (c *Catalog) Doubted(ctx context.Context, repo Repository, manifest digest.Digest) (bool, error) {
	return c.exists(ctx, `SELECT 1 FROM unproven WHERE upstream = ? AND repository = ? AND manifest = ?`, repo.Upstream, repo.Name, manifest.String())
}

// PutUnproven notes, before a manifest is stored, which of its blobs its pusher has
// not shown to have.
func (c *Catalog) PutUnproven(ctx context.Context, repo Repository, manifest digest.Digest, blobs []digest.Digest) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		for _, blob := range blobs {
			if _, err := tx.ExecContext(ctx, `INSERT INTO unproven (upstream, repository, blob, manifest) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				repo.Upstream, repo.Name, blob.String(), manifest.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

// exists reports whether a query finds a row.
func (c *Catalog) exists(ctx context.Context, query string, args ...any) (bool, error) {
	var one int
	err := c.read.QueryRowContext(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
