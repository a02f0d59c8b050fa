package proxy_test

import (
	"github.com/pratique/pratique/engine/image"
)

// deleteRequirements are those of the section "Content Management".
func deleteRequirements() []section {
	return []section{
		{"Deleting tags", []requirement{
			{"end-9", must, "DELETE of a tag answers 202, then GET 404; other tags and the manifest stay", once, (*probe).tagDeleted},
			{"end-9", must, "DELETE of a tag that is not there answers 404", once, (*probe).tagDeletedUnknown},
			{"end-9", must, "where tags cannot be deleted, DELETE answers 400 or 405", once, (*probe).tagDeletedNever},
		}},
		{"Deleting Manifests", []requirement{
			{"end-9", must, "DELETE by digest answers 202, then GET by digest and by every tag of it 404", each, (*probe).manifestDeleted},
			{"end-9", must, "DELETE of a manifest that is not there, or in no repository, answers 404", each, (*probe).manifestDeletedUnknown},
			{"end-9", must, "where manifests cannot be deleted, DELETE answers 400 or 405", once, (*probe).manifestDeletedNever},
			{"end-9", plain, "a manifest that was deleted can be pushed again", each, (*probe).manifestPushedAgain},
		}},
		{"Deleting Blobs", []requirement{
			{"end-10", must, "DELETE answers 202, then GET 404", each, (*probe).blobDeleted},
			{"end-10", must, "DELETE of a blob that is not there, or in no repository, answers 404", each, (*probe).blobDeletedUnknown},
			{"end-10", must, "where blobs cannot be deleted, DELETE answers 400 or 405", once, (*probe).blobDeletedNever},
		}},
	}
}

func (p *probe) tagDeleted() {
	raw, d := p.pushed("", "v1")
	p.put("v2", image.MediaTypeManifest, raw)
	p.call("DELETE", p.manifestAt("v1"), nil, []int{202})
	p.get(p.manifestAt("v1"), 404)
	p.head(p.manifestAt("v1"), 404)
	p.holds(p.get(p.manifestAt("v2"), 200), raw)
	p.holds(p.get(p.manifestAt(d), 200), raw)
	tags, _ := p.list(p.tagsAt(""))
	p.same("tags", []string{"v2"}, tags)
}

func (p *probe) tagDeletedUnknown() {
	p.code(p.call("DELETE", p.manifestAt("v1"), nil, []int{404}), "NAME_UNKNOWN", "MANIFEST_UNKNOWN")
	p.pushed("", "v1")
	p.code(p.call("DELETE", p.manifestAt("v2"), nil, []int{404}), "MANIFEST_UNKNOWN")
}

func (p *probe) tagDeletedNever() { p.never("/manifests/v1") }

func (p *probe) manifestDeleted() {
	raw, d := p.pushed("", "")
	tags := []string{"v1", "v2"}
	for _, tag := range tags {
		p.put(tag, image.MediaTypeManifest, raw)
	}
	stays, other := p.pushed("other", "v3")
	p.call("DELETE", p.manifestAt(d), nil, []int{202})
	for _, reference := range append(tags, d) {
		p.get(p.manifestAt(reference), 404)
		p.head(p.manifestAt(reference), 404)
	}
	p.put(other, image.MediaTypeManifest, stays)
	p.holds(p.get(p.manifestAt("v3"), 200), stays)
	left, _ := p.list(p.tagsAt(""))
	p.same("tags", []string{"v3"}, left)
}

func (p *probe) manifestDeletedUnknown() {
	nothing := p.digest([]byte("nothing"))
	p.code(p.call("DELETE", p.manifestAt(nothing), nil, []int{404}), "NAME_UNKNOWN", "MANIFEST_UNKNOWN")
	_, d := p.pushed("", "")
	p.code(p.call("DELETE", p.manifestAt(nothing), nil, []int{404}), "MANIFEST_UNKNOWN")
	p.call("DELETE", p.manifestAt(d), nil, []int{202})
	p.call("DELETE", p.manifestAt(d), nil, []int{404})
}

func (p *probe) manifestDeletedNever() { p.never("/manifests/" + p.digest(text())) }

func (p *probe) manifestPushedAgain() {
	raw, d := p.pushed("", "")
	p.call("DELETE", p.manifestAt(d), nil, []int{202})
	p.pushed("", "v1") // with its blobs
	p.holds(p.get(p.manifestAt("v1"), 200), raw)
}

func (p *probe) blobDeleted() {
	d, stays := p.upload(text()), p.upload([]byte("stays"))
	p.call("DELETE", p.blobAt(d), nil, []int{202})
	p.get(p.blobAt(d), 404)
	p.head(p.blobAt(d), 404)
	p.get(p.blobAt(stays), 200)
	p.upload(text())
	p.holds(p.get(p.blobAt(d), 200), text())
}

func (p *probe) blobDeletedUnknown() {
	nothing := p.digest([]byte("nothing"))
	p.code(p.call("DELETE", p.blobAt(nothing), nil, []int{404}), "NAME_UNKNOWN", "BLOB_UNKNOWN")
	d := p.upload(text())
	p.code(p.call("DELETE", p.blobAt(nothing), nil, []int{404}), "BLOB_UNKNOWN")
	p.call("DELETE", p.blobAt(d), nil, []int{202})
	p.call("DELETE", p.blobAt(d), nil, []int{404})
}

func (p *probe) blobDeletedNever() { p.never("/blobs/" + p.digest(text())) }

// never deletes from a registry that deletes nothing.
func (p *probe) never(target string) {
	p.Helper()
	p.one = "reg.example/kept"
	p.allow(p.one)
	p.code(p.call("DELETE", "/v2/"+p.one+target, nil, []int{400, 405}), "UNSUPPORTED")
}
