package feeds_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/pkgver"
	"github.com/pratique/pratique/internal/feeds"
)

// publisher is a mirror of one ecosystem whose records change; the dump is made
// only when told.
type publisher struct {
	*mirror
	t       *testing.T
	records map[string]string
	dates   map[string]time.Time
	now     time.Time
}

func newPublisher(t *testing.T) *publisher {
	p := &publisher{mirror: newMirror(t), t: t, records: map[string]string{}, dates: map[string]time.Time{}, now: time.Now().UTC().Truncate(time.Second)}
	return p
}

// put changes a record and the list of changes. Kinds of records: of one package
// or more, withdrawn.
func (p *publisher) put(id string, packages []string, withdrawn bool) {
	p.now = p.now.Add(time.Second)
	var affected []string
	for _, name := range packages {
		affected = append(affected, fmt.Sprintf(`{"package": {"ecosystem": "npm", "name": %q}, "versions": ["%d"]}`, name, p.now.Unix()))
	}
	end := ""
	if withdrawn {
		end = fmt.Sprintf(`, "withdrawn": %q`, p.now.Format(time.RFC3339))
	}
	p.dates[id] = p.now
	p.records[id+".json"] = fmt.Sprintf("{\"id\": %q, \"summary\": \"<&>\",\n \"modified\": %q, \"affected\": [%s]%s}", id, p.now.Format(time.RFC3339), strings.Join(affected, ","), end)
	p.set(func(m *mirror) {
		m.files["osv/npm/"+id+".json"] = []byte(p.records[id+".json"])
		m.files["osv/npm/modified_id.csv"] = p.list()
	})
}

func (p *publisher) list() []byte {
	var lines []string
	for id, at := range p.dates {
		lines = append(lines, at.Add(123*time.Millisecond).Format(time.RFC3339Nano)+","+id)
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	return []byte(strings.Join(lines, "\n") + "\n")
}

func (p *publisher) dump() {
	dump := zipped(p.t, p.records)
	p.set(func(m *mirror) { m.files["osv/npm/all.zip"] = dump })
}

func (p *publisher) config() feeds.Config {
	return feeds.Config{Sources: []feeds.Source{{Name: "osv", URL: p.URL + "/osv", Ecosystems: []string{"npm"}}}}
}

// asked counts requests by file name.
func (p *publisher) asked() map[string]int {
	counts := map[string]int{}
	p.set(func(m *mirror) {
		m.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			counts[filepath.Base(r.URL.Path)]++
			return false
		}
	})
	return counts
}

// TestChangesAreTheDump makes random changes and holds every incremental sync
// to one from nothing.
func TestChangesAreTheDump(t *testing.T) {
	t.Parallel()
	p, dir := newPublisher(t), t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	change := func(n int) {
		for range n {
			var packages []string
			for range 1 + random.IntN(3) {
				packages = append(packages, fmt.Sprintf("p%d", random.IntN(12)))
			}
			slices.Sort(packages)
			p.put(fmt.Sprintf("MAL-%d", random.IntN(60)), slices.Compact(packages), random.IntN(6) == 0)
		}
	}
	change(40)
	p.dump()
	sync(t, dir, p.config())
	for round := range 12 {
		change(1 + random.IntN(4))
		asked := p.asked()
		res := sync(t, dir, p.config())
		if asked["all.zip"] != 0 || res.Failed() {
			t.Fatalf("round %d asked for the dump: %v; %+v", round, asked, res)
		}
		p.dump()
		whole := sync(t, t.TempDir(), p.config())
		if res.Revision.Digest != whole.Revision.Digest {
			t.Fatalf("round %d: %+v, the dump gives %+v", round, res.Feeds[0], whole.Feeds[0])
		}
		a, b := res.Feeds[0].Status, whole.Feeds[0].Status
		if a.Records != b.Records || a.Skipped != b.Skipped || !a.Newest.Equal(b.Newest) {
			t.Errorf("round %d: %+v, the dump gives %+v", round, a, b)
		}
	}
	asked := p.asked()
	if res := sync(t, dir, p.config()); res.Changed || states(res) != "npm unchanged" || len(asked) != 1 {
		t.Errorf("without changes: %+v, asked %v", res, asked)
	}
}

// TestChangesNeedTheDump has the cases in which single records do not do.
func TestChangesNeedTheDump(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(p *publisher, dir string){
		"no list": func(p *publisher, _ string) {
			p.set(func(m *mirror) { delete(m.files, "osv/npm/modified_id.csv") })
		},
		"list of another kind": func(p *publisher, _ string) {
			p.set(func(m *mirror) { m.files["osv/npm/modified_id.csv"] = []byte("<html>\n") })
		},
		"too many": func(p *publisher, _ string) {
			for i := range 501 {
				p.put(fmt.Sprintf("MAL-9%d", i), []string{"many"}, false)
			}
		},
		"a day has passed": func(_ *publisher, dir string) {
			path := filepath.Join(dir, "feeds", "osv", "npm", "changes.json")
			b, err := os.ReadFile(path)
			if err == nil {
				b = []byte(strings.Replace(string(b), time.Now().UTC().Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, -2).Format(time.DateOnly), 1))
				err = os.WriteFile(path, b, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir := newPublisher(t), t.TempDir()
			p.put("MAL-1", []string{"a"}, false)
			p.dump()
			sync(t, dir, p.config())
			p.put("MAL-2", []string{"b"}, false)
			prepare(p, dir)
			p.dump()
			asked := p.asked()
			res := sync(t, dir, p.config())
			if asked["all.zip"] != 1 || asked["MAL-2.json"] != 0 || lookup(t, current(t, dir), "npm", "b") != 1 || res.Failed() {
				t.Errorf("%+v, asked %v", res, asked)
			}
		})
	}
}

func TestChangesThatFail(t *testing.T) {
	t.Parallel()
	p, dir := newPublisher(t), t.TempDir()
	p.put("MAL-1", []string{"a"}, false)
	p.dump()
	sync(t, dir, p.config())
	for id, body := range map[string]string{"MAL-GONE": "", "MAL-BAD": "{", "MAL-OTHER": `{"id": "MAL-1", "affected": []}`} {
		p.put(id, []string{"x"}, false)
		p.set(func(m *mirror) {
			if m.files["osv/npm/"+id+".json"] = []byte(body); body == "" {
				delete(m.files, "osv/npm/"+id+".json")
			}
		})
	}
	p.put("MAL-2", []string{"b"}, false)
	if res := sync(t, dir, p.config()); res.Failed() || !res.Changed || lookup(t, current(t, dir), "npm", "b") != 1 || lookup(t, current(t, dir), "npm", "x") != 0 {
		t.Errorf("a record that is gone: %+v", res)
	}
	p.put("MAL-3", []string{"c"}, false)
	p.set(func(m *mirror) {
		m.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if filepath.Base(r.URL.Path) != "MAL-3.json" {
				return false
			}
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
	})
	if res := sync(t, dir, p.config()); !res.Failed() || lookup(t, current(t, dir), "npm", "b") != 1 {
		t.Errorf("a record that cannot be had: %+v", res)
	}
	p.set(func(m *mirror) { m.fault = nil })
	if res := sync(t, dir, p.config()); res.Failed() || lookup(t, current(t, dir), "npm", "c") != 1 {
		t.Errorf("not made good: %+v", res)
	}
}

// TestDumpBehindChanges: a dump that is older than the single records does not
// take them back.
func TestDumpBehindChanges(t *testing.T) {
	t.Parallel()
	p, dir := newPublisher(t), t.TempDir()
	p.put("MAL-1", []string{"a"}, false)
	p.dump()
	sync(t, dir, p.config())
	p.put("MAL-1", []string{"b"}, false)
	sync(t, dir, p.config())
	p.records["README.txt"] = "another dump, as old as the first"
	p.records["MAL-1.json"] = strings.ReplaceAll(p.records["MAL-1.json"], p.now.Format(time.RFC3339), p.now.Add(-time.Hour).Format(time.RFC3339))
	p.dump()
	p.set(func(m *mirror) { delete(m.files, "osv/npm/modified_id.csv") })
	res := sync(t, dir, p.config())
	s := current(t, dir)
	if res.Failed() || states(res) != "npm ok" || lookup(t, s, "npm", "a") != 0 || lookup(t, s, "npm", "b") != 1 {
		t.Errorf("%+v", res)
	}
	p.put("MAL-1", []string{"c"}, false)
	p.dump()
	if sync(t, dir, p.config()); lookup(t, current(t, dir), "npm", "c") != 1 || lookup(t, current(t, dir), "npm", "b") != 0 {
		t.Error("a newer dump does not take the place of single records")
	}
}

// TestDefaultEcosystemsHaveAnOrder: ranges of one without an order are dropped.
func TestDefaultEcosystemsHaveAnOrder(t *testing.T) {
	for _, ecosystem := range feeds.DefaultEcosystems {
		if !pkgver.Known(ecosystem) {
			t.Errorf("%s has no order of versions", ecosystem)
		}
	}
}
