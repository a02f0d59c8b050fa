package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bundle is a stored policy document, as the user sent it.
type Bundle struct {
	ID      string
	Name    string
	Raw     []byte
	Updated time.Time
}

const activeBundle = "policy.active"

// ErrBundleUnknown: there is no bundle with that id.
var ErrBundleUnknown = errors.New("policy bundle unknown")

// PutBundle stores a bundle under its id, replacing an older one.
func (c *Catalog) PutBundle(ctx context.Context, b Bundle) error {
	return c.exec(ctx, `INSERT INTO bundles (id, name, raw, updated) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, raw = excluded.raw, updated = excluded.updated`, b.ID, b.Name, b.Raw, b.Updated.Unix())
}

// Bundle returns one bundle.
func (c *Catalog) Bundle(ctx context.Context, id string) (Bundle, error) {
	b := Bundle{ID: id}
	var updated int64
	err := c.read.QueryRowContext(ctx, `SELECT name, raw, updated FROM bundles WHERE id = ?`, id).Scan(&b.Name, &b.Raw, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return Bundle{}, fmt.Errorf("%w: %q", ErrBundleUnknown, id)
	}
	b.Updated = time.Unix(updated, 0).UTC()
	return b, err
}

// Bundles returns all bundles in the order of their ids.
func (c *Catalog) Bundles(ctx context.Context) ([]Bundle, error) {
	ids, err := c.texts(ctx, `SELECT id FROM bundles ORDER BY id`)
	if err != nil {
		return nil, err
	}
	all := make([]Bundle, len(ids))
	for i, id := range ids {
		if all[i], err = c.Bundle(ctx, id); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ActiveBundle returns the id of the active bundle and the epoch, which rises
// with every activation; "" and 0 when none was ever activated.
func (c *Catalog) ActiveBundle(ctx context.Context) (id string, epoch int64, err error) {
	value, err := c.Setting(ctx, activeBundle)
	if err != nil {
		return "", 0, err
	}
	return parseActive(value)
}

// parseActive reads "epoch id"; the id may have spaces.
func parseActive(value string) (id string, epoch int64, err error) {
	if value == "" {
		return "", 0, nil
	}
	number, id, _ := strings.Cut(value, " ")
	if epoch, err = strconv.ParseInt(number, 10, 64); err != nil {
		return "", 0, fmt.Errorf("read active bundle: %w", err)
	}
	return id, epoch, nil
}

// Activate makes the bundle the active one and returns the new epoch, which
// nobody else is given.
func (c *Catalog) Activate(ctx context.Context, id string) (epoch int64, err error) {
	if _, err := c.Bundle(ctx, id); err != nil {
		return 0, err
	}
	err = c.update(ctx, func(tx *sql.Tx) error {
		value, err := setting(ctx, tx, activeBundle)
		if err != nil {
			return err
		}
		_, old, err := parseActive(value)
		if err != nil {
			return err
		}
		epoch = old + 1
		_, err = tx.ExecContext(ctx, putSetting, activeBundle, fmt.Sprintf("%d %s", epoch, id))
		return err
	})
	return epoch, err
}

// Setting returns a value kept by PutSetting, or "".
func (c *Catalog) Setting(ctx context.Context, key string) (string, error) {
	return setting(ctx, c.read, key)
}

// setting reads inside or outside of a transaction.
func setting(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, key string) (string, error) {
	var value string
	err := q.QueryRowContext(ctx, `SELECT value FROM settings WHERE key = ?`, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

const putSetting = `INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`

// PutSetting keeps a value.
func (c *Catalog) PutSetting(ctx context.Context, key, value string) error {
	return c.exec(ctx, putSetting, key, value)
}
