package localregistry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

const (
	sweepInterval  = time.Hour
	uploadLifetime = 24 * time.Hour // since the last byte
)

// Run drops abandoned uploads every hour until ctx ends. A round that fails is
// made good by the next one: storage that stays broken shows in Ping and in
// every write.
func (r *Registry) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		_ = r.Sweep(ctx, time.Now().Add(-uploadLifetime))
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Sweep drops the uploads to which nothing was written since olderThan, except
// those that a request holds. (The library's own purge goes by the start of an
// upload, and never removes one whose start it cannot read.)
func (r *Registry) Sweep(ctx context.Context, olderThan time.Time) error {
	var failed []error
	err := r.driver.Walk(ctx, repositoryPath(""), func(info storagedriver.FileInfo) error {
		dir, name := path.Split(info.Path())
		if name == "_uploads" {
			repo := strings.TrimPrefix(path.Clean(dir), repositoryPath("")+"/")
			failed = append(failed, r.sweepRepository(ctx, repo, olderThan))
		}
		if strings.HasPrefix(name, "_") || !info.IsDir() {
			return storagedriver.ErrSkipDir
		}
		return ctx.Err()
	})
	if err != nil && !notFound(err) { // nothing was ever pushed
		failed = append(failed, err)
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("sweep uploads: %w", err)
	}
	return nil
}

func (r *Registry) sweepRepository(ctx context.Context, repo string, olderThan time.Time) error {
	uploads, err := r.driver.List(ctx, repositoryPath(repo, "_uploads"))
	if err != nil && !notFound(err) {
		return err
	}
	for _, upload := range uploads {
		release, err := r.hold(repo, path.Base(upload))
		if err != nil { // being written, or not an upload of ours
			continue
		}
		err = r.sweepUpload(ctx, upload, olderThan)
		release()
		if err != nil && !notFound(err) { // ended meanwhile
			return err
		}
	}
	return nil
}

func (r *Registry) sweepUpload(ctx context.Context, upload string, olderThan time.Time) error {
	info, err := r.driver.Stat(ctx, path.Join(upload, "data"))
	if notFound(err) { // a crash came before the first byte
		info, err = r.driver.Stat(ctx, upload)
	}
	if err != nil || !info.ModTime().Before(olderThan) {
		return err
	}
	return r.driver.Delete(ctx, upload)
}
