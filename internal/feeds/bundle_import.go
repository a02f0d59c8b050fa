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
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
)

// ErrOlderBundle: what is here is newer than the bundle.
var ErrOlderBundle = errors.New("the bundle is older than the data here")

var errBundle = errors.New("not a bundle of vulnerability data")

// ImportOptions say what an import may do.
type ImportOptions struct {
	// Key checks the signature. Without it nothing is checked, which Unsigned
	// must allow.
	Key      ed25519.PublicKey
	Unsigned bool
	// Force takes a bundle that is older than the data here.
	Force bool
}

// Imported tells what an import did.
type Imported struct {
	Bundle
	Changed bool              `json:"changed"` // false: the same data were here; only times of sync are new
	Local   advisory.Revision `json:"local"`   // as this installation counts
}

// Import puts a bundle's index in force: from a file, oci:<folder>, or a
// reference of a registry. The signature is checked before anything in the
// bundle is looked at.
func Import(ctx context.Context, dataDir, source string, o ImportOptions) (res Imported, err error) {
	if o.Key == nil && !o.Unsigned {
		return res, fmt.Errorf("import %s: %w, and no key is named", source, ErrUnsigned)
	}
	unlock, err := lockFeeds(ctx, dataDir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	p, err := openBundle(ctx, dataDir, source, o)
	if err != nil {
		return res, fmt.Errorf("import %s: %w", source, err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	res.Digest, res.Size, res.Signed = p.digest, p.size, o.Key != nil
	if err := p.install(ctx, IndexDir(dataDir), o.Force, &res); err != nil {
		return res, fmt.Errorf("import %s: %w", source, err)
	}
	return res, nil
}

// packed is a bundle's packed bytes in a file, their signature checked.
type packed struct {
	file      *os.File
	at        int64 // where the packed bytes begin
	size      int64
	digest    digest.Digest
	signature []byte
}

func (p *packed) close() error { return p.file.Close() }

// check holds the signature to the options.
func (o ImportOptions) check(d digest.Digest, signature []byte) error {
	if o.Key == nil {
		return nil
	}
	return verify(o.Key, d, signature)
}

func openBundle(ctx context.Context, dataDir, source string, o ImportOptions) (*packed, error) {
	kind, name := bundlePlace(source)
	switch kind {
	case placeLayout:
		return openLayout(ctx, name, o)
	case placeRegistry:
		return openRegistry(ctx, dataDir, name, o)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	p, err := openFile(ctx, f, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

// openFile reads a bundle that is a file by itself.
func openFile(ctx context.Context, f *os.File, o ImportOptions) (*packed, error) {
	p := &packed{file: f}
	frame := make([]byte, frameSize)
	if n, err := f.ReadAt(frame, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if signature, ok := parseFrame(frame[:n]); ok {
		p.signature, p.at = signature, int64(frameSize)
	}
	if err := p.measure(ctx); err != nil {
		return nil, err
	}
	return p, o.check(p.digest, p.signature)
}

// measure finds size and digest of the packed bytes.
func (p *packed) measure(ctx context.Context) error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if p.size = info.Size() - p.at; !info.Mode().IsRegular() || p.size <= 0 || p.size > maxBundle {
		return fmt.Errorf("%w: file of %d bytes", errBundle, info.Size())
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, cancelled{ctx, p.reader()}); err != nil {
		return err
	}
	p.digest = digest.NewDigest(digest.SHA256, sum)
	return nil
}

func (p *packed) reader() *io.SectionReader { return io.NewSectionReader(p.file, p.at, p.size) }

// install unpacks the bundle and puts it in force, if it is newer.
func (p *packed) install(ctx context.Context, dir string, force bool, res *Imported) (err error) {
	temp, err := advisory.CreateTemp(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	status, err := p.unpack(ctx, temp)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if res.Revision, err = revisionOf(temp.Name()); err != nil {
		return err
	}
	newest, err := newestRevision(ctx, dir)
	if err != nil {
		return err
	}
	before, err := advisory.ReadStatus(dir)
	if err != nil {
		before = advisory.Status{} // a damaged status keeps no data out
	}
	err = errors.Join(newer(res.Revision, newest, before.Imported), newerFeeds(status.Feeds, before.Feeds))
	if err != nil && !force {
		return err
	}
	last, err := advisory.NewestSequence(dir)
	if err != nil {
		return err
	}
	if _, res.Local, err = advisory.Place(dir, temp.Name(), last+1); err != nil {
		return err
	}
	res.Changed = res.Local.Digest != newest.Digest
	return settle(dir, status, res.Revision)
}

// settle writes the status once the index is in place. Should that be lost, the
// data are there and look older than they are, and the import can be repeated.
func settle(dir string, status advisory.Status, imported advisory.Revision) error {
	status.Imported = &imported
	return errors.Join(advisory.WriteStatus(dir, status), advisory.Prune(dir))
}

func revisionOf(path string) (advisory.Revision, error) {
	index, err := advisory.Open(path)
	if err != nil {
		return advisory.Revision{}, err
	}
	return index.Revision(), index.Close()
}

// newer refuses a step back: behind the last bundle as its exporter counts, or
// behind what was built here.
func newer(next, here advisory.Revision, imported *advisory.Revision) error {
	if imported != nil && next.Digest != imported.Digest && next.Sequence <= imported.Sequence {
		return fmt.Errorf("%w: it has revision %d, and %d was imported before", ErrOlderBundle, next.Sequence, imported.Sequence)
	}
	if next.Digest != here.Digest && next.Built.Before(here.Built) {
		return fmt.Errorf("%w: it was built %s, they %s", ErrOlderBundle, next.Built.Format(time.RFC3339), here.Built.Format(time.RFC3339))
	}
	return nil
}

// newerFeeds refuses a bundle that would put older data of a feed in the place
// of newer ones: asked for earlier, and with an older newest record. A feed that
// it has not, or that was only asked for earlier, is left to the next sync.
func newerFeeds(next, here []advisory.FeedStatus) error {
	for _, h := range here {
		i := slices.IndexFunc(next, func(n advisory.FeedStatus) bool { return same(n, h) })
		if i < 0 || next[i].Newest.IsZero() {
			continue
		}
		if n := next[i]; n.Newest.Before(h.Newest) && n.Synced.Before(h.Synced) {
			return fmt.Errorf("%w: of %s %s its newest record is of %s, here it is of %s", ErrOlderBundle, h.Source, h.Ecosystem,
				n.Newest.Format(time.RFC3339), h.Newest.Format(time.RFC3339))
		}
	}
	return nil
}

// unpack writes the index to temp and returns the status. The packed bytes are
// hashed once more: what was signed is what was unpacked.
func (p *packed) unpack(ctx context.Context, temp io.Writer) (status advisory.Status, err error) {
	sum := sha256.New()
	source := io.TeeReader(cancelled{ctx, p.reader()}, sum)
	z, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(bundleWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return status, fmt.Errorf("%w: %w", errBundle, err)
	}
	defer z.Close()
	t := tar.NewReader(z)
	text, err := member(t, memberStatus, maxBundleStatus)
	if err != nil {
		return status, err
	}
	raw, err := io.ReadAll(text)
	if err == nil {
		err = json.Unmarshal(raw, &status)
	}
	if err != nil {
		return status, fmt.Errorf("%w: %s: %w", errBundle, memberStatus, err)
	}
	index, err := member(t, memberIndex, maxBundleIndex)
	if err != nil {
		return status, err
	}
	if _, err := io.Copy(temp, index); err != nil {
		return status, fmt.Errorf("unpack bundle: %w", err)
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return status, fmt.Errorf("%w: more than two members (%v)", errBundle, err)
	}
	if _, err := io.Copy(io.Discard, source); err != nil {
		return status, fmt.Errorf("unpack bundle: %w", err)
	}
	if digest.NewDigest(digest.SHA256, sum) != p.digest {
		return status, fmt.Errorf("%w: it changed while it was read", errBundle)
	}
	return clean(status), nil
}

// member moves on to the named file of the tar.
func member(t *tar.Reader, name string, limit int64) (io.Reader, error) {
	h, err := t.Next()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errBundle, name, err)
	}
	if h.Name != name || h.Typeflag != tar.TypeReg || h.Size > limit {
		return nil, fmt.Errorf("%w: %.100q of %d bytes in place of %s", errBundle, h.Name, h.Size, name)
	}
	return t, nil
}

// clean keeps of a foreign status what holds here: no time lies ahead, so that
// no data stay fresh, or newer than all that comes, for ever. None of the data
// were made of downloads here.
func clean(s advisory.Status) advisory.Status {
	now := time.Now().UTC()
	for i := range s.Feeds {
		f := &s.Feeds[i]
		if f.Synced.After(now) {
			f.Synced = now
		}
		if f.Newest.After(now.Add(maxAhead)) {
			f.Newest = time.Time{}
		}
		f.Kept = f.Records > 0
	}
	s.Inputs, s.Imported = "", nil
	return s
}

// spoolFile makes a file without a name in the data directory.
func spoolFile(dataDir string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Join(dataDir, "feeds"), tempDownload+"*")
	if err != nil {
		return nil, fmt.Errorf("make spool of the bundle: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("make spool of the bundle: %w", err), f.Close())
	}
	return f, nil
}
