package feeds

import (
	"archive/tar"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
)

// A bundle carries the newest index, and when each source was asked for it, to
// installations without a network: a tar of status.json and vulndb.idx, packed
// with zstd. Its signature is over its digest. A bundle is a file, an artifact
// of an OCI layout, or one of a registry.

// ErrNoData: no index was ever built or imported.
var ErrNoData = errors.New("there are no vulnerability data yet")

// Members of the tar, in this order.
const (
	memberStatus = "status.json"
	memberIndex  = "vulndb.idx"
)

// Limits of a bundle, in bytes.
const (
	maxBundle       = 16 << 30
	maxBundleIndex  = 64 << 30
	maxBundleStatus = 4 << 20
	bundleWindow    = 4 << 20 // of zstd: what unpacking holds in memory
)

// Bundle tells what was exported or imported.
type Bundle struct {
	Revision advisory.Revision `json:"revision"` // as the exporter counts
	Digest   digest.Digest     `json:"digest"`   // of the packed bytes
	Size     int64             `json:"size"`     // of them
	Signed   bool              `json:"signed"`   // of an import: and the signature was checked
}

// Export writes the newest revision to a target: a file, oci:<folder>, or a
// reference of a registry. A nil key makes a bundle that is not signed.
func Export(ctx context.Context, dataDir, target string, key ed25519.PrivateKey) (Bundle, error) {
	kind, name := bundlePlace(target)
	switch kind {
	case placeLayout:
		return exportLayout(ctx, dataDir, name, key)
	case placeRegistry:
		return exportRegistry(ctx, dataDir, name, key)
	}
	return exportFile(ctx, dataDir, name, key)
}

// Kinds of places that hold a bundle.
const (
	placeFile = iota
	placeLayout
	placeRegistry
)

// bundlePlace tells a file from a reference: a reference begins with a host,
// does not exist as a file, and has no name of an archive.
func bundlePlace(s string) (kind int, name string) {
	if dir, ok := strings.CutPrefix(s, "oci:"); ok {
		return placeLayout, dir
	}
	if path, ok := strings.CutPrefix(s, "file:"); ok {
		return placeFile, path
	}
	host, _, ok := strings.Cut(s, "/")
	if !ok || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".zst") || !image.IsHost(host) {
		return placeFile, s
	}
	if _, err := os.Stat(s); err == nil {
		return placeFile, s
	}
	return placeRegistry, s
}

func exportFile(ctx context.Context, dataDir, path string, key ed25519.PrivateKey) (b Bundle, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempDownload+"*")
	if err != nil {
		return b, fmt.Errorf("make bundle: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	// The frame with the signature stands first and is written last.
	if _, err = f.Write(make([]byte, frameSize)); err == nil {
		b, err = pack(ctx, dataDir, f)
	}
	if err == nil {
		b.Signed = key != nil
		_, err = f.WriteAt(signatureFrame(sign(key, b.Digest)), 0)
	}
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return b, fmt.Errorf("write bundle: %w", err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return b, fmt.Errorf("write bundle: %w", err)
	}
	return b, nil
}

// pack writes the packed tar, without signature.
func pack(ctx context.Context, dataDir string, w io.Writer) (b Bundle, err error) {
	index, rev, status, err := snapshot(ctx, dataDir)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	sum := sha256.New()
	size := &sizer{}
	z, err := zstd.NewWriter(io.MultiWriter(w, sum, size), zstd.WithWindowSize(bundleWindow), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return b, fmt.Errorf("pack bundle: %w", err)
	}
	t := tar.NewWriter(z)
	err = addMember(t, memberStatus, rev.Built, int64(len(status)), strings.NewReader(string(status)))
	if err == nil {
		var info fs.FileInfo
		if info, err = index.Stat(); err == nil {
			err = addMember(t, memberIndex, rev.Built, info.Size(), cancelled{ctx, index})
		}
	}
	if err = errors.Join(err, t.Close(), z.Close()); err != nil {
		return b, fmt.Errorf("pack bundle: %w", err)
	}
	return Bundle{Revision: rev, Digest: digest.NewDigest(digest.SHA256, sum), Size: size.n}, nil
}

// snapshot takes index and status while no sync is about to change them.
func snapshot(ctx context.Context, dataDir string) (index *os.File, rev advisory.Revision, status []byte, err error) {
	unlock, err := lockFeeds(ctx, dataDir)
	if err != nil {
		return nil, rev, nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	s, err := advisory.ReadStatus(IndexDir(dataDir))
	if err != nil {
		return nil, rev, nil, err
	}
	s.Inputs, s.Imported = "", nil // of this installation alone
	if status, err = json.Marshal(s); err != nil {
		return nil, rev, nil, fmt.Errorf("write feed status: %w", err)
	}
	index, rev, err = advisory.OpenNewest(IndexDir(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoData
	}
	return index, rev, status, err
}

// lockFeeds makes the folders of the feeds and takes their lock.
func lockFeeds(ctx context.Context, dataDir string) (unlock func() error, err error) {
	if err := makeDirs(dataDir); err != nil {
		return nil, err
	}
	return lock(ctx, filepath.Join(dataDir, "feeds", "lock"))
}

func makeDirs(dataDir string) error {
	for _, dir := range []string{IndexDir(dataDir), filepath.Join(dataDir, "feeds")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory of the feeds: %w", err)
		}
	}
	return nil
}

func addMember(t *tar.Writer, name string, at time.Time, size int64, content io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: at.Truncate(time.Second)}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(t, content)
	return err
}

// cancelled ends reading with the context.
type cancelled struct {
	ctx context.Context
	io.Reader
}

func (c cancelled) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(b)
}

// sizer counts bytes.
type sizer struct{ n int64 }

func (s *sizer) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	return len(b), nil
}
