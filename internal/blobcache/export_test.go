package blobcache

import "io"

// File is what a blob is filled into.
type File interface {
	io.WriteCloser
	Sync() error
}

// OnDisk puts f around the files that blobs are filled into.
func (c *Cache) OnDisk(f func(File) (File, error)) {
	create := c.folder.create
	c.folder.create = func(path string) (sink, error) {
		file, err := create(path)
		if err != nil {
			return nil, err
		}
		return f(file)
	}
}

// ParseNote reads a note and writes it again.
func ParseNote(raw []byte) (size int64, homes int, err error) {
	n, err := parseNote(raw)
	return n.Size, len(n.Homes), err
}

// Running tells whether blobs can be filled.
func (c *Cache) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ctx != nil
}
