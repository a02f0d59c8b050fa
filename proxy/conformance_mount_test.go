package proxy_test

import (
	"github.com/pratique/pratique/engine/image"
)

// mountRequirements are those of blobs that another repository has.
func mountRequirements() []section {
	return []section{
		{"Mounting a blob from another repository", []requirement{
			{"end-11", must, "a mount answers 201 and the Location of the blob, which a manifest then opens", each, (*probe).mountFrom},
			{"end-11", may, "without from it answers 201, or 202 and an upload", each, (*probe).mountAnonymous},
			{"end-11", should, "of a blob that is not there it answers 202, and the upload goes on", each, (*probe).mountUnknown},
			{"end-11", should, "from a repository that is not there it answers 202", each, (*probe).mountFromUnknown},
		}},
	}
}

func (p *probe) mountFrom() {
	raw, _ := p.pushed("", "v1")
	m, err := image.ParseManifest(raw, image.MediaTypeManifest)
	if err != nil {
		p.Fatal(err)
	}
	source, locations := p.one, []string{}
	p.one = p.two
	for _, blob := range m.Descriptors() {
		a := p.call("POST", p.uploadsAt("?mount="+blob.Digest.String()+"&from="+source), nil, []int{201})
		locations = append(locations, p.location(a))
	}
	p.put("v1", image.MediaTypeManifest, raw)
	p.get(p.manifestAt("v1"), 200)
	for i, blob := range m.Descriptors() {
		a := p.get(locations[i], 200)
		if d := blob.Digest.Algorithm().FromBytes(a.body); d != blob.Digest {
			p.Errorf("%s: %s, want %s", a.request, d, blob.Digest)
		}
		p.names(a, a.body)
	}
}

func (p *probe) mountAnonymous() {
	d := p.upload(text())
	p.one = p.two
	a := p.call("POST", p.uploadsAt("?mount="+d), nil, []int{201, 202})
	if a.status == 202 {
		a = p.call("PUT", p.closing(p.location(a), d), text(), []int{201}, "Content-Type", octets)
	}
	p.location(a)
}

func (p *probe) mountUnknown() {
	source, d := p.one, p.digest(text())
	p.upload([]byte("so that there is a repository"))
	p.one = p.two
	a := p.call("POST", p.uploadsAt("?mount="+d+"&from="+source), nil, []int{202})
	p.stored(p.call("PUT", p.closing(p.location(a), d), text(), []int{201}, "Content-Type", octets), text())
}

func (p *probe) mountFromUnknown() {
	d := p.digest(text())
	for _, from := range []string{p.two, "conformance/never/seen", "NO/NAME", p.one} {
		a := p.call("POST", p.uploadsAt("?mount="+d+"&from="+from), nil, []int{202})
		p.get(p.location(a), 204)
	}
}
