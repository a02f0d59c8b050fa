package layer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pratique/pratique/engine/cataloger"
	"github.com/pratique/pratique/engine/inventory"
)

// recorder fills a report within the limits.
type recorder struct {
	limits    Limits
	report    *inventory.Report
	learnt    map[string]learnt // by path; what a later entry replaced is gone
	head      [cataloger.HeadSize]byte
	pathBytes int64
	packages  int // that all files of the layer have told, replaced ones too
	owned     int
	sparse    int64                     // bytes that sparse files claim to have
	unsaid    map[inventory.GapKind]int // gaps beyond the limit
}

// learnt is what a cataloger read from one file.
type learnt struct {
	by     *cataloger.Cataloger
	result *cataloger.Result
}

func newRecorder(limits Limits) *recorder {
	return &recorder{
		limits: limits, learnt: map[string]learnt{}, unsaid: map[inventory.GapKind]int{},
		report: &inventory.Report{Engine: inventory.EngineVersion, Packages: []inventory.Package{}, Databases: []inventory.Database{}},
	}
}

// add records an entry, or that there is no room for more.
func (rec *recorder) add(e inventory.Entry) error {
	rec.pathBytes += int64(len(e.Path) + len(e.Link))
	if rec.report.Entries.Len() >= rec.limits.Entries || rec.pathBytes > rec.limits.PathBytes {
		rec.gap(inventory.Blind, "layer-too-many-entries", "", fmt.Sprintf("the layer has more paths than this version reads (%d were read)", rec.report.Entries.Len()))
		return errLimit
	}
	rec.report.Entries.Append(e)
	return nil
}

// result makes room for what one file tells.
func (rec *recorder) result(path string) *cataloger.Result {
	return cataloger.NewResult(path, cataloger.Limits{Packages: rec.limits.Packages - rec.packages, Owned: rec.limits.Owned - rec.owned})
}

func (rec *recorder) learn(path string, by *cataloger.Cataloger, result *cataloger.Result) {
	rec.packages += len(result.Packages)
	rec.owned += len(result.Owned)
	if rec.packages > rec.limits.Packages {
		rec.gap(inventory.Blind, "too-many-packages", path, fmt.Sprintf("more than %d packages in one layer; the rest was not read", rec.limits.Packages))
		return
	}
	rec.learnt[path] = learnt{by, result}
}

// gap records a gap, or counts it when there are too many.
func (rec *recorder) gap(kind inventory.GapKind, code, path, detail string) {
	if len(rec.report.Gaps) >= rec.limits.Gaps {
		rec.unsaid[kind]++
		return
	}
	rec.report.Gaps = append(rec.report.Gaps, inventory.Gap{Kind: kind, Code: code, Path: path, Detail: inventory.Printable(detail)})
}

// streamGap records that the stream could not be read to its end.
func (rec *recorder) streamGap(err error) {
	code, detail := describe(err)
	rec.gap(inventory.Blind, code, "", detail)
}

// finish brings what was learnt into the report, by path.
func (rec *recorder) finish() {
	r := rec.report
	for _, path := range slices.Sorted(maps.Keys(rec.learnt)) {
		told := rec.learnt[path].result
		r.Packages = append(r.Packages, told.Packages...)
		r.Databases = append(r.Databases, told.Databases...)
		r.Owned = append(r.Owned, told.Owned...)
		r.Releases = append(r.Releases, told.Releases...)
		for _, g := range told.Gaps {
			rec.gap(g.Kind, g.Code, g.Path, g.Detail)
		}
	}
	for _, kind := range []inventory.GapKind{inventory.Blind, inventory.Partial} {
		if n := rec.unsaid[kind]; n > 0 {
			r.Gaps = append(r.Gaps, inventory.Gap{Kind: kind, Code: "more-gaps", Detail: fmt.Sprintf("%d more %s gaps in this layer", n, kind)})
		}
	}
}
