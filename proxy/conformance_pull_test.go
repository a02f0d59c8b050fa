package proxy_test

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// pullRequirements are those of the section "Pull" for GET.
func pullRequirements() []section {
	return []section{
		{"Pulling manifests", []requirement{
			{"end-3", must, "GET by tag answers 200 and the manifest, byte for byte", each, (*probe).manifestByTag},
			{"end-3", must, "GET by digest answers 200 and the manifest, byte for byte", each, (*probe).manifestByDigest},
			{"end-3", must, "Docker-Content-Digest is the digest of the manifest", each, (*probe).manifestDigestHeader},
			{"end-3", should, "Content-Type is that of the push: images and indexes of OCI and Docker", each, (*probe).manifestContentType},
			{"end-3", shouldNot, "Content-Type has no parameters", once, (*probe).manifestTypeWithoutParameters},
			{"end-3", should, "whatever Accept asks for, the manifest keeps its one type and bytes", once, (*probe).manifestForAnyAccept},
			{"end-3", must, "GET of a tag or digest that is not there answers 404", each, (*probe).manifestUnknown},
			{"end-3", mustNot, "a reference that is no tag and no digest names nothing", once, (*probe).referenceOutsideGrammar},
			{"end-3", must, "a tag may have 128 characters, of all that the grammar has", once, (*probe).longestTag},
			{"end-3", must, "repository names of every form of the grammar can be used", once, (*probe).nameGrammar},
			{"end-3", must, "names outside of the grammar are refused", once, (*probe).nameOutsideGrammar},
			{"end-3", must, "a repository that is not there answers 404", each, (*probe).repositoryUnknown},
		}},
		{"Pulling blobs", []requirement{
			{"end-2", must, "GET answers 200 and the blob, byte for byte", each, (*probe).blobPull},
			{"end-2", must, "Docker-Content-Digest is the digest of the blob", each, (*probe).blobDigestHeader},
			{"end-2", must, "GET of a blob that is not there answers 404", each, (*probe).blobUnknown},
			{"end-2", must, "a blob of another repository answers 404", each, (*probe).blobElsewhere},
			{"end-2", must, "the empty blob can be pushed and pulled", each, (*probe).blobEmpty},
			{"end-2", should, "Range: first, middle, last bytes and an end beyond the blob answer 206", each, (*probe).rangeAnswers},
			{"end-2", should, "Range: a start beyond the blob answers 416 and tells the size", each, (*probe).rangeBeyond},
			{"end-2", should, "Range: other units and ranges that cannot be read count as absent", once, (*probe).rangeIgnored},
			{"end-2", should, "Range: HEAD ignores it (RFC 9110, 14.2)", once, (*probe).rangeOfHead},
			{"end-2", should, "Range: counts only if If-Range names this content (RFC 9110, 13.1.5)", once, (*probe).rangeIfUnchanged},
		}},
	}
}

func (p *probe) manifestByTag() {
	raw, _ := p.pushed("", "v1")
	p.holds(p.get(p.manifestAt("v1"), 200), raw)
	p.holds(p.get(p.manifestAt("v1"), 200, "Authorization", ""), raw)
}

func (p *probe) manifestByDigest() {
	raw, d := p.pushed("", "")
	p.holds(p.get(p.manifestAt(d), 200), raw)
}

func (p *probe) manifestDigestHeader() {
	raw, d := p.pushed("", "")
	p.put("v1", image.MediaTypeManifest, raw)
	p.names(p.get(p.manifestAt("v1"), 200), raw)
	p.names(p.get(p.manifestAt(d), 200), raw)
}

// types are the manifest types in use, each with a document of it.
func (p *probe) types() map[string][]byte {
	raw := p.image("")
	index := mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": []image.Descriptor{p.describe(image.MediaTypeManifest, raw)}})
	p.put(p.digest(raw), image.MediaTypeManifest, raw)
	return map[string][]byte{
		image.MediaTypeManifest:       raw,
		image.MediaTypeIndex:          index,
		image.MediaTypeDockerManifest: p.edited(raw, map[string]any{"mediaType": image.MediaTypeDockerManifest}),
		image.MediaTypeDockerList:     p.edited(index, map[string]any{"mediaType": image.MediaTypeDockerList}),
	}
}

func (p *probe) manifestContentType() {
	for mediaType, raw := range p.types() {
		p.put(p.digest(raw), mediaType, raw)
		p.header(p.get(p.manifestAt(p.digest(raw)), 200), "Content-Type", mediaType)
	}
	raw := p.edited(p.image("no media type"), map[string]any{"mediaType": nil})
	p.put("untyped", image.MediaTypeManifest, raw)
	p.header(p.get(p.manifestAt("untyped"), 200), "Content-Type", image.MediaTypeManifest)
}

func (p *probe) manifestTypeWithoutParameters() {
	for mediaType, raw := range p.types() {
		p.call("PUT", p.manifestAt("v1"), raw, []int{201}, "Content-Type", mediaType+"; charset=utf-8")
		p.header(p.get(p.manifestAt("v1"), 200), "Content-Type", mediaType)
	}
}

func (p *probe) manifestForAnyAccept() {
	raw, _ := p.pushed("", "v1")
	for _, accept := range [][]string{
		nil,
		{"Accept", "*/*"},
		{"Accept", image.MediaTypeManifest},
		{"Accept", image.MediaTypeDockerManifest + ", " + image.MediaTypeManifest + ";q=0.5"},
		{"Accept", image.MediaTypeIndex, "Accept", image.MediaTypeManifest},
	} {
		a := p.get(p.manifestAt("v1"), 200, accept...)
		p.holds(a, raw)
		p.header(a, "Content-Type", image.MediaTypeManifest)
	}
}

func (p *probe) manifestUnknown() {
	p.pushed("", "v1")
	for _, reference := range []string{"v2", p.digest([]byte("nothing"))} {
		p.code(p.get(p.manifestAt(reference), 404), "MANIFEST_UNKNOWN")
	}
}

func (p *probe) referenceOutsideGrammar() {
	raw, _ := p.pushed("", "v1")
	for _, reference := range []string{".v1", "-v1", "v+1", "v1@", strings.Repeat("a", 129), "sha256:", "sha256:abc", "sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("A", 64), "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		p.call("GET", p.manifestAt(reference), nil, []int{400, 404})
		p.call("PUT", p.manifestAt(reference), raw, []int{400, 404}, "Content-Type", image.MediaTypeManifest)
	}
}

func (p *probe) longestTag() {
	for _, tag := range []string{"_", "0", "Z.z_9-", strings.Repeat("Aa0_.-x9", 16)} {
		raw, _ := p.pushed(tag, tag)
		p.holds(p.get(p.manifestAt(tag), 200), raw)
	}
}

// nameGrammar: a dot in the first part makes a registry host of it for the
// proxy, so dots stand further back.
func (p *probe) nameGrammar() {
	base := strings.TrimSuffix(p.one, "/one")
	for _, name := range []string{
		"a" + strconv.Itoa(len(base)), base + "/0", base + "/a.b", base + "/a_b", base + "/a__b", base + "/a-b", base + "/a----b",
		base + "/a.b_c__d-e/f/1.2/3", base + "/" + strings.Repeat("n", 229-len(base)-1),
	} {
		p.one = name
		p.allow(name)
		raw, _ := p.pushed("", "v1")
		p.holds(p.get(p.manifestAt("v1"), 200), raw)
		p.list(p.tagsAt(""))
	}
}

func (p *probe) nameOutsideGrammar() {
	base := p.one
	for _, name := range []string{"/Upper", "/a___b", "/a..b", "/a._b", "/-a", "/a-", "/a_", "/.a", "/a b", "/ä", "/a:b", "/a@b", "/" + strings.Repeat("n", 300)} {
		p.one = base + name
		scope := url.Values{"scope": {"repository:" + p.one + ":pull,push"}}
		if token := p.send("GET", "/auth/token?"+scope.Encode(), nil, "Authorization", ""); token.status != 200 {
			p.status(token, 400) // nobody gets in under this name
			continue
		}
		p.allow(p.one)
		target := (&url.URL{Path: p.one}).EscapedPath()
		p.call("POST", "/v2/"+target+"/blobs/uploads/", nil, []int{400, 404})
		p.call("GET", "/v2/"+target+"/manifests/v1", nil, []int{400, 404})
	}
}

func (p *probe) repositoryUnknown() {
	nothing := p.digest([]byte("nothing"))
	for _, reference := range []string{"v1", nothing} {
		p.code(p.get(p.manifestAt(reference), 404), "NAME_UNKNOWN", "MANIFEST_UNKNOWN")
		p.head(p.manifestAt(reference), 404)
	}
	p.code(p.get(p.blobAt(nothing), 404), "NAME_UNKNOWN", "BLOB_UNKNOWN")
	p.head(p.blobAt(nothing), 404)
}

// text is a blob of 1000 bytes, no two tens of them alike.
func text() []byte {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "byte %04d\n", i*10)
	}
	return []byte(b.String())
}

func (p *probe) blobPull() {
	p.holds(p.get(p.blobAt(p.upload(text())), 200), text())
}

func (p *probe) blobDigestHeader() {
	p.names(p.get(p.blobAt(p.upload(text())), 200), text())
}

func (p *probe) blobUnknown() {
	p.upload(text())
	p.code(p.get(p.blobAt(p.digest([]byte("nothing"))), 404), "BLOB_UNKNOWN")
}

func (p *probe) blobElsewhere() {
	d := p.upload(text())
	p.one = p.two
	p.upload([]byte("another"))
	p.code(p.get(p.blobAt(d), 404), "BLOB_UNKNOWN")
}

func (p *probe) blobEmpty() {
	d := p.upload(nil)
	a := p.get(p.blobAt(d), 200)
	p.holds(a, nil)
	p.header(a, "Content-Length", "0")
	p.header(p.head(p.blobAt(d), 200), "Content-Length", "0")
}

func (p *probe) rangeAnswers() {
	blob := text()
	d, n := p.upload(blob), len(text())
	for spec, want := range map[string]struct{ first, last int }{
		"0-0": {0, 0}, "0-99": {0, 99}, "100-199": {100, 199}, "990-": {990, n - 1}, "-7": {n - 7, n - 1}, "-5000": {0, n - 1}, "500-5000": {500, n - 1},
	} {
		a := p.get(p.blobAt(d), 206, "Range", "bytes="+spec)
		p.holds(a, blob[want.first:want.last+1])
		p.header(a, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", want.first, want.last, n))
		p.header(a, "Content-Length", strconv.Itoa(want.last+1-want.first))
	}
}

func (p *probe) rangeBeyond() {
	d := p.upload(text())
	for _, spec := range []string{"1000-", "1000-1001", "5000-6000"} {
		p.header(p.get(p.blobAt(d), 416, "Range", "bytes="+spec), "Content-Range", fmt.Sprintf("bytes */%d", len(text())))
	}
}

func (p *probe) rangeIgnored() {
	d := p.upload(text())
	for _, header := range []string{"lines=1-2", "bytes=2-1", "bytes=x-y", "bytes", "0-1"} {
		p.holds(p.get(p.blobAt(d), 200, "Range", header), text())
	}
}

func (p *probe) rangeOfHead() {
	d := p.upload(text())
	a := p.head(p.blobAt(d), 200, "Range", "bytes=0-9")
	p.header(a, "Content-Length", strconv.Itoa(len(text())))
}

func (p *probe) rangeIfUnchanged() {
	d := p.upload(text())
	tag := p.get(p.blobAt(d), 200).reply.header.Get("Etag")
	if tag == "" {
		return // then If-Range cannot be sent with one
	}
	p.get(p.blobAt(d), 206, "Range", "bytes=0-9", "If-Range", tag)
	p.holds(p.get(p.blobAt(d), 200, "Range", "bytes=0-9", "If-Range", `"`+digest.FromString("older").String()+`"`), text())
}
