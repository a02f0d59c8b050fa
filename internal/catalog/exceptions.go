package catalog

import (
	"context"
	"time"
)

// Exceptions are those of one cluster, as it sent them.
type Exceptions struct {
	Doc  []byte
	Sent time.Time // to the second
}

// PutExceptions keeps the exceptions of one cluster, in place of those before.
func (c *Catalog) PutExceptions(ctx context.Context, cluster string, e Exceptions) error {
	return c.exec(ctx, `INSERT INTO exceptions (cluster, doc, sent) VALUES (?, ?, ?)
		ON CONFLICT (cluster) DO UPDATE SET doc = excluded.doc, sent = excluded.sent`, cluster, e.Doc, e.Sent.Unix())
}

// Exceptions returns what PutExceptions kept, by cluster.
func (c *Catalog) Exceptions(ctx context.Context) (map[string]Exceptions, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT cluster, doc, sent FROM exceptions`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]Exceptions{}
	for rows.Next() {
		var cluster string
		var e Exceptions
		var sent int64
		if err := rows.Scan(&cluster, &e.Doc, &sent); err != nil {
			return nil, err
		}
		e.Sent = time.Unix(sent, 0).UTC()
		all[cluster] = e
	}
	return all, rows.Err()
}
