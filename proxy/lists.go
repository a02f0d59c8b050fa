package proxy

import (
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
	"github.com/pratique/pratique/internal/catalog"
)

const maxPage = 1000 // tags in one answer

// listTags answers one page of the tags, in lexical order.
func (p *Proxy) listTags(w http.ResponseWriter, r *http.Request, q request) error {
	query := r.URL.Query()
	n := maxPage
	if text := query.Get("n"); text != "" {
		asked, err := strconv.Atoi(text)
		if err != nil || asked < 0 {
			return refuse(http.StatusBadRequest, "UNSUPPORTED", "n is no number of tags")
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
	canonical, err := p.Gate.Canonical(r.Context(), subject)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	wanted, last := query.Get("artifactType"), digest.Digest(query.Get("last"))
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	known, more, err := p.Catalog.Referrers(r.Context(), q.target.Key(), catalog.ReferrersQuery{
		Subject: canonical, ArtifactType: wanted, Last: last, MaxBytes: maxReferrersPage,
	})
	if err != nil {
		return err
	}
	upstream, err := q.target.Upstream.Registry.Referrers(r.Context(), q.target.Repository, subject)
	if err != nil && !errors.Is(err, image.ErrUnsupported) && !notFound(err) {
		return err
	}
	if more { // what the upstream has beyond the last of them is for the next page
		end := known[len(known)-1].Digest
		upstream = slices.DeleteFunc(upstream, func(d image.Descriptor) bool { return d.Digest > end })
	}
	page, cut := referrersPage(append(known, upstream...), wanted, last)
	if more = more || cut; more {
		next := url.Values{"last": {page[len(page)-1].Digest.String()}}
		for _, name := range []string{"artifactType", "ns"} {
			if value := query.Get(name); value != "" {
				next.Set(name, value)
			}
		}
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/referrers/%s?%s>; rel="next"`, q.name, subject, next.Encode()))
	}
	writeJSON(w, http.StatusOK, image.MediaTypeIndex, map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": page})
	return nil
}

// maxReferrersPage bounds one page of referrers, in bytes: clients read it as a
// manifest.
const maxReferrersPage = image.MaxManifestSize - 1<<10

// referrersPage returns the descriptors after last, in the order of their
// digests, each once, as many as fit one page.
func referrersPage(all []image.Descriptor, wanted string, last digest.Digest) (page []image.Descriptor, more bool) {
	slices.SortStableFunc(all, func(a, b image.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	page, size := []image.Descriptor{}, 0
	for i, d := range all {
		if d.Digest <= last || (i > 0 && all[i-1].Digest == d.Digest) || (wanted != "" && d.ArtifactType != wanted) {
			continue
		}
		d.Data = nil
		raw, err := json.Marshal(d)
		if err != nil { // of a type of ours: cannot be
			continue
		}
		if size += len(raw) + 1; size > maxReferrersPage && len(page) > 0 {
			return page, true
		}
		page = append(page, d)
	}
	return page, false
}
