package proxy_test

import (
	"bytes"
	"encoding/json"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/imagetest"
)

// contentRequirements are those of what manifests name.
func contentRequirements() []section {
	return []section{
		{"Push", []requirement{
			{"end-7a", must, "a subject that is not there does not keep a manifest from being taken", each, (*probe).subjectMissing},
			{"code-1", must, "a manifest refused for content that is not there has MANIFEST_BLOB_UNKNOWN", each, (*probe).blobsMissing},
			{"end-7a", must, "an index with children that are not there is taken, or refused with MANIFEST_BLOB_UNKNOWN", each, (*probe).indexSparse},
			{"end-7a", must, "non-distributable layers that are not there are taken, or refused with MANIFEST_BLOB_UNKNOWN", each, (*probe).foreignLayerTaken},
			{"end-3", must, "an image with non-distributable layers elsewhere is pulled as pushed", passiveEach, (*probe).foreignLayerPulled},
			{"end-3", must, "non-distributable layers that were uploaded are pulled as pushed", each, (*probe).foreignLayerUploaded},
		}},
	}
}

// image uploads the blobs of an image that every policy here lets pass, and
// returns its manifest. Different marks make different images.
func (p *probe) image(mark string) []byte {
	p.Helper()
	layer := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL}, imagetest.File("etc/motd", p.Name()+mark))...)
	config := imagetest.Build(layer).Config
	p.upload(config)
	p.upload(layer.Blob)
	return mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest,
		"config": p.describe(image.MediaTypeConfig, config), "layers": []image.Descriptor{p.describe(layer.MediaType, layer.Blob)},
	})
}

// pushed pushes an image to a reference; "" is its digest. It returns the
// manifest and its digest.
func (p *probe) pushed(mark, reference string) (raw []byte, d string) {
	p.Helper()
	raw = p.image(mark)
	d = p.digest(raw)
	if reference == "" {
		reference = d
	}
	p.put(reference, image.MediaTypeManifest, raw)
	return raw, d
}

func (p *probe) put(reference, mediaType string, raw []byte) answer {
	p.Helper()
	return p.call("PUT", p.manifestAt(reference), raw, []int{201}, "Content-Type", mediaType)
}

// edited is a document with members set; nil takes one away.
func (p *probe) edited(raw []byte, members map[string]any) []byte {
	p.Helper()
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		p.Fatal(err)
	}
	for name, value := range members {
		if doc[name] = value; value == nil {
			delete(doc, name)
		}
	}
	return mustJSON(doc)
}

// index is an index of these manifests.
func (p *probe) index(mediaType string, children ...[]byte) []byte {
	descriptors := []image.Descriptor{}
	for _, raw := range children {
		descriptors = append(descriptors, p.describe(mediaType, raw))
	}
	return mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": descriptors})
}

const emptyType = "application/vnd.oci.empty.v1+json"

// artifact uploads a document and returns a manifest of it, with more members.
func (p *probe) artifact(mark string, members map[string]any) []byte {
	p.Helper()
	document := []byte(`{"document":"` + p.Name() + mark + `"}`)
	p.upload([]byte("{}"))
	p.upload(document)
	return p.edited(mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "config": p.describe(emptyType, []byte("{}")),
		"layers": []image.Descriptor{p.describe("application/json", document)}, "artifactType": "application/vnd.example.document",
	}), members)
}

// round pushes a manifest by its digest and wants the same bytes back.
func (p *probe) round(mediaType string, raw []byte) {
	p.Helper()
	p.put(p.digest(raw), mediaType, raw)
	a := p.get(p.manifestAt(p.digest(raw)), 200)
	p.holds(a, raw)
	p.header(a, "Content-Type", mediaType)
}

func (p *probe) subject(of []byte) map[string]any {
	return map[string]any{"subject": p.describe(image.MediaTypeManifest, of)}
}

func (p *probe) subjectMissing() {
	p.round(image.MediaTypeManifest, p.artifact("", p.subject([]byte("not there"))))
	p.round(image.MediaTypeManifest, p.edited(p.image(""), p.subject([]byte("not there"))))
}

// attempt pushes a manifest that may be refused for what it names.
func (p *probe) attempt(mediaType string, raw []byte) (taken bool) {
	p.Helper()
	a := p.send("PUT", p.manifestAt(p.digest(raw)), bytes.NewReader(raw), "Content-Type", mediaType)
	if a.status < 400 {
		p.status(a, 201)
		return true
	}
	p.code(a, "MANIFEST_BLOB_UNKNOWN")
	return false
}

func (p *probe) blobsMissing() {
	raw := p.image("")
	gone := p.describe(image.MediaTypeConfig, []byte("{\"not\":\"there\"}"))
	p.attempt(image.MediaTypeManifest, p.edited(raw, map[string]any{"config": gone}))
	gone.MediaType = image.MediaTypeLayer
	p.attempt(image.MediaTypeManifest, p.edited(raw, map[string]any{"layers": []image.Descriptor{gone}}))
}

func (p *probe) indexSparse() {
	raw, _ := p.pushed("", "")
	index := p.index(image.MediaTypeManifest, raw, []byte("not there"))
	if p.attempt(image.MediaTypeIndex, index) {
		p.holds(p.get(p.manifestAt(p.digest(index)), 200), index)
	}
}

const foreignType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"

// foreign is an image with a layer that is to be had elsewhere.
func (p *probe) foreign() []byte {
	layer := p.describe(foreignType, []byte("elsewhere"))
	layer.URLs = []string{"https://layers.example/elsewhere"}
	return p.edited(p.image(""), map[string]any{"layers": []image.Descriptor{layer}})
}

func (p *probe) foreignLayerTaken() { p.attempt(image.MediaTypeManifest, p.foreign()) }

func (p *probe) foreignLayerPulled() {
	if raw := p.foreign(); p.attempt(image.MediaTypeManifest, raw) {
		p.holds(p.get(p.manifestAt(p.digest(raw)), 200), raw)
	}
}

func (p *probe) foreignLayerUploaded() {
	raw := bytes.Replace(p.image(""), []byte(image.MediaTypeLayer+"+gzip"), []byte(foreignType), 1)
	p.round(image.MediaTypeManifest, raw)
}

func (p *probe) noLayers() {
	p.round(image.MediaTypeManifest, p.artifact("", map[string]any{"layers": []any{}}))
}

func (p *probe) artifactPulled() {
	raw := p.artifact("", nil)
	p.round(image.MediaTypeManifest, raw)
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		p.Fatal(err)
	}
	for _, d := range m.Descriptors() {
		a := p.get(p.blobAt(d.Digest.String()), 200, "Authorization", "")
		if got := d.Digest.Algorithm().FromBytes(a.body); got != d.Digest {
			p.Errorf("%s: the blob is %s", a.request, got)
		}
	}
}

func (p *probe) indexNested() {
	raw, _ := p.pushed("", "")
	inner := p.index(image.MediaTypeManifest, raw)
	p.round(image.MediaTypeIndex, inner)
	outer := p.index(image.MediaTypeIndex, inner)
	p.put("v1", image.MediaTypeIndex, outer)
	p.holds(p.get(p.manifestAt("v1"), 200), outer)
	p.holds(p.get(p.manifestAt(p.digest(inner)), 200), inner)
	p.holds(p.get(p.manifestAt(p.digest(raw)), 200), raw)
}

// algorithmsMixed names the manifest by the probe's algorithm, its blobs by the
// other.
func (p *probe) algorithmsMixed() {
	own, other := p.algorithm, digest.SHA512
	if own == digest.SHA512 {
		other = digest.SHA256
	}
	p.algorithm = other
	raw := p.image("")
	p.algorithm = own
	p.round(image.MediaTypeManifest, raw)
	index := p.index(image.MediaTypeManifest, raw)
	p.algorithm = other
	p.round(image.MediaTypeIndex, index)
}

func (p *probe) subjectOfManifest() {
	base, d := p.pushed("", "")
	for _, raw := range [][]byte{p.artifact("", p.subject(base)), p.edited(p.image("other"), p.subject(base))} {
		p.header(p.put(p.digest(raw), image.MediaTypeManifest, raw), "OCI-Subject", d)
		p.header(p.put("tagged", image.MediaTypeManifest, raw), "OCI-Subject", d)
	}
}

func (p *probe) subjectOfIndex() {
	base, d := p.pushed("", "")
	raw := p.edited(p.index(image.MediaTypeManifest, base), p.subject(base))
	p.header(p.put(p.digest(raw), image.MediaTypeIndex, raw), "OCI-Subject", d)
}
