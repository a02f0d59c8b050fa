package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// AuditEntry is one thing that somebody did or was refused.
type AuditEntry struct {
	ID         int64     `json:"id"`
	At         time.Time `json:"at"`
	Kind       string    `json:"kind"` // one of the Audit constants of the gate
	Principal  string    `json:"principal"`
	Client     string    `json:"client,omitempty"` // address that the request came from
	Repository string    `json:"repository,omitempty"`
	Reference  string    `json:"reference,omitempty"` // tag or digest as asked for, or a policy, a grant
	Digest     string    `json:"digest,omitempty"`
	Message    string    `json:"message,omitempty"`
}

// AddAudit keeps entries, all in one transaction.
func (c *Catalog) AddAudit(ctx context.Context, entries []AuditEntry) error {
	return c.update(ctx, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, `INSERT INTO audit (at, kind, principal, repository, doc) VALUES (?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, e := range entries {
			doc, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if _, err := insert.ExecContext(ctx, e.At.UnixMilli(), e.Kind, e.Principal, e.Repository, doc); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?`, maxAudit)
		return err
	})
}

// maxAudit is how many entries are kept at most, however young: whoever asks for
// what is refused again and again does not fill the disk.
const maxAudit = 2_000_000

// AuditFilter chooses entries; empty fields choose all.
type AuditFilter struct {
	Kind, Principal, Repository string
	Since                       time.Time
	Before                      int64 // entries with smaller ids
	Limit                       int
}

// Audit returns entries, the newest first.
func (c *Catalog) Audit(ctx context.Context, f AuditFilter) ([]AuditEntry, error) {
	where, args := []string{"at >= ?"}, []any{f.Since.UnixMilli()}
	if f.Since.IsZero() {
		args[0] = 0
	}
	for _, column := range []struct{ name, value string }{{"kind", f.Kind}, {"principal", f.Principal}, {"repository", f.Repository}} {
		if column.value != "" {
			where, args = append(where, column.name+" = ?"), append(args, column.value)
		}
	}
	if f.Before > 0 {
		where, args = append(where, "id < ?"), append(args, f.Before)
	}
	rows, err := c.read.QueryContext(ctx, `SELECT id, doc FROM audit WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, append(args, f.Limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []AuditEntry{}
	for rows.Next() {
		var e AuditEntry
		var doc []byte
		if err := rows.Scan(&e.ID, &doc); err != nil {
			return nil, err
		}
		id := e.ID
		if err := json.Unmarshal(doc, &e); err != nil {
			return nil, fmt.Errorf("read audit entry %d: %w", id, err)
		}
		e.ID = id
		all = append(all, e)
	}
	return all, rows.Err()
}
