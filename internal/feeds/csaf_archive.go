package feeds

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"

	"github.com/pratique/pratique/engine/advisory"
)

// Limits of one archive. A day's archive of Red Hat has some 50,000 documents of
// 150 KB.
const (
	maxDocuments  = 1_000_000
	maxCSAFBytes  = 256 << 30 // of all documents
	maxZstdWindow = 128 << 20
	// parseBudget bounds the documents that are parsed at one moment, in bytes.
	parseBudget = 2 * advisory.MaxCSAF
)

// eachDocument calls visit with every document of an archive, which is read as a
// stream; the bytes are good until it returns. Of a document that is too large it
// is told the error alone.
func eachDocument(ctx context.Context, path string, visit func(raw []byte, err error) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	unpacked, done, err := unpack(file)
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	defer done()
	archive := tar.NewReader(io.LimitReader(unpacked, maxCSAFBytes))
	var buf bytes.Buffer
	for n := 0; ; n++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n > maxDocuments {
			return fmt.Errorf("archive of more than %d files", maxDocuments)
		}
		if header.Typeflag != tar.TypeReg || !strings.HasSuffix(header.Name, ".json") {
			continue
		}
		buf.Reset()
		var bad error
		if header.Size > advisory.MaxCSAF {
			bad = fmt.Errorf("%w: %.100q has %d bytes", advisory.ErrBadRecord, header.Name, header.Size)
		} else if _, err := buf.ReadFrom(archive); err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := visit(buf.Bytes(), bad); err != nil {
			return err
		}
	}
}

// unpack finds out how an archive is compressed. done frees what the reader
// holds.
func unpack(file *os.File) (r io.Reader, done func(), err error) {
	head := make([]byte, 4)
	if _, err := file.ReadAt(head, 0); err != nil {
		return nil, nil, fmt.Errorf("read its beginning: %w", err)
	}
	none := func() {}
	switch {
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2.NewReader(file), none, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(file)
		return z, none, err
	}
	return file, none, nil
}

// budget bounds the bytes that are in memory at one moment.
type budget struct{ weight *semaphore.Weighted }

func newBudget(size int64) budget { return budget{semaphore.NewWeighted(size)} }

func (b budget) take(ctx context.Context, n int) error { return b.weight.Acquire(ctx, int64(n)) }

func (b budget) give(n int) { b.weight.Release(int64(n)) }
