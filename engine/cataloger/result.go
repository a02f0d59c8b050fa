package cataloger

import (
	"fmt"

	"github.com/pratique/pratique/engine/inventory"
)

// Result is what one file told.
type Result struct {
	Path      string // of the file, clean
	Packages  []inventory.Package
	Databases []inventory.Database
	Owned     []inventory.Owned
	Releases  []inventory.OSRelease
	Accounts  []inventory.Account
	Groups    []inventory.Group
	Sudoers   []inventory.Sudoer
	Gaps      []inventory.Gap

	limits Limits
	broken map[string]int         // records that could not be read, by reason
	root   string                 // of the system that the file speaks of, within the image
	keeps  func(path string) bool // chooses among claims; a field, since the table of catalogers is made of what calls it
}

// Limits bound what one file may add.
type Limits struct {
	Packages int
	Owned    int
}

// maxField bounds a name, a version and every other field of a package, in
// bytes; the longest lawful ones are around 200.
const maxField = 4096

// NewResult makes an empty result for the file at path.
func NewResult(path string, limits Limits) *Result {
	return &Result{Path: path, limits: limits, broken: map[string]int{}, root: inventory.DatabaseRoot(path), keeps: isWorthClaiming}
}

// At gives a copy of r for a hard link to its file.
func (r *Result) At(path string) *Result {
	c := &Result{Path: path, limits: r.limits, broken: map[string]int{}, root: inventory.DatabaseRoot(path), keeps: r.keeps}
	for _, p := range r.Packages {
		p.Location = path
		c.Packages = append(c.Packages, p)
	}
	for _, d := range r.Databases {
		d.Path = path
		c.Databases = append(c.Databases, d)
	}
	for _, o := range r.Owned {
		o.Database = path
		c.Owned = append(c.Owned, o)
	}
	for _, release := range r.Releases {
		release.Path = path
		c.Releases = append(c.Releases, release)
	}
	for _, a := range r.Accounts {
		a.Path = path
		c.Accounts = append(c.Accounts, a)
	}
	for _, g := range r.Groups {
		g.Path = path
		c.Groups = append(c.Groups, g)
	}
	for _, sudoer := range r.Sudoers {
		sudoer.Path = path
		c.Sudoers = append(c.Sudoers, sudoer)
	}
	for _, g := range r.Gaps {
		g.Path = path
		c.Gaps = append(c.Gaps, g)
	}
	return c
}

// add takes a package; false when there is room for no more.
func (r *Result) add(p inventory.Package) bool {
	if len(r.Packages) >= r.limits.Packages {
		r.gap(inventory.Blind, "too-many-packages", fmt.Sprintf("more than %d packages in one layer; the rest was not read", r.limits.Packages))
		return false
	}
	p.Location = r.Path // the CPE is of the catalogers' own making; its escapes stay
	for _, field := range []*string{&p.Name, &p.Version, &p.Arch, &p.Source, &p.SourceVersion, &p.License, &p.Module, &p.Vendor, &p.Inner} {
		if len(*field) > maxField {
			r.bad("a field is too long")
			return true
		}
		*field = inventory.Printable(*field)
	}
	if p.Source == "" {
		p.Source = p.Name
	}
	if p.SourceVersion == "" {
		p.SourceVersion = p.Version
	}
	r.Packages = append(r.Packages, p)
	return true
}

func (r *Result) database(kind string) {
	r.Databases = append(r.Databases, inventory.Database{Path: r.Path, Type: kind})
}

// gap adds a gap about the file, once for each code.
func (r *Result) gap(kind inventory.GapKind, code, detail string) {
	for _, g := range r.Gaps {
		if g.Code == code {
			return
		}
	}
	r.Gaps = append(r.Gaps, inventory.Gap{Kind: kind, Code: code, Path: r.Path, Detail: inventory.Printable(detail)})
}

// bad counts a record that could not be read.
func (r *Result) bad(reason string) { r.broken[reason]++ }

// close turns the records that could not be read into one gap: blind for a
// database of which nothing could be read.
func (r *Result) close(code string) {
	total, most := 0, ""
	for reason, n := range r.broken {
		total += n
		if n > r.broken[most] || n == r.broken[most] && reason < most {
			most = reason
		}
	}
	if total == 0 {
		return
	}
	kind := inventory.Partial
	if len(r.Databases) > 0 && len(r.Packages) == 0 {
		kind = inventory.Blind
	}
	r.gap(kind, code, fmt.Sprintf("%d records of the file could not be read; most often: %s", total, most))
}
