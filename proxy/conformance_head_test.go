package proxy_test

import (
	"strconv"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// headRequirements are those of the section "Pull" for HEAD.
func headRequirements() []section {
	return []section{
		{"Checking if content exists in the registry", []requirement{
			{"end-3", must, "HEAD of a manifest answers 200, by tag and by digest", each, (*probe).headManifest},
			{"end-2", must, "HEAD of a blob answers 200", each, (*probe).headBlob},
			{"end-2 end-3", must, "Docker-Content-Digest is the digest of the content", each, (*probe).headDigest},
			{"end-2 end-3", must, "Content-Length is the size of the content, and there is no body", each, (*probe).headLength},
			{"end-3", should, "HEAD has the Content-Type that GET has (RFC 9110, 9.3.2)", once, (*probe).headType},
			{"end-2 end-3", must, "HEAD of what is not there answers 404", each, (*probe).headUnknown},
		}},
	}
}

func (p *probe) headManifest() {
	raw, d := p.pushed("", "")
	p.put("v1", image.MediaTypeManifest, raw)
	p.head(p.manifestAt("v1"), 200)
	p.head(p.manifestAt(d), 200)
}

func (p *probe) headBlob() { p.head(p.blobAt(p.upload(text())), 200) }

func (p *probe) headDigest() {
	raw, d := p.pushed("", "")
	p.put("v1", image.MediaTypeManifest, raw)
	p.names(p.head(p.manifestAt("v1"), 200), raw)
	p.names(p.head(p.manifestAt(d), 200), raw)
	p.names(p.head(p.blobAt(p.upload(text())), 200), text())
}

func (p *probe) headLength() {
	raw, d := p.pushed("", "")
	for _, a := range []answer{p.head(p.manifestAt(d), 200), p.head(p.blobAt(p.upload(text())), 200)} {
		n := len(text())
		if strings.Contains(a.request, "/manifests/") {
			n = len(raw)
		}
		p.header(a, "Content-Length", strconv.Itoa(n))
		p.holds(a, nil)
	}
}

func (p *probe) headType() {
	for mediaType, raw := range p.types() {
		p.put("v1", mediaType, raw)
		p.header(p.head(p.manifestAt("v1"), 200), "Content-Type", mediaType)
	}
}

func (p *probe) headUnknown() {
	p.pushed("", "v1")
	nothing := p.digest([]byte("nothing"))
	p.head(p.manifestAt("v2"), 404)
	p.head(p.manifestAt(nothing), 404)
	p.head(p.blobAt(nothing), 404)
}
