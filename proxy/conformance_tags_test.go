package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/image"
)

// tagsRequirements are those of the list of tags.
func tagsRequirements() []section {
	return []section{
		{"Listing Tags", []requirement{
			{"end-8a", must, "GET answers 200, the name and the tags, in lexical order", once, (*probe).tagsListed},
			{"end-8a", plain, "a repository without tags has an empty list", once, (*probe).tagsEmpty},
			{"end-8a", plain, "a repository that is not there answers 404", once, (*probe).tagsUnknown},
			{"end-8b", must, "n: as many tags as asked for, from the start; fewer at the end or with a Link", once, (*probe).tagsCounted},
			{"end-8b", must, "n of zero: an empty list without a Link", once, (*probe).tagsZero},
			{"end-8b", must, "Link has rel next, and leads through every tag once", once, (*probe).tagsLinked},
			{"end-8b", must, "last: the list begins after it, with n and without, be there such a tag or not", once, (*probe).tagsAfter},
		}},
	}
}

// list reads a list of tags and its order.
func (p *probe) list(target string) ([]string, answer) {
	p.Helper()
	a := p.get(target, http.StatusOK)
	var doc struct {
		Name *string
		Tags []string
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || doc.Name == nil || *doc.Name != p.one || doc.Tags == nil {
		p.Fatalf("%s: %s is not the list of %s", a.request, cut(string(a.body), 300), p.one)
	}
	folded := func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }
	if !slices.IsSorted(doc.Tags) && !slices.IsSortedFunc(doc.Tags, folded) {
		p.Errorf("%s: %v is in neither order", a.request, doc.Tags)
	}
	return doc.Tags, a
}

// tags puts one image under tags.
func (p *probe) tags(names ...string) {
	p.Helper()
	raw := p.image("")
	for _, tag := range names {
		p.put(tag, image.MediaTypeManifest, raw)
	}
}

func (p *probe) same(what string, want, got []string) {
	p.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		p.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (p *probe) tagsListed() {
	names := []string{"0", "1.10", "1.2", "B", "_", "a", "b", "latest"}
	p.tags("latest", "b", "B", "a", "_", "1.2", "1.10", "0")
	got, a := p.list(p.tagsAt(""))
	slices.Sort(got)
	p.same("all tags", names, got)
	p.header(a, "Content-Type", "application/json")
}

func (p *probe) tagsEmpty() {
	p.pushed("", "")
	got, _ := p.list(p.tagsAt(""))
	p.same("no tags", []string{}, got)
}

func (p *probe) tagsUnknown() {
	for _, query := range []string{"", "?n=5", "?last=a"} {
		p.code(p.get(p.tagsAt(query), 404), "NAME_UNKNOWN")
	}
}

func (p *probe) tagsCounted() {
	all := []string{"a", "b", "c", "d", "e"}
	p.tags(all...)
	for n := 1; n <= 7; n++ {
		got, a := p.list(p.tagsAt(fmt.Sprintf("?n=%d", n)))
		if len(got) < min(n, len(all)) && a.reply.header.Get("Link") == "" {
			p.Errorf("n=%d: %v without a Link", n, got)
		}
		if len(got) > n {
			p.Errorf("n=%d: %v", n, got)
		}
		p.same("from the start", all[:len(got)], got)
	}
}

func (p *probe) tagsZero() {
	p.tags("a", "b")
	got, a := p.list(p.tagsAt("?n=0"))
	p.same("n=0", []string{}, got)
	p.header(a, "Link", "")
}

// linkRE is a Link header of RFC 5988 with one link.
var linkRE = regexp.MustCompile(`^<([^>]+)>\s*;\s*rel="?next"?$`)

// next is where the Link of an answer leads; "" without one.
func (p *probe) next(a answer) string {
	p.Helper()
	header := a.reply.header.Get("Link")
	if header == "" {
		return ""
	}
	m := linkRE.FindStringSubmatch(header)
	if m == nil {
		p.Fatalf("%s: Link %q", a.request, header)
	}
	return m[1]
}

func (p *probe) tagsLinked() {
	all := []string{"a", "b", "c", "d", "e", "f", "g"}
	p.tags(all...)
	for n := 1; n <= 4; n++ {
		var got []string
		target := p.tagsAt(fmt.Sprintf("?n=%d", n))
		for pages := 0; target != "" && pages < 10; pages++ {
			page, a := p.list(target)
			got, target = append(got, page...), p.next(a)
		}
		p.same(fmt.Sprintf("n=%d, all pages", n), all, got)
	}
}

func (p *probe) tagsAfter() {
	p.tags("a", "b", "c", "d")
	for query, want := range map[string][]string{
		"?last=a": {"b", "c", "d"}, "?n=2&last=a": {"b", "c"}, "?n=9&last=b": {"c", "d"}, "?last=d": {}, "?n=2&last=zz": {}, "?n=2&last=bb": {"c", "d"}, "?n=0&last=a": {},
	} {
		got, _ := p.list(p.tagsAt(query))
		p.same(query, want, got)
	}
}
