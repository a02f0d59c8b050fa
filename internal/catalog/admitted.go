package catalog

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"
)

// Admitted is an image that the admission of a cluster let in.
type Admitted struct {
	Cluster   string
	Namespace string
	Reference string
	Digest    digest.Digest
	At        time.Time
	Doc       []byte // what was said of it
}

// PutAdmitted notes images, or that they still run.
func (c *Catalog) PutAdmitted(ctx context.Context, list []Admitted, now time.Time) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		for _, a := range list {
			if _, err := tx.ExecContext(ctx, `INSERT INTO admitted (cluster, namespace, reference, digest, doc, at, seen) VALUES (?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (cluster, namespace, reference, digest) DO UPDATE SET doc = excluded.doc, at = excluded.at, seen = excluded.seen`,
				a.Cluster, a.Namespace, a.Reference, a.Digest.String(), a.Doc, a.At.UnixMilli(), now.Unix()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Admitted returns what was said of this very image, else of the one that was let
// in last under the same name; nil for none.
func (c *Catalog) Admitted(ctx context.Context, cluster, namespace, reference string, d digest.Digest) ([]byte, error) {
	var doc []byte
	err := c.read.QueryRowContext(ctx, `SELECT doc FROM admitted WHERE cluster = ? AND namespace = ? AND reference = ?
		ORDER BY digest = ? DESC, at DESC LIMIT 1`, cluster, namespace, reference, d.String()).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return doc, err
}
