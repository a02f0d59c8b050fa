package layer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pratique/pratique/engine/cataloger"
	"github.com/pratique/pratique/engine/inventory"
)

// recorder fills a report within the limits.
type recorder struct {
	*Analyzer
	tools
	limits Limits
	report *inventory.Report
	learnt map[string]learnt // by path; what a later entry replaced is gone

	file    *content // the file at hand
	memory  []byte   // for the file at hand, when it is held
	clamd   *clamd   // nil: not wanted
	spooled int64    // bytes of files held on disk
	waiting map[string]waiting
	beside  map[string]*held // files that belong to another one
	links   []hardLink       // to files that are waiting

	pathBytes int64
	packages  int // that all files of the layer have told, replaced ones too
	owned     int
	findings  int
	kept      int64                     // bytes of content that is kept
	sparse    int64                     // bytes that sparse files claim to have
	unsaid    map[inventory.GapKind]int // gaps beyond the limit

	began  time.Time
	waited func() int64 // nanoseconds that went by waiting for bytes
	late   bool         // the time for work is used up
}

// learnt is what a cataloger read from one file.
type learnt struct {
	by     *cataloger.Cataloger
	result *cataloger.Result
}

// waiting is a file that is read at the end of the layer, with what belongs to it.
type waiting struct {
	by      *cataloger.Cataloger
	content *held
}

type hardLink struct{ path, target string }

func newRecorder(a *Analyzer) (*recorder, error) {
	t, err := a.tools()
	if err != nil {
		return nil, err
	}
	rec := &recorder{
		Analyzer: a, tools: t, limits: a.config.Limits, learnt: map[string]learnt{}, unsaid: map[inventory.GapKind]int{},
		waiting: map[string]waiting{}, beside: map[string]*held{},
		file: newContent(a.config.FileDigests), began: time.Now(), waited: func() int64 { return 0 },
		report: &inventory.Report{Engine: inventory.EngineVersion, Gathers: a.gathers, Packages: []inventory.Package{}, Databases: []inventory.Database{}},
	}
	if a.config.ClamAV != "" {
		rec.clamd = newClamd(a.config.ClamAV)
	}
	return rec, nil
}

// close gives back what the layer held.
func (rec *recorder) close() {
	for _, w := range rec.waiting {
		rec.release(w.content)
	}
	for _, h := range rec.beside {
		rec.release(h)
	}
	if rec.clamd != nil {
		rec.clamd.close()
	}
}

// room records that there is no room for another entry.
func (rec *recorder) room(e *inventory.Entry) error {
	rec.pathBytes += int64(len(e.Path) + len(e.Link))
	if rec.report.Entries.Len() >= rec.limits.Entries || rec.pathBytes > rec.limits.PathBytes {
		rec.gap(inventory.Blind, "layer-too-many-entries", "", fmt.Sprintf("the layer has more paths than this version reads (%d were read)", rec.report.Entries.Len()))
		return errLimit
	}
	return nil
}

// add records an entry.
func (rec *recorder) add(e inventory.Entry) error {
	if err := rec.room(&e); err != nil {
		return err
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

// forget drops what was learnt from a file that a later entry replaces.
func (rec *recorder) forget(path string) {
	delete(rec.learnt, path)
	if w, ok := rec.waiting[path]; ok {
		rec.release(w.content)
		delete(rec.waiting, path)
	}
	if h, ok := rec.beside[path]; ok {
		rec.release(h)
		delete(rec.beside, path)
	}
}

// more reports whether there is room for another secret, match or the like.
func (rec *recorder) more(path string) bool {
	rec.findings++
	if rec.findings == rec.limits.Findings+1 {
		rec.gap(inventory.Partial, "too-many-findings", path, fmt.Sprintf("more than %d secrets and matches in one layer; the rest is not listed", rec.limits.Findings))
	}
	return rec.findings <= rec.limits.Findings
}

// gap records a gap, or counts it when there are too many.
func (rec *recorder) gap(kind inventory.GapKind, code, path, detail string) {
	if len(rec.report.Gaps) >= rec.limits.Gaps {
		rec.unsaid[kind]++
		return
	}
	rec.report.Gaps = append(rec.report.Gaps, inventory.Gap{Kind: kind, Code: code, Path: path, Detail: inventory.Printable(detail)})
}

// fileGap records that a file could not be read: a database hides packages, any
// other file itself.
func (rec *recorder) fileGap(c *cataloger.Cataloger, code, path, detail string) {
	kind := inventory.Partial
	if c.Database {
		kind = inventory.Blind
	}
	rec.gap(kind, code, path, detail)
}

// streamGap records that the stream could not be read to its end.
func (rec *recorder) streamGap(err error) {
	code, detail := describe(err)
	rec.gap(inventory.Blind, code, "", detail)
}

// finish reads what had to wait for the layer's end, and brings all that was
// learnt into the report, by path.
func (rec *recorder) finish() {
	for _, path := range slices.Sorted(maps.Keys(rec.waiting)) {
		w := rec.waiting[path]
		f := w.content.as()
		if h, ok := rec.beside[path+w.by.Beside]; ok {
			second := h.as()
			f.Beside = &second
		}
		result := rec.result(path)
		rec.guard(w.by, path, func() { w.by.ReadAt(f, result) })
		rec.learn(path, w.by, result)
	}
	for _, l := range rec.links {
		if known, ok := rec.learnt[l.target]; ok {
			rec.learn(l.path, known.by, known.result.At(l.path))
		}
	}
	r := rec.report
	for _, path := range slices.Sorted(maps.Keys(rec.learnt)) {
		told := rec.learnt[path].result
		r.Packages = append(r.Packages, told.Packages...)
		r.Databases = append(r.Databases, told.Databases...)
		r.Owned = append(r.Owned, told.Owned...)
		r.Releases = append(r.Releases, told.Releases...)
		r.Accounts = append(r.Accounts, told.Accounts...)
		r.Groups = append(r.Groups, told.Groups...)
		r.Sudoers = append(r.Sudoers, told.Sudoers...)
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
