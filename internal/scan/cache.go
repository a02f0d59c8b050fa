package scan

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/inventory"
)

// Cache keeps what scans have learnt from layers and images, so that the same
// bytes are read once. It is a folder of small files, each written aside and
// renamed; several processes may use one. What is damaged counts as not there.
type Cache struct {
	Dir   string
	Limit int64 // bytes; what was used longest ago goes first
}

// maxCached bounds one file of the cache as it is unpacked, in bytes.
const maxCached = 1 << 30

// cachedImage is an image as it was found, for the same manifest and maker.
type cachedImage struct {
	Subject inventory.Subject `json:"subject"`
	Image   *inventory.Image  `json:"image"`
}

func (c *Cache) image(manifest digest.Digest, by inventory.Maker) (cachedImage, bool) {
	var im cachedImage
	ok := c.load("image", manifest, by, &im)
	return im, ok && im.Image != nil
}

func (c *Cache) putImage(manifest digest.Digest, s inventory.Subject, im *inventory.Image) error {
	return c.store("image", manifest, s.Maker, cachedImage{s, im})
}

func (c *Cache) report(layer digest.Digest, by inventory.Maker) (*inventory.Report, bool) {
	r := new(inventory.Report)
	return r, c.load("layer", layer, by, r)
}

func (c *Cache) putReport(layer digest.Digest, r *inventory.Report) error {
	return c.store("layer", layer, inventory.Maker{Engine: r.Engine, Gathers: r.Gathers}, r)
}

// verified lists the identities of files that were found to have the content
// that the digest names.
func (c *Cache) verified(d digest.Digest) []string {
	var known []string
	if !c.load("blob", d, inventory.Maker{}, &known) {
		return nil
	}
	return known
}

// maxIdentities is how many copies of a blob are remembered.
const maxIdentities = 16

func (c *Cache) putVerified(d digest.Digest, identity string) error {
	known := append(c.verified(d), identity)
	return c.store("blob", d, inventory.Maker{}, known[max(0, len(known)-maxIdentities):])
}

func (c *Cache) path(kind string, d digest.Digest, by inventory.Maker) string {
	name := kind + "-" + d.Algorithm().String() + "-" + d.Encoded()
	if by != (inventory.Maker{}) {
		name += "-" + strconv.Itoa(by.Engine) + "-" + by.Gathers
	}
	return filepath.Join(c.Dir, name+".json.zst")
}

func (c *Cache) load(kind string, d digest.Digest, by inventory.Maker, into any) bool {
	path := c.path(kind, d, by)
	packed, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxCached))
	if err != nil {
		return false
	}
	defer z.Close()
	raw, err := z.DecodeAll(packed, nil)
	if err != nil || json.Unmarshal(raw, into) != nil {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // for the order in which files go
	return true
}

func (c *Cache) store(kind string, d digest.Digest, by inventory.Maker, doc any) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", kind, d, err)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", kind, d, err)
	}
	if err := c.write(c.path(kind, d, by), z.EncodeAll(raw, nil)); err != nil {
		return fmt.Errorf("keep %s %s: %w", kind, d, err)
	}
	return nil
}

const (
	cacheTemp = ".tmp-"
	staleTemp = time.Hour // an unfinished file that is older was left by a killed process
)

func (c *Cache) write(path string, b []byte) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.Dir, cacheTemp+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Prune removes what was used longest ago until the limit holds.
func (c *Cache) Prune() error {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune the cache of scans: %w", err)
	}
	var files []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		if strings.HasPrefix(e.Name(), cacheTemp) && time.Since(info.ModTime()) < staleTemp {
			continue
		}
		files = append(files, info)
		total += info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, f := range files {
		if total <= c.Limit && !strings.HasPrefix(f.Name(), cacheTemp) {
			continue
		}
		if err := os.Remove(filepath.Join(c.Dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("prune the cache of scans: %w", err)
		}
		total -= f.Size()
	}
	return nil
}
