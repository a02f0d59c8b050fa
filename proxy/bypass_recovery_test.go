package proxy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/registrytest"
)

// recoveryWays are about a system that starts again, with all that it knew or
// with less. What a backup no longer knows, nobody has judged.
func recoveryWays() []avenue {
	return []avenue{{"After a restart", []way{
		{"with all that was there", "design 1.4", everywhere, func(c *crossing) {
			v := c.voyage()
			v.sail("before", func(c *crossing) {
				c.pushBoth()
				c.alive(c.repo)
			})
			v.sail("after", func(c *crossing) {
				c.shut("manifests/bad")
				c.swept(c.repo)
				c.alive(c.repo)
			})
		}},
		{"of a catalog that knows nothing", "own", everywhere, func(c *crossing) {
			v := c.voyage()
			v.sail("before", func(c *crossing) { c.pushBoth() })
			v.lose("catalog.db", "catalog.db-wal", "catalog.db-shm")
			v.sail("after", func(c *crossing) {
				c.swept(c.repo)
				c.shut("manifests/bad")
				c.served("manifests/good", c.good.Manifest)
				c.swept(c.repo)
				c.alive(c.repo)
			})
		}},
		{"of the catalog of a backup: images pushed since then", "own", everywhere, func(c *crossing) {
			v := c.voyage()
			v.sail("before", func(c *crossing) { c.push(c.repo, "good", c.good) })
			back := v.backup("catalog.db")
			v.sail("later", func(c *crossing) { c.push(c.repo, "bad", c.bad) })
			v.lose("catalog.db", "catalog.db-wal", "catalog.db-shm")
			back()
			v.sail("after", func(c *crossing) {
				c.shut("blobs/"+layerOf(c.bad), "blobs/"+c.bad.ID().String())
				c.swept(c.repo)
				c.shut("manifests/bad")
				c.alive(c.repo)
			})
		}},
		{"of the catalog of a backup: artifacts wrapped round images pushed since then", "own", everywhere, func(c *crossing) {
			v := c.voyage()
			v.sail("before", func(c *crossing) { c.push(c.repo, "good", c.good) })
			back := v.backup("catalog.db")
			v.sail("later", func(c *crossing) { c.push(c.repo, "bad", c.bad) })
			v.lose("catalog.db", "catalog.db-wal", "catalog.db-shm")
			back()
			v.sail("after", func(c *crossing) {
				c.wrapAll(pirate, c.repo, c.bad)
				c.shut("blobs/"+layerOf(c.bad), "blobs/"+c.bad.ID().String())
				c.swept(c.repo)
				c.alive(c.repo)
			})
		}},
		{"of the catalog of a backup: images pushed and deleted since then", "own", everywhere, func(c *crossing) {
			v := c.voyage()
			v.sail("before", func(c *crossing) { c.push(c.repo, "good", c.good) })
			back := v.backup("catalog.db")
			v.sail("later", func(c *crossing) {
				c.push(c.repo, "bad", c.bad)
				c.delete("manifests/" + c.bad.Digest().String())
			})
			v.lose("catalog.db", "catalog.db-wal", "catalog.db-shm")
			back()
			v.sail("after", func(c *crossing) {
				c.swept(c.repo)
				c.wrapAll(pirate, c.repo, c.bad)
				c.swept(c.repo)
				c.alive(c.repo)
			})
		}},
		{"of the registry's folder of a backup: the catalog knows more than is there", "own", embeddedOnly, func(c *crossing) {
			v := c.voyage()
			v.sail("before", func(c *crossing) { c.push(c.repo, "good", c.good) })
			back := v.backup("registry")
			v.sail("later", func(c *crossing) { c.push(c.repo, "bad", c.bad) })
			v.lose("registry")
			back()
			v.sail("after", func(c *crossing) {
				c.shut("manifests/bad")
				c.swept(c.repo)
				c.wrapAll(pirate, c.repo, c.bad)
				c.swept(c.repo)
				c.alive(c.repo)
				c.push(c.repo, "bad", c.bad)
				c.shut("manifests/bad")
				c.swept(c.repo)
			})
		}},
		{"with data that came while nothing ran, by which the image is refused", "design 3.3", everywhere, func(c *crossing) {
			v := c.voyage()
			v.sail("before", func(c *crossing) {
				c.push(c.repo, "good", c.good)
				c.alive(c.repo)
			})
			gatetest.WriteData(c.T, v.dir, 2, worse())
			v.options.NoData = true
			v.sail("after", func(c *crossing) {
				c.must(c.Gate.Reload(c.Context()))
				c.oracle.hide(c.good)
				c.shut("manifests/good")
				c.shut(addresses(c.repo, c.good)...)
			})
		}},
	}}}
}

// voyage is a data folder, and a remote registry, that outlive the systems that
// run on them one after the other.
type voyage struct {
	*crossing
	dir     string
	options worldOptions
}

func (c *crossing) voyage() *voyage {
	c.Helper()
	v := &voyage{crossing: c, dir: c.TempDir(), options: worldOptions{registry: c.registry}}
	v.options.Dir = v.dir
	if c.registry == distant {
		v.options.remote = registrytest.StartDistribution(c.T, registrytest.Options{}).URL
	}
	return v
}

// sail runs a system on the folder, to its end.
func (v *voyage) sail(name string, do func(*crossing)) {
	v.Helper()
	v.Run(name, func(t *testing.T) { do(v.in(t, openWorld(t, v.options))) })
}

// backup copies something of the folder, and returns what puts it back.
func (v *voyage) backup(name string) (restore func()) {
	v.Helper()
	from, to := filepath.Join(v.dir, name), filepath.Join(v.TempDir(), name)
	v.copy(from, to)
	return func() { v.copy(to, from) }
}

func (v *voyage) copy(from, to string) {
	v.Helper()
	info, err := os.Stat(from)
	v.must(err)
	if info.IsDir() {
		v.must(os.CopyFS(to, os.DirFS(from)))
		return
	}
	raw, err := os.ReadFile(from)
	v.must(err)
	v.must(os.WriteFile(to, raw, 0o600))
}

// lose removes something of the folder.
func (v *voyage) lose(names ...string) {
	v.Helper()
	for _, name := range names {
		v.must(os.RemoveAll(filepath.Join(v.dir, name)))
	}
}
