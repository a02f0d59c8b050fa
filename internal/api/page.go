package api

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
)

//go:embed pages/*.html
var pageFiles embed.FS

// Bounds of one page; the JSON has everything.
const (
	maxShown  = 1000 // rows of one table
	maxPlaces = 5    // of one package
	maxNamed  = 50   // licences
	maxRecent = 20   // images and events on the first page
)

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"short":    func(d digest.Digest) string { return d.String()[:min(len(d.String()), 19)] },
	"bytes":    func(n int64) string { return humanize.Bytes(uint64(max(n, 0))) },
	"date":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") },
	"clear":    inventory.Printable,
	"findings": func(all []judged) []judged { return first(all, maxShown) },
	"upgrades": func(all []upgrade) []upgrade { return first(all, maxShown) },
	"secrets":  func(all []inventory.Secret) []inventory.Secret { return first(all, maxShown) },
	"settings": func(all []inventory.Misconfiguration) []inventory.Misconfiguration { return first(all, maxShown) },
	"malware":  func(all []inventory.Malware) []inventory.Malware { return first(all, maxShown) },
	"licenses": func(all []licenseCount) []licenseCount { return first(all, maxNamed) },
	"gaps":     func(all []inventory.Gap) []inventory.Gap { return first(all, maxShown) },
	"places":   func(all []string) []string { return first(all, maxPlaces) },
	"less":     func(n, from int) int { return from - n },
	"link":     link,
	"plural":   plural,
	"join":     strings.Join,
	"others":   others,
	"refusal":  refusalText,
}).ParseFS(pageFiles, "pages/*.html"))

// frame is what every page has around its content.
type frame struct {
	Version  string
	Registry string
	Now      time.Time
	Page     any
}

// Ago says how long ago something was.
func (f frame) Ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return humanize.RelTime(t, f.Now, "ago", "from now")
}

// problemPage says what went wrong with a request.
type problemPage struct{ Title, Message string }

// writePage answers with a page, which is complete before its first byte goes
// out.
func (a *API) writePage(w http.ResponseWriter, status int, name string, page any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name+".html", frame{a.Version, a.RegistryHost, a.now(), page}); err != nil {
		a.Log.Error("page not drawn", "page", name, "error", err)
		http.Error(w, "this page could not be drawn; the log of pratique says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that has gone away is no error
}

// homePage is the first page.
type homePage struct {
	*statusAnswer
	Images []recentImage
	Events []eventLine
}

// recentImage is a manifest that came here lately.
type recentImage struct {
	Name   string
	Digest digest.Digest
	Added  time.Time
	standing
}

// home shows people what this is, and answers tools as Anchore does.
func (a *API) home(w http.ResponseWriter, r *http.Request) error {
	if !acceptsHTML(r) {
		return a.anchoreRoot(w, r)
	}
	state, err := a.state(r.Context())
	if err != nil {
		return err
	}
	page := homePage{statusAnswer: state}
	if page.Images, err = a.recent(r.Context()); err != nil {
		return err
	}
	var events []catalog.Event
	if a.may(r.Context(), auth.Pull, "") { // they name any repository
		if events, err = a.Catalog.Events(r.Context(), maxRecent); err != nil {
			return err
		}
	}
	for _, e := range events {
		page.Events = append(page.Events, line(e))
	}
	a.writePage(w, http.StatusOK, "home", page)
	return nil
}

func (a *API) recent(ctx context.Context) ([]recentImage, error) {
	entries, err := a.Catalog.Recent(ctx, maxRecent)
	if err != nil {
		return nil, err
	}
	var all []recentImage
	for _, e := range entries {
		u := a.Gate.Upstreams.Named(e.Repository.Upstream)
		if u == nil {
			continue // no longer configured
		}
		q := gate.Question{Target: gate.Target{Upstream: u, Repository: e.Repository.Name}}
		if !a.sees(ctx, q.Target) {
			continue
		}
		if len(e.Tags) > 0 {
			q.Tag = e.Tags[0]
		}
		m, err := a.Gate.Manifest(ctx, q.Target, image.Descriptor{Digest: e.Manifest})
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue // deleted meanwhile
		}
		all = append(all, recentImage{name(q, e.Manifest), e.Manifest, e.Added, a.stand(ctx, q, m, a.Gate.Known(ctx, q, m))})
	}
	return all, nil
}

// name is a reference that is short enough for a list.
func name(q gate.Question, d digest.Digest) string {
	if q.Tag != "" {
		return reference(q, d)
	}
	return q.Target.Name() + "@" + d.String()[:19]
}

// link is where a person reads more of a vulnerability.
func link(f judged) string {
	if strings.HasPrefix(f.URL, "https://") {
		return f.URL
	}
	return "https://osv.dev/vulnerability/" + url.PathEscape(f.ID)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + many
}

func first[T any](all []T, n int) []T { return all[:min(len(all), n)] }

// others are the reasons that are about no vulnerability: the table of findings
// does not have them.
func others(rows []policy.Row) []policy.Row {
	var all []policy.Row
	for _, r := range rows {
		if r.CVE == "" {
			all = append(all, r)
		}
	}
	return first(all, maxShown)
}

var reportAddress = regexp.MustCompile(`; report: \S+`)

// refusalText is a message without the address of the page that shows it.
func refusalText(message string) string {
	return inventory.Printable(reportAddress.ReplaceAllString(message, ""))
}
