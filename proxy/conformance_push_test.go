package proxy_test

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// pushRequirements are those of the push of manifests.
func pushRequirements() []section {
	return []section{
		{"Pushing Manifests", []requirement{
			{"end-7a", must, "PUT by tag answers 201 and the Location of a manifest that can be pulled", each, (*probe).putByTag},
			{"end-7a", must, "PUT by digest answers 201 and the Location of a manifest that can be pulled", each, (*probe).putByDigest},
			{"end-7a", must, "Docker-Content-Digest is the digest that the client gave", each, (*probe).putDigestHeader},
			{"end-7a", must, "the bytes are kept: space, order and unknown members", each, (*probe).bytesKept},
			{"end-7a", must, "a tag moves with the next PUT, and the older manifest stays", each, (*probe).tagMoves},
			{"end-7a", should, "parameters of Content-Type are ignored", once, (*probe).typeParameters},
			{"end-7a", must, "the list of blobs may be empty", each, (*probe).noLayers},
			{"end-7a", plain, "artifacts are pulled as pushed, with their blobs", each, (*probe).artifactPulled},
			{"end-7a", plain, "an index of an index is pulled as pushed, with all children", each, (*probe).indexNested},
			{"end-7a", plain, "manifests of one algorithm may name content of the other", each, (*probe).algorithmsMixed},
			{"code-4", should, "bytes that are not what the digest says answer 400, and are not stored", each, (*probe).putMismatch},
			{"code-6", should, "what is no manifest answers 400", once, (*probe).putNonsense},
			{"end-7a", should, "manifests of 4 MiB are taken and pulled as pushed", each, (*probe).manifestLarge},
			{"end-7a", should, "a manifest over the limit answers 413", once, (*probe).manifestTooLarge},
			{"end-7b", must, "OCI-Tag names the tags that were made, and no others", each, (*probe).tagParameters},
			{"end-7b", should, "10 tags in one request are taken", each, (*probe).tagParametersTen},
			{"end-7b", must, "tags outside of the grammar, and more than are taken, are not in OCI-Tag", each, (*probe).tagParametersOdd},
		}},
		{"Pushing Manifests with Subject", []requirement{
			{"end-7a", must, "OCI-Subject is the subject's digest, for an image manifest", each, (*probe).subjectOfManifest},
			{"end-7a", must, "OCI-Subject is the subject's digest, for an index", each, (*probe).subjectOfIndex},
		}},
	}
}

// pullable pushes an image and wants it under the Location of the answer.
func (p *probe) pullable(reference string, raw []byte) {
	p.Helper()
	p.holds(p.get(p.location(p.put(reference, image.MediaTypeManifest, raw)), 200), raw)
	p.holds(p.get(p.manifestAt(reference), 200), raw)
}

func (p *probe) putByTag() { p.pullable("v1", p.image("")) }

func (p *probe) putByDigest() {
	raw := p.image("")
	p.pullable(p.digest(raw), raw)
}

func (p *probe) putDigestHeader() {
	raw := p.image("")
	p.header(p.put(p.digest(raw), image.MediaTypeManifest, raw), "Docker-Content-Digest", p.digest(raw))
	p.names(p.put("v1", image.MediaTypeManifest, raw), raw)
}

func (p *probe) bytesKept() {
	raw := p.image("")
	raw = []byte(strings.Replace(string(raw), "{", "{\n\t \"org.example.unknown\" : [1, 2.50, {\"b\": null, \"a\": \"\\u00e9\"}],\r\n", 1) + "\n\n")
	p.put("v1", image.MediaTypeManifest, raw)
	p.round(image.MediaTypeManifest, raw)
	p.holds(p.get(p.manifestAt("v1"), 200), raw)
}

func (p *probe) tagMoves() {
	older, d := p.pushed("older", "v1")
	newer, _ := p.pushed("newer", "v1")
	p.holds(p.get(p.manifestAt("v1"), 200), newer)
	p.put(d, image.MediaTypeManifest, older)
	p.holds(p.get(p.manifestAt(d), 200), older)
	p.holds(p.get(p.manifestAt("v1"), 200), newer)
}

func (p *probe) typeParameters() {
	raw := p.image("")
	a := p.call("PUT", p.manifestAt("v1"), raw, []int{201}, "Content-Type", image.MediaTypeManifest+`; charset="utf-8"; x=y`)
	p.holds(p.get(p.location(a), 200), raw)
}

func (p *probe) putMismatch() {
	raw := p.image("")
	for _, other := range [][]byte{[]byte("{}"), append(slices.Clone(raw), '\n')} {
		d := p.digest(other)
		p.code(p.call("PUT", p.manifestAt(d), raw, []int{400}, "Content-Type", image.MediaTypeManifest), "DIGEST_INVALID")
		p.get(p.manifestAt(d), 404)
	}
}

func (p *probe) putNonsense() {
	p.image("")
	for _, body := range []string{"", "{", "[]", "null", "nonsense", `{"schemaVersion":2}`, strings.Repeat("[", 10_000)} {
		p.code(p.call("PUT", p.manifestAt("v1"), []byte(body), []int{400}, "Content-Type", image.MediaTypeManifest), "MANIFEST_INVALID")
	}
}

// padded is an image manifest of this many bytes.
func (p *probe) padded(size int) []byte {
	raw := p.edited(p.image(""), map[string]any{"annotations": map[string]string{"org.example.padding": "PAD"}})
	return bytes.Replace(raw, []byte("PAD"), bytes.Repeat([]byte("x"), size-len(raw)+len("PAD")), 1)
}

func (p *probe) manifestLarge() {
	p.round(image.MediaTypeManifest, p.padded(4<<20))
}

func (p *probe) manifestTooLarge() {
	p.call("PUT", p.manifestAt("v1"), p.padded(image.MaxManifestSize+1), []int{413}, "Content-Type", image.MediaTypeManifest)
}

// tagged pushes a manifest by digest with tag parameters, wants it under the
// tags that the answer names and not under the rest, and returns those.
func (p *probe) tagged(raw []byte, statuses []int, tags ...string) []string {
	p.Helper()
	a := p.call("PUT", p.manifestAt(p.digest(raw))+"?"+url.Values{"tag": tags}.Encode(), raw, statuses, "Content-Type", image.MediaTypeManifest)
	var made []string
	for _, line := range a.reply.header.Values("OCI-Tag") {
		for tag := range strings.SplitSeq(line, ",") {
			made = append(made, strings.TrimSpace(tag))
		}
	}
	for _, tag := range tags {
		if !image.ValidTag(tag) {
			if slices.Contains(made, tag) {
				p.Errorf("%s: OCI-Tag has %q", a.request, tag)
			}
			continue
		}
		status := 404
		if slices.Contains(made, tag) {
			status = 200
		}
		if got := p.get(p.manifestAt(tag), status); status == 200 {
			p.holds(got, raw)
		}
	}
	return made
}

func (p *probe) tagParameters() {
	raw := p.image("")
	p.tagged(raw, []int{201}, "1.2.3", "1.2", "1", "latest")
	p.tagged(raw, []int{201}, "single")
}

func (p *probe) tagParametersTen() {
	var tags []string
	for i := range 10 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	made := p.tagged(p.image(""), []int{201}, tags...)
	slices.Sort(made)
	if !slices.Equal(made, tags) {
		p.Errorf("OCI-Tag has %v, want %v", made, tags)
	}
	if listed, _ := p.list(p.tagsAt("")); !slices.Equal(listed, tags) {
		p.Errorf("tags are %v, want %v", listed, tags)
	}
}

func (p *probe) tagParametersOdd() {
	raw := p.image("")
	p.tagged(raw, []int{201, 400}, "good", "-bad")
	p.tagged(raw, []int{201, 400}, "", "sha256:x")
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("many%d", i))
	}
	p.tagged(raw, []int{201, 400, 414, 431}, many...)
}
