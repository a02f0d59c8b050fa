package bundle

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pratique/pratique/engine/inventory"
)

const day = 24 * time.Hour

// compileStale: vulnerabilities.stale_feed_data fires when the data of the
// image's distribution were last brought up to date more than N days ago, or
// never. An image without system packages rests on no distribution's data: for
// it, the age of the data as a whole counts.
func compileStale(v values) (check, string) {
	days := v.integer("max_days_since_sync")
	message := fmt.Sprintf("The vulnerability feed for this image distro is older than MAXAGE (%d) days", days)
	return func(e *evaluation) ([]fired, error) {
		synced := e.in.Data.Synced
		if synced.IsZero() && !hasSystemPackages(e.in.Image) {
			synced = e.in.Data.Revision.Built
		}
		limit := synced.Add(time.Duration(days) * day)
		if !synced.IsZero() && !e.in.Now.After(limit) {
			e.flips(limit.Add(1)) // fires after the limit, not at it
			return nil, nil
		}
		return once("vulnerabilities", "stale_feed_data", message), nil
	}, ""
}

// compileUnavailable: vulnerabilities.vulnerability_data_unavailable fires when
// the image has system packages and no data cover its distribution.
func compileUnavailable(values) (check, string) {
	return func(e *evaluation) ([]fired, error) {
		if e.in.Data.Covered || !hasSystemPackages(e.in.Image) {
			return nil, nil
		}
		d := e.in.Image.Distro
		namespace := cmp.Or(d.ID, "unknown") + ":" + cmp.Or(d.VersionID, "unknown")
		return once("vulnerabilities", "vulnerability_data_unavailable",
			"Distro-specific feed data not found for distro namespace: "+namespace+
				". Cannot perform CVE scan OS/distro packages"), nil
	}, ""
}

func hasSystemPackages(im *inventory.Image) bool {
	return slices.ContainsFunc(im.Packages, func(p inventory.Package) bool { return inventory.IsSystem(p.Type) })
}
