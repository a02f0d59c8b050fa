package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

const maxPage = 1000 // tags in one answer

// listTags answers one page of the tags, in lexical order.
func (p *Proxy) listTags(w http.ResponseWriter, r *http.Request, q request) error {
	query := r.URL.Query()
	n := maxPage
	if text := query.Get("n"); text != "" {
		asked, err := strconv.Atoi(text)
		if err != nil || asked < 0 {
			return refuse(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is no number of tags")
		}
		n = min(n, asked)
	}
	tags := []string{}
	if n > 0 {
		page, more, err := q.target.Upstream.Registry.Tags(r.Context(), q.target.Repository, query.Get("last"), n)
		if err != nil {
			return err
		}
		tags = append(tags, page...)
		if more && len(page) > 0 {
			next := url.Values{"n": {strconv.Itoa(n)}, "last": {page[len(page)-1]}}
			if ns := query.Get("ns"); ns != "" {
				next.Set("ns", ns)
			}
			w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?%s>; rel="next"`, q.name, next.Encode()))
		}
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]any{"name": q.name, "tags": tags})
	return nil
}

// listReferrers answers what the catalog and the upstream know to refer to a
// digest. It names manifests and gives none of their content away.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
func (p *Proxy) listReferrers(w http.ResponseWriter, r *http.Request, q request) error {
	subject, err := parseDigest(q.vars["digest"])
	if err != nil {
		return err
	}
	known, err := p.Catalog.Referrers(r.Context(), q.target.Key(), subject)
	if err != nil {
		return err
	}
	upstream, err := q.target.Upstream.Registry.Referrers(r.Context(), q.target.Repository, subject)
	if err != nil && !errors.Is(err, image.ErrUnsupported) && !notFound(err) {
		return err
	}
	wanted := r.URL.Query().Get("artifactType")
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	manifests, seen := []image.Descriptor{}, map[digest.Digest]bool{}
	for _, d := range append(known, upstream...) {
		if seen[d.Digest] || (wanted != "" && d.ArtifactType != wanted) {
			continue
		}
		seen[d.Digest] = true
		d.Data = nil
		manifests = append(manifests, d)
	}
	writeJSON(w, http.StatusOK, image.MediaTypeIndex, map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": manifests})
	return nil
}
