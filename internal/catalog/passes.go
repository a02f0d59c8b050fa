package catalog

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Pass is a break-glass grant: one principal may pull what is refused in one
// repository, for a while.
type Pass struct {
	ID         string
	Principal  string
	Repository Repository
	Reason     string
	GrantedBy  string
	Granted    time.Time
	Until      time.Time
}

// PutPass keeps a grant.
func (c *Catalog) PutPass(ctx context.Context, p Pass) error {
	return c.exec(ctx, `INSERT INTO passes (id, principal, upstream, repository, reason, granted_by, granted, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		p.ID, p.Principal, p.Repository.Upstream, p.Repository.Name, p.Reason, p.GrantedBy, p.Granted.Unix(), p.Until.Unix())
}

// EndPass ends a grant, and reports whether it was alive.
func (c *Catalog) EndPass(ctx context.Context, id string, now time.Time) (bool, error) {
	res, err := c.write.ExecContext(ctx, `UPDATE passes SET until = ?1 WHERE id = ?2 AND until > ?1`, now.Unix(), id)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// LivePass returns the grant that lets the principal pull from the repository
// now; nil when there is none.
func (c *Catalog) LivePass(ctx context.Context, principal string, repo Repository, now time.Time) (*Pass, error) {
	row := c.read.QueryRowContext(ctx, passColumns+` WHERE principal = ? AND upstream = ? AND repository = ? AND until > ? ORDER BY until DESC LIMIT 1`,
		principal, repo.Upstream, repo.Name, now.Unix())
	p, err := scanPass(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return p, err
}

// Pass returns one grant, or nil.
func (c *Catalog) Pass(ctx context.Context, id string) (*Pass, error) {
	p, err := scanPass(c.read.QueryRowContext(ctx, passColumns+` WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return p, err
}

// Passes returns grants: those that live, then those that have ended, each the
// newest first.
func (c *Catalog) Passes(ctx context.Context, now time.Time, limit int) ([]Pass, error) {
	rows, err := c.read.QueryContext(ctx, passColumns+` ORDER BY until > ? DESC, granted DESC, id LIMIT ?`, now.Unix(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Pass
	for rows.Next() {
		p, err := scanPass(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, *p)
	}
	return all, rows.Err()
}

const passColumns = `SELECT id, principal, upstream, repository, reason, granted_by, granted, until FROM passes`

func scanPass(row interface{ Scan(...any) error }) (*Pass, error) {
	var p Pass
	var granted, until int64
	if err := row.Scan(&p.ID, &p.Principal, &p.Repository.Upstream, &p.Repository.Name, &p.Reason, &p.GrantedBy, &granted, &until); err != nil {
		return nil, err
	}
	p.Granted, p.Until = time.Unix(granted, 0).UTC(), time.Unix(until, 0).UTC()
	return &p, nil
}
