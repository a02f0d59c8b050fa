package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

const (
	pageSize  = 1000
	maxPages  = 200      // followed in one call
	maxNames  = 100_000  // collected in one call
	maxAnswer = 16 << 20 // bytes of one page
)

// Tags lists at most n tags of repo after last and says whether there are more;
// n <= 0 means all, up to 100 000. Pages come in the order of the registry, which
// should be lexical; within an answer tags are in byte order.
func (r *Registry) Tags(ctx context.Context, repo, last string, n int) ([]string, bool, error) {
	name, err := r.repository(repo)
	if err != nil {
		return nil, false, err
	}
	tags, more, err := r.names(ctx, r.url(name+"/tags/list"), scopePull(name), last, n)
	if err != nil {
		return nil, false, fmt.Errorf("list tags of %s: %w", repo, err)
	}
	return tags, more, nil
}

// Repositories lists at most n repositories after last, where the registry has a
// catalog that these credentials may read.
func (r *Registry) Repositories(ctx context.Context, last string, n int) ([]string, error) {
	names, _, err := r.names(ctx, r.url("_catalog"), scopeCatalog, last, n)
	if errors.Is(err, image.ErrNameUnknown) {
		err = fmt.Errorf("%w: %w", image.ErrUnsupported, err)
	}
	if err != nil {
		return nil, fmt.Errorf("list repositories: %w", err)
	}
	return names, nil
}

// names reads pages until it has n names. A registry that does not know n and
// last sends everything: what was not asked for is left out.
func (r *Registry) names(ctx context.Context, target *url.URL, scopes []string, last string, n int) ([]string, bool, error) {
	if n <= 0 || n > maxNames {
		n = maxNames
	}
	query := url.Values{"n": {strconv.Itoa(min(n, pageSize))}}
	if last != "" {
		query.Set("last", last)
	}
	var all []string
	for range maxPages {
		page, next, err := r.page(ctx, target, query, scopes)
		if isTooMany(err) && query.Has("n") {
			query.Del("n") // the registry's own size of a page, then
			continue
		}
		if err != nil {
			return nil, false, err
		}
		slices.Sort(page)
		for _, name := range page {
			if name > last || last == "" {
				all = append(all, name)
			}
		}
		if len(all) > n {
			return all[:n], true, nil
		}
		if next == nil || len(all) == n {
			return all, next != nil, nil
		}
		query = next
	}
	return all, true, nil
}

// isTooMany: the registry refuses pages of that size instead of giving fewer.
func isTooMany(err error) bool {
	var answer *image.UpstreamError
	return errors.As(err, &answer) && answer.Code == "PAGINATION_NUMBER_INVALID"
}

// page reads one page and the query of the one after it, nil at the end.
func (r *Registry) page(ctx context.Context, target *url.URL, query url.Values, scopes []string) ([]string, url.Values, error) {
	u := *target
	u.RawQuery = query.Encode()
	resp, err := r.do(ctx, &request{method: http.MethodGet, url: &u, scopes: scopes})
	if err != nil {
		return nil, nil, err
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, nil, r.answerError(resp, image.ErrNameUnknown)
	}
	var doc struct {
		Tags         []string `json:"tags"`
		Repositories []string `json:"repositories"`
	}
	if err := r.readJSON(resp, &doc); err != nil {
		return nil, nil, err
	}
	return append(doc.Tags, doc.Repositories...), nextPage(resp.Header), nil
}

func (r *Registry) readJSON(resp *http.Response, doc any) error {
	raw, err := readAll(resp.Body, maxAnswer)
	if err == nil {
		err = json.Unmarshal(raw, doc)
	}
	if err != nil {
		return r.broken(fmt.Errorf("read answer: %w", err))
	}
	return nil
}

// nextPage is the query of a Link with rel="next" (RFC 8288). Only the query is
// taken: where the next page is asked for is not for the registry to say.
func nextPage(h http.Header) url.Values {
	for _, link := range h.Values("Link") {
		address, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok || !strings.Contains(strings.ReplaceAll(strings.ToLower(params), " ", ""), "rel=\"next\"") &&
			!strings.Contains(strings.ToLower(params), "rel=next") {
			continue
		}
		if u, err := url.Parse(address); err == nil && u.RawQuery != "" {
			return u.Query()
		}
	}
	return nil
}

// Referrers lists what refers to subject, by the referrers API or, where the
// registry has none, by the tag that clients keep in its stead.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
func (r *Registry) Referrers(ctx context.Context, repo string, subject digest.Digest) ([]image.Descriptor, error) {
	list, err := r.referrers(ctx, repo, subject)
	if err != nil {
		return nil, fmt.Errorf("list referrers of %s@%s: %w", repo, subject, err)
	}
	return list, nil
}

func (r *Registry) referrers(ctx context.Context, repo string, subject digest.Digest) ([]image.Descriptor, error) {
	name, err := r.repository(repo)
	if err != nil {
		return nil, err
	}
	if err := subject.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", image.ErrManifestUnknown, err)
	}
	var all []image.Descriptor
	target := r.url(name + "/referrers/" + subject.String())
	for range maxPages {
		resp, err := r.do(ctx, &request{
			method: http.MethodGet, url: target, scopes: scopePull(name),
			header: http.Header{"Accept": {image.MediaTypeIndex}},
		})
		if err != nil {
			return nil, err
		}
		page, next, err := r.referrersPage(resp)
		drain(resp.Body)
		if errors.Is(err, image.ErrManifestUnknown) || errors.Is(err, image.ErrUnsupported) {
			return r.referrersTag(ctx, repo, subject)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == nil {
			return all, nil
		}
		if len(all) > maxNames {
			break
		}
		following := *target
		following.RawQuery = next.Encode()
		target = &following
	}
	return nil, r.broken(errors.New("list of referrers does not end"))
}

func (r *Registry) referrersPage(resp *http.Response) ([]image.Descriptor, url.Values, error) {
	if resp.StatusCode == http.StatusNotFound {
		return nil, nil, image.ErrManifestUnknown // whatever its code: there is no such API
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, r.answerError(resp, nil)
	}
	var index struct {
		Manifests []image.Descriptor `json:"manifests"`
	}
	if err := r.readJSON(resp, &index); err != nil {
		return nil, nil, err
	}
	for _, d := range index.Manifests {
		if err := d.Validate(); err != nil {
			return nil, nil, r.broken(err)
		}
	}
	return index.Manifests, nextPage(resp.Header), nil
}

func (r *Registry) referrersTag(ctx context.Context, repo string, subject digest.Digest) ([]image.Descriptor, error) {
	raw, mediaType, err := r.manifest(ctx, repo, subject.Algorithm().String()+"-"+subject.Encoded())
	if errors.Is(err, image.ErrManifestUnknown) || errors.Is(err, image.ErrNameUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := image.ParseManifest(raw, mediaType)
	if err != nil {
		return nil, r.broken(err)
	}
	return m.Manifests, nil
}
