package catalog

import (
	"context"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Entry is a manifest as a repository has it.
type Entry struct {
	Repository Repository
	Manifest   digest.Digest
	Tags       []string // that the repository binds to it, in lexical order
	Added      time.Time
}

// Recent returns what repositories came to have last, newest first: what
// has a tag, and what belongs to no index.
func (c *Catalog) Recent(ctx context.Context, limit int) ([]Entry, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT upstream, repository, manifest, added,
		COALESCE((SELECT group_concat(tag, ' ' ORDER BY tag) FROM tags t
			WHERE t.upstream = m.upstream AND t.repository = m.repository AND t.manifest = m.manifest), '')
		FROM members m WHERE NOT EXISTS (SELECT 1 FROM children WHERE child = m.manifest)
			OR EXISTS (SELECT 1 FROM tags t WHERE t.upstream = m.upstream AND t.repository = m.repository AND t.manifest = m.manifest)
		ORDER BY added DESC, repository, manifest LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Entry
	for rows.Next() {
		var e Entry
		var manifest, tags string
		var added int64
		if err := rows.Scan(&e.Repository.Upstream, &e.Repository.Name, &manifest, &added, &tags); err != nil {
			return nil, err
		}
		e.Manifest, e.Tags, e.Added = digest.Digest(manifest), strings.Fields(tags), time.Unix(added, 0).UTC()
		all = append(all, e)
	}
	return all, rows.Err()
}

// Counts says how much the catalog holds.
type Counts struct {
	Repositories int `json:"repositories"`
	Manifests    int `json:"manifests"`
	Images       int `json:"images"` // manifests that were analysed
	Verdicts     int `json:"verdicts"`
}

// Counts counts.
func (c *Catalog) Counts(ctx context.Context) (Counts, error) {
	var n Counts
	err := c.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM (SELECT DISTINCT upstream, repository FROM members)),
		(SELECT count(*) FROM manifests), (SELECT count(*) FROM images), (SELECT count(*) FROM verdicts)`).
		Scan(&n.Repositories, &n.Manifests, &n.Images, &n.Verdicts)
	return n, err
}
