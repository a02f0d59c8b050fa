package feeds

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pratique/pratique/engine/advisory"
)

// maxSecDB bounds a security database, in bytes; Alpine's have some hundred
// thousand, Wolfi's some million.
const maxSecDB = 512 << 20

func checkSecDB(path string) error {
	raw, err := readSingle(path, maxSecDB)
	if err != nil {
		return err
	}
	all, _, err := advisory.FromSecDB(raw)
	if err == nil && len(all) == 0 {
		err = errors.New("a security database without fixes")
	}
	return err
}

func addSecDB(_ context.Context, b *advisory.Builder, path string, t *tally) error {
	raw, err := readSingle(path, maxSecDB)
	if err != nil {
		return err
	}
	all, skipped, err := advisory.FromSecDB(raw)
	if err != nil {
		return err
	}
	t.skipped += skipped
	return t.addAll(b, all)
}

// eachTracked calls visit with each source package of Debian's tracker. One
// package at a time is in memory.
func eachTracked(path string, visit func(pkg string, raw []byte) error) (err error) {
	file, err := openSingle(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r := &rationed{r: bufio.NewReaderSize(file, 256<<10), left: ration, total: maxUnpackedSingle}
	dec := json.NewDecoder(r)
	if err := expect(dec, '{'); err != nil {
		return fmt.Errorf("not Debian's tracker: %w", err)
	}
	for dec.More() {
		r.renew()
		name, err := dec.Token()
		var raw json.RawMessage
		if err == nil {
			err = dec.Decode(&raw)
		}
		if err != nil {
			return fmt.Errorf("read Debian's tracker: %w", err)
		}
		pkg, _ := name.(string)
		if err := visit(pkg, raw); err != nil {
			return err
		}
	}
	return expect(dec, '}')
}

func checkTracker(path string) error {
	readable := 0
	err := eachTracked(path, func(pkg string, raw []byte) error {
		if _, err := advisory.FromDebianTracker(pkg, raw); err == nil {
			readable++
		}
		return nil
	})
	if err == nil && readable == 0 {
		err = errors.New("a tracker without packages that can be read")
	}
	return err
}

func addTracker(ctx context.Context, b *advisory.Builder, path string, t *tally) error {
	return eachTracked(path, func(pkg string, raw []byte) error {
		all, err := advisory.FromDebianTracker(pkg, raw)
		if err != nil {
			t.skipped++
			return ctx.Err()
		}
		if err := t.addAll(b, all); err != nil {
			return err
		}
		return ctx.Err()
	})
}
