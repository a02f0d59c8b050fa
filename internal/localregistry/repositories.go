package localregistry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// Repositories lists at most n repositories after last, path component by path
// component, and says whether there are more; n <= 0 means as many as one answer
// may hold.
func (r *Registry) Repositories(ctx context.Context, last string, n int) ([]string, bool, error) {
	if last != "" && !image.ValidRepository(last) {
		return nil, false, fmt.Errorf("list repositories after %q: %w", last, image.ErrNameUnknown)
	}
	if n <= 0 || n > listCap {
		n = listCap
	}
	var names []string
	err := r.eachRepository(ctx, last, func(repo string) error {
		if len(names) > n {
			return errEnough
		}
		names = append(names, repo)
		return nil
	})
	if err != nil && err != errEnough {
		return nil, false, fmt.Errorf("list repositories: %w", err)
	}
	return names[:min(n, len(names))], len(names) > n, nil
}

// errEnough ends a walk early.
var errEnough = errors.New("enough repositories")

// eachRepository calls f for each repository after last in which a blob or a
// manifest was ever stored, a repository before those below it, until f returns
// an error.
func (r *Registry) eachRepository(ctx context.Context, last string, f func(repo string) error) error {
	var after []string
	if last != "" {
		after = strings.Split(last, "/")
	}
	return r.walk(ctx, "", after, f)
}

// walk visits the folder name and all below it. Where after is not nil, the
// folder itself is left out, and below it all that does not come after that
// path, when it is not empty.
func (r *Registry) walk(ctx context.Context, name string, after []string, f func(repo string) error) error {
	children, err := r.driver.List(ctx, repositoryPath(name))
	if notFound(err) { // nothing was ever pushed
		return nil
	}
	if err != nil {
		return err
	}
	for i := range children {
		children[i] = path.Base(children[i])
	}
	slices.Sort(children)
	if after == nil && (slices.Contains(children, "_layers") || slices.Contains(children, "_manifests")) {
		if err := f(name); err != nil {
			return err
		}
	}
	for _, child := range children {
		below := path.Join(name, child)
		if !image.ValidRepository(below) || len(after) > 0 && child < after[0] {
			continue
		}
		var rest []string
		if len(after) > 0 && child == after[0] {
			rest = after[1:]
		}
		if err := r.walk(ctx, below, rest, f); err != nil {
			return err
		}
	}
	return ctx.Err()
}
