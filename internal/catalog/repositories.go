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
		if _, err := tx.ExecContext(ctx, `INSERT INTO members (upstream, repository, manifest, principal, added) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			repo.Upstream, repo.Name, d, principal, now.Unix()); err != nil {
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
		if err := recordDescriptor(ctx, tx, repo, m, desc.Digest.String()); err != nil {
			return err
		}
	}
	if m.Subject == nil {
		return nil
	}
	doc, err := json.Marshal(referrer(m))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO referrers (upstream, repository, subject, manifest, descriptor) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		repo.Upstream, repo.Name, m.Subject.Digest.String(), m.Digest.String(), doc)
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
	_, err := tx.ExecContext(ctx, `DELETE FROM uploads WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, d)
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

// BindTag notes what a tag stands for, if the repository has the manifest.
func (c *Catalog) BindTag(ctx context.Context, repo Repository, tag string, d digest.Digest) (bound bool, err error) {
	res, err := c.write.ExecContext(ctx, `INSERT INTO tags (upstream, repository, tag, manifest)
		SELECT upstream, repository, ?, manifest FROM members WHERE upstream = ? AND repository = ? AND manifest = ?
		ON CONFLICT (upstream, repository, tag) DO UPDATE SET manifest = excluded.manifest`, tag, repo.Upstream, repo.Name, d.String())
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

// Uploaded notes that all bytes of the blob came from the principal. A blob that
// a manifest names is nobody's own: nothing but its tombstone is touched then, or
// deleting the manifest later would open it.
func (c *Catalog) Uploaded(ctx context.Context, repo Repository, blob digest.Digest, principal string, now time.Time) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM former WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, blob.String()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO uploads (upstream, repository, blob, principal, added) SELECT ?1, ?2, ?3, ?4, ?5
			WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE upstream = ?1 AND repository = ?2 AND blob = ?3)
			ON CONFLICT (upstream, repository, blob, principal) DO UPDATE SET added = excluded.added`,
			repo.Upstream, repo.Name, blob.String(), principal, now.Unix())
		return err
	})
}

// WasOfImage reports whether the blob belonged to an image that the repository
// no longer has, and nobody has uploaded it since.
func (c *Catalog) WasOfImage(ctx context.Context, repo Repository, blob digest.Digest) (bool, error) {
	var one int
	err := c.read.QueryRowContext(ctx, `SELECT 1 FROM former WHERE upstream = ? AND repository = ? AND blob = ?`, repo.Upstream, repo.Name, blob.String()).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// UploadedBy reports whether the principal uploaded the blob to the repository
// after the given time.
func (c *Catalog) UploadedBy(ctx context.Context, repo Repository, blob digest.Digest, principal string, after time.Time) (bool, error) {
	var one int
	err := c.read.QueryRowContext(ctx, `SELECT 1 FROM uploads WHERE upstream = ? AND repository = ? AND blob = ? AND principal = ? AND added > ?`,
		repo.Upstream, repo.Name, blob.String(), principal, after.Unix()).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Referrers returns the manifests of the repository that name the subject, in
// the order of their digests.
func (c *Catalog) Referrers(ctx context.Context, repo Repository, subject digest.Digest) ([]image.Descriptor, error) {
	docs, err := c.texts(ctx, `SELECT descriptor FROM referrers WHERE upstream = ? AND repository = ? AND subject = ? ORDER BY manifest`,
		repo.Upstream, repo.Name, subject.String())
	if err != nil {
		return nil, err
	}
	all := make([]image.Descriptor, len(docs))
	for i, doc := range docs {
		if err := json.Unmarshal([]byte(doc), &all[i]); err != nil {
			return nil, fmt.Errorf("read referrers of %s: %w", subject, err)
		}
	}
	return all, nil
}

// ForgetTag notes that the tag is gone.
func (c *Catalog) ForgetTag(ctx context.Context, repo Repository, tag string) error {
	return c.exec(ctx, `DELETE FROM tags WHERE upstream = ? AND repository = ? AND tag = ?`, repo.Upstream, repo.Name, tag)
}

// ForgetManifest notes that the repository no longer has the manifest, and
// returns the tags that went with it.
func (c *Catalog) ForgetManifest(ctx context.Context, repo Repository, d digest.Digest) (tags []string, err error) {
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
		} {
			if _, err := tx.ExecContext(ctx, statement, repo.Upstream, repo.Name, d.String()); err != nil {
				return err
			}
		}
		return nil
	})
}
