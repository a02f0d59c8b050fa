package catalog

import (
	"context"
	"time"
)

// PutExceptions keeps the exceptions of one cluster, in place of those before.
func (c *Catalog) PutExceptions(ctx context.Context, cluster string, doc []byte, now time.Time) error {
	return c.exec(ctx, `INSERT INTO exceptions (cluster, doc, updated) VALUES (?, ?, ?)
		ON CONFLICT (cluster) DO UPDATE SET doc = excluded.doc, updated = excluded.updated`, cluster, doc, now.Unix())
}

// Exceptions returns what PutExceptions kept, by cluster.
func (c *Catalog) Exceptions(ctx context.Context) (map[string][]byte, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT cluster, doc FROM exceptions`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var cluster string
		var doc []byte
		if err := rows.Scan(&cluster, &doc); err != nil {
			return nil, err
		}
		all[cluster] = doc
	}
	return all, rows.Err()
}
