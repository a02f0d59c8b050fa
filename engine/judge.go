package engine

import (
	"slices"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

// Data is one revision of the vulnerability data. *advisory.Snapshot is one.
type Data interface {
	match.Index
	Revision() advisory.Revision
}

// Match says what is wrong with an image by the data, without any policy.
func Match(im *inventory.Image, data Data) match.Result { return match.Match(im, data) }

// Judge says what the selected rules make of an image whose findings are known
// by Match from the same data.
func Judge(im *inventory.Image, found match.Result, data Data, sel bundle.Selection, now time.Time) policy.Verdict {
	feeds := feedsOf(found)
	v := sel.Evaluate(policy.Input{
		Image: im, Findings: found.Vulnerabilities(), Now: now,
		Data: policy.Data{Revision: data.Revision(), Synced: synced(found, feeds, data), Covered: found.Covered},
	})
	v.Manifest, v.Engine, v.Data, v.EvaluatedAt = im.Manifest, im.Engine, data.Revision(), now
	v.Gaps = append(slices.Concat(im.Gaps, found.Gaps), match.Unsupported(im.Distro, now)...)
	v.Feeds = feeds
	return v
}

// feedsOf are the ecosystems that the image was judged by.
func feedsOf(found match.Result) []string {
	var feeds []string
	for _, k := range found.Keys {
		if !slices.Contains(feeds, k.Ecosystem) {
			feeds = append(feeds, k.Ecosystem)
		}
	}
	return feeds
}

// synced is when the data of the image's distribution were last brought up to
// date; for an image without one, the feed that has waited longest.
func synced(found match.Result, feeds []string, data Data) time.Time {
	oldest := found.Distro.Synced
	if !oldest.IsZero() {
		return oldest
	}
	for _, feed := range feeds {
		if c, ok := data.Covers(feed); ok && (oldest.IsZero() || c.Synced.Before(oldest)) {
			oldest = c.Synced
		}
	}
	return oldest
}
