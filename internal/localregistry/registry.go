// Package localregistry is the registry that lives inside Pratique: blobs,
// manifests and tags on a file system, without HTTP. It stores what the OCI
// specifications allow, byte for byte, and says of an acknowledged write that it
// survives a power cut.
//
// It must not know policy, clients or which requests are allowed, and it keeps
// no referrers: who refers to whom is the catalog's knowledge. Start with Open;
// manifest.go, blob.go and upload.go follow the nouns of the distribution API;
// collect.go takes away what nothing needs, guard.go says why that is safe.
package localregistry

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"

	"github.com/pratique/pratique/engine/image"
)

const listCap = 10_000 // names in one answer when the caller sets no limit

// Options say how the registry is to behave. The zero value is one without
// limits.
type Options struct {
	// Quota returns how many bytes the repository may hold, its distinct blobs
	// and manifests together; 0 is no limit, and so is no function. It is asked
	// at each write, by several requests at once.
	Quota func(repo string) int64
}

// Registry is the embedded registry over one directory. It is safe for
// concurrent use; only one process may have the directory open.
type Registry struct {
	options   Options
	namespace distribution.Namespace
	driver    *durableDriver
	lock      io.Closer

	guard      guard
	ledger     *ledger
	marks      marks
	collecting chan struct{} // holds one token while a collection runs

	// writes serialises changes to the manifests and tags of a repository: a
	// deletion looks up the tags of a manifest before it removes both.
	writes [64]sync.Mutex

	mu   sync.Mutex
	busy map[string]bool // uploads that a request is writing, by id; guarded by mu
}

// Open opens the registry stored in dir, creating it when it is not there.
func Open(dir string, o Options) (*Registry, error) {
	// The library reports to logrus' process-wide logger what it also returns as
	// errors. The errors are ours to report; nothing else here uses logrus.
	logrus.SetOutput(io.Discard)
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	driver := newDriver(dir)
	namespace, err := storage.NewRegistry(context.Background(), driver, storage.EnableDelete)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open registry: %w", err), lock.Close())
	}
	return &Registry{
		options: o, namespace: namespace, driver: driver, lock: lock,
		ledger: newLedger(), collecting: make(chan struct{}, 1), busy: map[string]bool{},
	}, nil
}

// Close gives the directory free. Calls under way are not waited for.
func (r *Registry) Close() error { return r.lock.Close() }

// Ping reports whether the storage answers.
func (r *Registry) Ping(ctx context.Context) error {
	if _, err := r.driver.Stat(ctx, "/"); err != nil {
		return fmt.Errorf("ping registry: %w", err)
	}
	return nil
}

// repository returns the library's view of one repository. It need not exist.
func (r *Registry) repository(ctx context.Context, name string) (distribution.Repository, error) {
	if !image.ValidRepository(name) {
		return nil, fmt.Errorf("repository %q: %w", name, image.ErrNameUnknown)
	}
	named, err := reference.WithName(name)
	if err != nil {
		return nil, fmt.Errorf("repository %q: %w: %w", name, image.ErrNameUnknown, err)
	}
	return r.namespace.Repository(ctx, named)
}

// unknown is the answer for content that is not there: what, or that the whole
// repository is not known.
func (r *Registry) unknown(ctx context.Context, repo string, what error) error {
	for _, part := range []string{"_manifests", "_layers"} {
		if _, err := r.driver.Stat(ctx, repositoryPath(repo, part)); err == nil {
			return what
		}
	}
	return image.ErrNameUnknown
}

// lockWrites holds changes to the manifests of repo until the function that it
// returns is called.
func (r *Registry) lockWrites(repo string) (unlock func()) {
	h := fnv.New32a()
	h.Write([]byte(repo))
	mu := &r.writes[h.Sum32()%uint32(len(r.writes))]
	mu.Lock()
	return mu.Unlock
}

func notFound(err error) bool {
	var missing storagedriver.PathNotFoundError
	return errors.As(err, &missing)
}
