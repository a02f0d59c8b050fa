package localregistry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// Content is stored once, under its sha256. The sha512 of content is an alias: a
// small file that names the sha256, written by this package alone, after it
// hashed the bytes under both. An alias opens nothing: the link of a repository,
// by sha256, decides what the repository has.
const (
	aliasRoot    = "/aliases/sha512"
	maxAliasSize = 256 // bytes
)

// errAliasDamaged: an alias is there, and what it stands for cannot be told.
var errAliasDamaged = errors.New("alias of a digest is damaged")

// canonical returns the sha256 of the content that d names, and false when no
// content is known under d.
func (r *Registry) canonical(ctx context.Context, d digest.Digest) (digest.Digest, bool, error) {
	if image.SupportedDigest(d) != nil {
		return "", false, nil
	}
	if d.Algorithm() == digest.SHA256 {
		return d, true, nil
	}
	target, err := r.readAlias(ctx, d)
	if notFound(err) || errors.Is(err, errAliasDamaged) { // a new upload writes it anew
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read alias %s: %w", d, err)
	}
	return target, true, nil
}

// readAlias returns what the alias stands for. A file that was written for
// another digest, or has lost a bit, is errAliasDamaged: no other bytes than
// those of d may ever come of it.
func (r *Registry) readAlias(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	rc, err := r.driver.Reader(ctx, aliasPath(d), 0)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	raw, err := io.ReadAll(io.LimitReader(rc, maxAliasSize+1))
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	target := digest.Digest(line)
	if target.Validate() != nil || target.Algorithm() != digest.SHA256 || !bytes.Equal(raw, encodeAlias(d, target)) {
		return "", fmt.Errorf("%w: %s", errAliasDamaged, d)
	}
	return target, nil
}

// putAlias makes d stand for target, durably. The caller has hashed the bytes
// and holds the share of target until the content is linked.
func (r *Registry) putAlias(ctx context.Context, d, target digest.Digest) error {
	have, err := r.readAlias(ctx, d)
	if err == nil && have == target {
		err = r.driver.syncUp(aliasPath(d)) // another request may have written it a moment ago
	} else {
		err = r.driver.PutContent(ctx, aliasPath(d), encodeAlias(d, target))
	}
	if err != nil {
		return fmt.Errorf("write alias %s: %w", d, err)
	}
	return nil
}

// encodeAlias is the whole file: the sha256, and a checksum over both digests.
func encodeAlias(d, target digest.Digest) []byte {
	sum := digest.FromString("alias\n" + d.String() + "\n" + target.String() + "\n")
	return []byte(target.String() + "\n" + sum.Encoded() + "\n")
}

func aliasPath(d digest.Digest) string {
	hex := d.Encoded()
	return path.Join(aliasRoot, hex[:2], hex)
}
