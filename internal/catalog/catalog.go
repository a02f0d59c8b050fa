// Package catalog keeps what must not be lost: which manifests and blobs a
// repository has, which layers were analysed and what was found, verdicts,
// policy bundles and events. It is the truth; every cache may be thrown away.
//
// It knows SQL and no HTTP, no registry and no policy language. Start with
// Catalog and schema.
package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	_ "modernc.org/sqlite" // the database driver
)

// Catalog is safe for concurrent use. Writes are transactions that have reached
// the disk when the method returns.
type Catalog struct {
	read  *sql.DB // several connections
	write *sql.DB // exactly one connection: SQLite has one writer
	enc   *zstd.Encoder
	dec   *zstd.Decoder
}

// maxDocument bounds one stored document after decompression, in bytes.
const maxDocument = 512 << 20

// Open opens the catalog at path, or makes it.
func Open(ctx context.Context, path string) (*Catalog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make catalog folder: %w", err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	c := &Catalog{enc: enc, dec: dec}
	if c.write, err = openDB(path, 1); err != nil {
		return nil, err
	}
	if c.read, err = openDB(path, 4); err != nil {
		return nil, errors.Join(err, c.write.Close())
	}
	if err := c.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog %s: %w", path, err), c.Close())
	}
	return c, nil
}

func openDB(path string, conns int) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)", "cache_size(-4096)",
	}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// Close closes the catalog.
func (c *Catalog) Close() error {
	err := errors.Join(c.write.Close(), c.read.Close())
	c.dec.Close()
	return errors.Join(err, c.enc.Close())
}

// Ping reports whether the database answers.
func (c *Catalog) Ping(ctx context.Context) error {
	var one int
	return c.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
}

// schema is applied statement by statement; its length is the version of the
// database, so a statement is never changed, only added.
var schema = []string{
	// What was learnt from layers. Several stored forms of a layer (gzip, zstd)
	// share the report of their diffID; a stream without one is keyed by its
	// own digest.
	`CREATE TABLE layers (digest TEXT, engine INTEGER, report TEXT NOT NULL, PRIMARY KEY (digest, engine)) WITHOUT ROWID`,
	`CREATE TABLE reports (id TEXT, engine INTEGER, doc BLOB NOT NULL, PRIMARY KEY (id, engine))`,
	// Manifests by content, and the repositories that have them.
	`CREATE TABLE manifests (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, raw BLOB NOT NULL)`,
	`CREATE TABLE members (upstream TEXT, repository TEXT, manifest TEXT, principal TEXT NOT NULL, added INTEGER NOT NULL,
		PRIMARY KEY (upstream, repository, manifest)) WITHOUT ROWID`,
	`CREATE TABLE blobs (upstream TEXT, repository TEXT, blob TEXT, manifest TEXT,
		PRIMARY KEY (upstream, repository, blob, manifest)) WITHOUT ROWID`,
	`CREATE INDEX blobs_by_manifest ON blobs (upstream, repository, manifest)`,
	`CREATE INDEX members_by_manifest ON members (manifest)`,
	`CREATE TABLE children (child TEXT, parent TEXT, PRIMARY KEY (child, parent)) WITHOUT ROWID`,
	`CREATE TABLE tags (upstream TEXT, repository TEXT, tag TEXT, manifest TEXT NOT NULL,
		PRIMARY KEY (upstream, repository, tag)) WITHOUT ROWID`,
	`CREATE INDEX tags_by_manifest ON tags (upstream, repository, manifest)`,
	`CREATE TABLE uploads (upstream TEXT, repository TEXT, blob TEXT, principal TEXT, added INTEGER NOT NULL,
		PRIMARY KEY (upstream, repository, blob, principal)) WITHOUT ROWID`,
	// Blobs of images that were deleted: an artifact does not open them again.
	`CREATE TABLE former (upstream TEXT, repository TEXT, blob TEXT, PRIMARY KEY (upstream, repository, blob)) WITHOUT ROWID`,
	`CREATE TABLE referrers (upstream TEXT, repository TEXT, subject TEXT, manifest TEXT, descriptor BLOB NOT NULL,
		PRIMARY KEY (upstream, repository, subject, manifest)) WITHOUT ROWID`,
	// What is in the images, and which images hold a package.
	`CREATE TABLE images (manifest TEXT PRIMARY KEY, engine INTEGER NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, doc BLOB)`,
	`CREATE TABLE image_keys (ecosystem TEXT, package TEXT, manifest TEXT, PRIMARY KEY (ecosystem, package, manifest)) WITHOUT ROWID`,
	`CREATE INDEX image_keys_by_manifest ON image_keys (manifest)`,
	// Verdicts in force, and the request that leads to a selection.
	`CREATE TABLE verdicts (manifest TEXT, selection TEXT, engine INTEGER NOT NULL, data INTEGER NOT NULL, action TEXT NOT NULL, doc BLOB NOT NULL,
		PRIMARY KEY (manifest, selection))`,
	`CREATE TABLE selections (selection TEXT PRIMARY KEY, request BLOB NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE bundles (id TEXT PRIMARY KEY, name TEXT NOT NULL, raw BLOB NOT NULL, updated INTEGER NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, doc BLOB NOT NULL)`,
	// Other digests of content whose sha256 is known. Every other table names
	// content by its sha256 as soon as this one has it.
	`CREATE TABLE aliases (alias TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID`,
	`CREATE INDEX aliases_by_digest ON aliases (digest)`,
	// Tags that wait for their image to be allowed.
	`CREATE TABLE holds (upstream TEXT, repository TEXT, tag TEXT, manifest TEXT NOT NULL, principal TEXT NOT NULL, added INTEGER NOT NULL, reason TEXT NOT NULL,
		PRIMARY KEY (upstream, repository, tag)) WITHOUT ROWID`,
	`CREATE TABLE passes (id TEXT PRIMARY KEY, principal TEXT NOT NULL, upstream TEXT NOT NULL, repository TEXT NOT NULL, reason TEXT NOT NULL,
		granted_by TEXT NOT NULL, granted INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, principal TEXT NOT NULL, repository TEXT NOT NULL, doc BLOB NOT NULL)`,
	`CREATE INDEX audit_by_time ON audit (at)`,
	// When a layer was analysed, in seconds: a report that nothing names yet may
	// belong to a push that is under way.
	`ALTER TABLE layers ADD COLUMN added INTEGER NOT NULL DEFAULT 0`,
	// Tags that were pushed with another digest of the manifest than its sha256.
	`CREATE TABLE names (upstream TEXT, repository TEXT, tag TEXT, manifest TEXT NOT NULL, named TEXT NOT NULL, PRIMARY KEY (upstream, repository, tag)) WITHOUT ROWID`,
	// What is named by sha512 is little, and looked for with every new manifest.
	`CREATE INDEX blobs_sha512 ON blobs (blob) WHERE blob >= 'sha512:'`,
	`CREATE INDEX referrers_sha512 ON referrers (subject) WHERE subject >= 'sha512:'`,
	`CREATE INDEX uploads_sha512 ON uploads (blob) WHERE blob >= 'sha512:'`,
	`CREATE INDEX former_sha512 ON former (blob) WHERE blob >= 'sha512:'`,
	// Whoever uploaded or mounted a blob has shown that it may have the bytes; a
	// row with proof 1 says that alone, and opens nothing.
	`ALTER TABLE uploads ADD COLUMN proof INTEGER NOT NULL DEFAULT 0`,
	// Blobs that whoever pushed the manifest had not shown to have: it opens none
	// of them to anybody.
	`CREATE TABLE unproven (upstream TEXT, repository TEXT, blob TEXT, manifest TEXT, PRIMARY KEY (upstream, repository, blob, manifest)) WITHOUT ROWID`,
	`CREATE INDEX unproven_sha512 ON unproven (blob) WHERE blob >= 'sha512:'`,
	`CREATE INDEX unproven_by_manifest ON unproven (upstream, repository, manifest)`,
	// Manifests that no repository has any more, and since when.
	`CREATE TABLE orphans (manifest TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID`,
	`INSERT INTO orphans (manifest, since) SELECT digest, 0 FROM manifests WHERE digest NOT IN (SELECT manifest FROM members)`,
	// What is gathered from a layer is configuration: what was read under
	// another one is read again.
	`ALTER TABLE reports ADD COLUMN gathers TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE images ADD COLUMN gathers TEXT NOT NULL DEFAULT ''`,
	// Exceptions beside the bundles, as their clusters sent them.
	`CREATE TABLE exceptions (cluster TEXT PRIMARY KEY, doc BLOB NOT NULL, sent INTEGER NOT NULL) WITHOUT ROWID`,
	// What admission let in, and when it was last seen to run.
	`CREATE TABLE admitted (cluster TEXT, namespace TEXT, reference TEXT, digest TEXT, doc BLOB NOT NULL, at INTEGER NOT NULL, seen INTEGER NOT NULL,
		PRIMARY KEY (cluster, namespace, reference, digest)) WITHOUT ROWID`,
	`CREATE INDEX admitted_by_time ON admitted (seen)`,
}

func (c *Catalog) migrate(ctx context.Context) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
			return err
		}
		if version > len(schema) {
			return fmt.Errorf("it was written by a newer Pratique (schema %d, this one knows %d)", version, len(schema))
		}
		for _, statement := range schema[version:] {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, len(schema)))
		return err
	})
}

// update runs f in a transaction that is on disk when update returns nil.
func (c *Catalog) update(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := c.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// exec runs one writing statement.
func (c *Catalog) exec(ctx context.Context, statement string, args ...any) error {
	_, err := c.write.ExecContext(ctx, statement, args...)
	return err
}

// texts runs a query of one text column.
func (c *Catalog) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := c.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
