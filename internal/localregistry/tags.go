package localregistry

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pratique/pratique/engine/image"
)

// Tags lists at most n tags of repo after last, in byte order, and says whether
// there are more; n <= 0 means as many as one answer may hold.
func (r *Registry) Tags(ctx context.Context, repo, last string, n int) ([]string, bool, error) {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return nil, false, err
	}
	if n <= 0 || n > listCap {
		n = listCap
	}
	tags := rep.Tags(ctx)
	all, err := tags.All(ctx)
	var unknown distribution.ErrRepositoryUnknown
	if errors.As(err, &unknown) { // no tag was ever put; manifests may still be there
		if err := r.unknown(ctx, repo, nil); err != nil {
			return nil, false, fmt.Errorf("list tags of %s: %w", repo, err)
		}
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("list tags of %s: %w", repo, err)
	}
	all = all[sort.Search(len(all), func(i int) bool { return all[i] > last }):]
	var page []string
	for _, tag := range all {
		// A crash between the two links of a new tag leaves a folder without a tag.
		_, err := tags.Get(ctx, tag)
		var missing distribution.ErrTagUnknown
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("list tags of %s: %w", repo, err)
		}
		if len(page) == n {
			return page, true, nil
		}
		page = append(page, tag)
	}
	return page, false, nil
}

// TagsNaming lists the tags of repo that stand for the manifest.
func (r *Registry) TagsNaming(ctx context.Context, repo string, d digest.Digest) ([]string, error) {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return nil, err
	}
	tags, err := rep.Tags(ctx).Lookup(ctx, v1.Descriptor{Digest: d})
	if err != nil && !notFound(err) {
		return nil, fmt.Errorf("find tags of %s@%s: %w", repo, d, err)
	}
	return tags, nil
}

// DeleteTag removes the tag; the manifest stays.
func (r *Registry) DeleteTag(ctx context.Context, repo, tag string) error {
	rep, err := r.repository(ctx, repo)
	if err != nil {
		return err
	}
	if !image.ValidTag(tag) {
		return fmt.Errorf("delete tag %s:%s: %w", repo, tag, image.ErrManifestUnknown)
	}
	defer r.lockWrites(repo)()
	err = rep.Tags(ctx).Untag(ctx, tag)
	if notFound(err) {
		return fmt.Errorf("delete tag %s:%s: %w", repo, tag, r.unknown(ctx, repo, image.ErrManifestUnknown))
	}
	if err != nil {
		return fmt.Errorf("delete tag %s:%s: %w", repo, tag, err)
	}
	return nil
}
