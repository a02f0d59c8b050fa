package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Repository names a repository of an upstream.
type Repository struct {
	Upstream string
	Name     string
}

// Record notes that a repository has a manifest: its bytes, the blobs and
// children that it names, and its subject. It is called before the manifest is
// answered, so that membership is known when the client asks for the blobs.
// Tag may be empty.
func (c *Catalog) Record(ctx context.Context, repo Repository, m *image.Manifest, tag, principal string, now time.Time) error {
	err := c.update(ctx, func(tx *sql.Tx) error {
		d := m.Digest.String()
		if _, err := tx.ExecContext(ctx, `INSERT INTO manifests (digest, media_type, raw) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, d, m.MediaType, m.Raw); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO members (upstream, repository, manifest, principal, added) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (upstream, repository, manifest) DO UPDATE SET added = excluded.added`,
			repo.Upstream, repo.Name, d, principal, now.Unix()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM orphans WHERE manifest = ?`, d); err != nil {
			return err
		}
		if err := putAlias(ctx, tx, m.SHA512, m.Digest); err != nil {
			return err
		}
		if err := recordDescriptors(ctx, tx, repo, m); err != nil {
			return err
		}
		if tag == "" {
			return nil
		}
		return bindTag(ctx, tx, repo, tag, m.Digest)
	})
	if err != nil {
		return fmt.Errorf("record manifest %s: %w", m.Digest, err)
	}
	return nil
}

func recordDescriptors(ctx context.Context, tx *sql.Tx, repo Repository, m *image.Manifest) error {
	for _, desc := range m.Descriptors() {
		d, err := canonical(ctx, tx, desc.Digest)
		if err == nil {
			err = recordDescriptor(ctx, tx, repo, m, d.String())
		}
		if err != nil {
			return err
		}
	}
	if m.Subject == nil {
		return nil
	}
	subject, err := canonical(ctx, tx, m.Subject.Digest)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(referrer(m))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO referrers (upstream, repository, subject, manifest, descriptor) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		repo.Upstream, repo.Name, subject.String(), m.Digest.String(), doc)
	return err
}

// recordDescriptor notes one child of an index, or one blob of an image. A blob
// that a manifest names is no longer its uploader's own: what the manifests make
// of it counts, also when they are deleted again.
func recordDescriptor(ctx context.Context, tx *sql.Tx, repo Repository, m *image.Manifest, d string) error {
	if m.Index {
		_, err := tx.ExecContext(ctx, `INSERT INTO children (child, parent) VALUES (?, ?) ON CONFLICT DO NOTHING`, d, m.Digest.String())
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO blobs (upstream, repository, blob, manifest) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		repo.Upstream, repo.Name, d, m.Digest.String()); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE uploads SET proof = 1 WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, d)
	return err
}

// referrer is the descriptor that the referrers API lists for a manifest with a
// subject. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
func referrer(m *image.Manifest) image.Descriptor {
	d := image.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if d.ArtifactType == "" && !m.Index {
		d.ArtifactType = m.Config.MediaType
	}
	return d
}

func bindTag(ctx context.Context, tx *sql.Tx, repo Repository, tag string, d digest.Digest) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO tags (upstream, repository, tag, manifest) VALUES (?, ?, ?, ?)
		ON CONFLICT (upstream, repository, tag) DO UPDATE SET manifest = excluded.manifest`, repo.Upstream, repo.Name, tag, d.String())
	return err
}

// BoundTo returns what a tag is known to stand for, or "".
func (c *Catalog) BoundTo(ctx context.Context, repo Repository, tag string) (digest.Digest, error) {
	var d digest.Digest
	err := c.read.QueryRowContext(ctx, `SELECT manifest FROM tags WHERE upstream = ? AND repository = ? AND tag = ?`, repo.Upstream, repo.Name, tag).Scan(&d)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return d, err
}

// BindTag notes what a tag stands for, if the repository has the manifest and the
// tag still stands for what it stood for before ("": nothing).
func (c *Catalog) BindTag(ctx context.Context, repo Repository, tag string, d, before digest.Digest) (bound bool, err error) {
	res, err := c.write.ExecContext(ctx, `INSERT INTO tags (upstream, repository, tag, manifest)
		SELECT upstream, repository, ?1, manifest FROM members WHERE upstream = ?2 AND repository = ?3 AND manifest = ?4
			AND (?5 = '' OR EXISTS (SELECT 1 FROM tags WHERE upstream = ?2 AND repository = ?3 AND tag = ?1))
		ON CONFLICT (upstream, repository, tag) DO UPDATE SET manifest = excluded.manifest WHERE tags.manifest = ?5`, tag, repo.Upstream, repo.Name, d.String(), before.String())
	if err != nil {
		return false, fmt.Errorf("bind tag %s: %w", tag, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Manifest returns the bytes of a manifest that the repository is known to
// have, or nil.
func (c *Catalog) Manifest(ctx context.Context, repo Repository, d digest.Digest) (raw []byte, mediaType string, err error) {
	err = c.read.QueryRowContext(ctx, `SELECT raw, media_type FROM manifests JOIN members ON manifest = digest
		WHERE upstream = ? AND repository = ? AND digest = ?`, repo.Upstream, repo.Name, d.String()).Scan(&raw, &mediaType)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", nil
	}
	return raw, mediaType, err
}

// Holders returns the repositories that have the manifest.
func (c *Catalog) Holders(ctx context.Context, d digest.Digest) ([]Repository, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT upstream, repository FROM members WHERE manifest = ? ORDER BY 1, 2`, d.String())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Repository
	for rows.Next() {
		var r Repository
		if err := rows.Scan(&r.Upstream, &r.Name); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// TagsOf returns the tags that the repository binds to the manifest or to an
// index that holds it, at any depth.
func (c *Catalog) TagsOf(ctx context.Context, repo Repository, d digest.Digest) ([]string, error) {
	return c.texts(ctx, `WITH RECURSIVE up(manifest) AS (SELECT ? UNION SELECT c.parent FROM children c JOIN up ON c.child = up.manifest)
		SELECT DISTINCT tag FROM tags WHERE upstream = ? AND repository = ? AND manifest IN (SELECT manifest FROM up) ORDER BY tag`,
		d.String(), repo.Upstream, repo.Name)
}

// ManifestsNaming returns the manifests of the repository that name the blob.
func (c *Catalog) ManifestsNaming(ctx context.Context, repo Repository, blob digest.Digest) ([]digest.Digest, error) {
	all, err := c.texts(ctx, `SELECT manifest FROM blobs WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, blob.String())
	return digests(all), err
}

// ReferrersQuery chooses manifests that name a subject.
type ReferrersQuery struct {
	Subject      digest.Digest
	ArtifactType string        // "" for all
	Last         digest.Digest // those after it
	MaxBytes     int           // of the descriptors; at least one is returned
}

// Referrers returns the manifests of the repository that name the subject, in
// the order of their digests, and whether there are more.
func (c *Catalog) Referrers(ctx context.Context, repo Repository, q ReferrersQuery) (page []image.Descriptor, more bool, err error) {
	rows, err := c.read.QueryContext(ctx, `SELECT descriptor FROM referrers WHERE upstream = ? AND repository = ? AND subject = ? AND manifest > ? ORDER BY manifest`,
		repo.Upstream, repo.Name, q.Subject.String(), q.Last.String())
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var doc []byte
		if err := rows.Scan(&doc); err != nil {
			return nil, false, err
		}
		var d image.Descriptor
		if err := json.Unmarshal(doc, &d); err != nil {
			return nil, false, fmt.Errorf("read referrers of %s: %w", q.Subject, err)
		}
		if q.ArtifactType != "" && d.ArtifactType != q.ArtifactType {
			continue
		}
		if size += len(doc) + 1; size > q.MaxBytes && len(page) > 0 {
			return page, true, nil
		}
		page = append(page, d)
	}
	return page, false, rows.Err()
}

// ForgetTag notes that the tag is gone, and does not wait for any image.
func (c *Catalog) ForgetTag(ctx context.Context, repo Repository, tag string) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		for _, statement := range []string{
			`DELETE FROM tags WHERE upstream = ? AND repository = ? AND tag = ?`, `DELETE FROM holds WHERE upstream = ? AND repository = ? AND tag = ?`,
			`DELETE FROM names WHERE upstream = ? AND repository = ? AND tag = ?`,
		} {
			if _, err := tx.ExecContext(ctx, statement, repo.Upstream, repo.Name, tag); err != nil {
				return err
			}
		}
		return nil
	})
}

// TagsNaming returns the tags of the repository that stand for the manifest
// itself, or wait for it, in lexical order.
func (c *Catalog) TagsNaming(ctx context.Context, repo Repository, d digest.Digest) ([]string, error) {
	return c.texts(ctx, `SELECT tag FROM tags WHERE upstream = ?1 AND repository = ?2 AND manifest = ?3
		UNION SELECT tag FROM holds WHERE upstream = ?1 AND repository = ?2 AND manifest = ?3 ORDER BY tag`, repo.Upstream, repo.Name, d.String())
}

// ForgetManifest notes that the repository no longer has the manifest, and
// returns the tags that went with it.
func (c *Catalog) ForgetManifest(ctx context.Context, repo Repository, d digest.Digest, now time.Time) (tags []string, err error) {
	tags, err = c.texts(ctx, `SELECT tag FROM tags WHERE upstream = ? AND repository = ? AND manifest = ?`, repo.Upstream, repo.Name, d.String())
	if err != nil {
		return nil, err
	}
	return tags, c.update(ctx, func(tx *sql.Tx) error {
		for _, statement := range []string{
			`INSERT INTO former (upstream, repository, blob) SELECT upstream, repository, blob FROM blobs WHERE upstream = ? AND repository = ? AND manifest = ?
				AND manifest NOT IN (SELECT manifest FROM images WHERE kind = 'artifact') ON CONFLICT DO NOTHING`,
			`DELETE FROM members WHERE upstream = ? AND repository = ? AND manifest = ?`,
			`DELETE FROM blobs WHERE upstream = ? AND repository = ? AND manifest = ?`,
			`DELETE FROM tags WHERE upstream = ? AND repository = ? AND manifest = ?`,
			`DELETE FROM referrers WHERE upstream = ? AND repository = ? AND manifest = ?`,
			`DELETE FROM holds WHERE upstream = ? AND repository = ? AND manifest = ?`,
			`DELETE FROM names WHERE upstream = ? AND repository = ? AND manifest = ?`,
			`DELETE FROM unproven WHERE upstream = ? AND repository = ? AND manifest = ?`,
		} {
			if _, err := tx.ExecContext(ctx, statement, repo.Upstream, repo.Name, d.String()); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO orphans (manifest, since) SELECT digest, ?2 FROM manifests WHERE digest = ?1
			AND NOT EXISTS (SELECT 1 FROM members WHERE manifest = ?1) ON CONFLICT DO NOTHING`, d.String(), now.Unix())
		return err
	})
}
