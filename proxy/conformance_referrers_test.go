package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/image"
)

// referrersRequirements are those of the list of referrers.
func referrersRequirements() []section {
	return []section{
		{"Listing Referrers", []requirement{
			{"end-12a", must, "GET answers 200 and an image index, with the Content-Type of one", each, (*probe).referrersAnswer},
			{"end-12a", must, "every manifest and index that names the digest as its subject is listed", each, (*probe).referrersListed},
			{"end-12a", must, "artifactType is that of the manifest, else the config's media type; of an index only its own", each, (*probe).referrersTypes},
			{"end-12a", must, "annotations are those of the manifest or index", each, (*probe).referrersAnnotations},
			{"end-12a", must, "of another repository nothing is listed", each, (*probe).referrersElsewhere},
			{"end-12a", must, "without referrers the list is empty, be the subject there or not", each, (*probe).referrersEmpty},
			{"end-12a", mustNot, "404 is never the answer, also not for a repository that is not there", each, (*probe).referrersNever404},
			{"end-12a", must, "a digest that is malformed answers 400", once, (*probe).referrersInvalid},
			{"end-12a", must, "what was pushed before its subject is listed", each, (*probe).referrersBeforeSubject},
			{"end-12a", must, "a referrer that was deleted is not listed", each, (*probe).referrersDeleted},
			{"end-12a", must, "a list too long for one manifest comes in pages with Link", once, (*probe).referrersLinked},
			{"end-12b", should, "artifactType filters", each, (*probe).referrersFiltered},
			{"end-12b", must, "OCI-Filters-Applied says so, also of an empty list", each, (*probe).referrersFilterNamed},
		}},
		{"Referrers Tag Schema", []requirement{
			{"end-7a", must, "clients that keep the list themselves can push and pull it under the tag", each, (*probe).referrersTag},
		}},
		{"Enabling the Referrers API", []requirement{
			{"end-12a", must, "a referrer that a client put into a list under the tag as well is listed once", each, (*probe).referrersTagAsWell},
		}},
	}
}

// referrer is an entry of the list; members that are missing are nil.
type referrer struct {
	MediaType    string
	Digest       string
	Size         int
	ArtifactType *string
	Annotations  map[string]string
}

// referrers reads the whole list and checks its form.
func (p *probe) referrers(d, query string) (all []referrer) {
	p.Helper()
	target := p.referrersAt(d, query)
	for pages := 0; target != "" && pages < 20; pages++ {
		a := p.get(target, 200)
		p.header(a, "Content-Type", image.MediaTypeIndex)
		if len(a.body) > image.MaxManifestSize {
			p.Errorf("%s: %d bytes are more than one manifest here may have", a.request, len(a.body))
		}
		var doc struct {
			SchemaVersion int
			MediaType     string
			Manifests     []referrer
		}
		if err := json.Unmarshal(a.body, &doc); err != nil || doc.SchemaVersion != 2 || doc.MediaType != image.MediaTypeIndex || doc.Manifests == nil {
			p.Fatalf("%s: %s is no index", a.request, cut(string(a.body), 300))
		}
		all, target = append(all, doc.Manifests...), p.next(a)
	}
	return all
}

// entries wants these manifests in a list, each once, and returns them by
// their bytes.
func (p *probe) entries(list []referrer, manifests ...[]byte) map[string]referrer {
	p.Helper()
	found := map[string]referrer{}
	for _, e := range list {
		raw := p.get(p.manifestAt(e.Digest), 200).body
		if _, twice := found[string(raw)]; twice {
			p.Errorf("%s is listed twice", e.Digest)
		}
		if found[string(raw)] = e; e.Size != len(raw) {
			p.Errorf("%s: size %d, want %d", e.Digest, e.Size, len(raw))
		}
	}
	for _, raw := range manifests {
		if _, ok := found[string(raw)]; !ok {
			p.Errorf("%s is not listed: %s", p.digest(raw), cut(string(raw), 300))
		}
	}
	if len(found) > len(manifests) {
		p.Errorf("%d are listed, want %d", len(found), len(manifests))
	}
	return found
}

// refer pushes an artifact that names a subject.
func (p *probe) refer(subject []byte, kind string, members map[string]any) []byte {
	p.Helper()
	all := map[string]any{"subject": p.describe(image.MediaTypeManifest, subject), "artifactType": kind}
	for name, value := range members {
		all[name] = value
	}
	raw := p.artifact(kind, all)
	p.put(p.digest(raw), image.MediaTypeManifest, raw)
	return raw
}

const (
	signatureType = "application/vnd.example.signature.v1"
	sbomType      = "application/vnd.example.sbom.v1+json"
)

func (p *probe) referrersAnswer() {
	base, d := p.pushed("", "")
	p.refer(base, signatureType, nil)
	p.referrers(d, "")
}

func (p *probe) referrersListed() {
	base, d := p.pushed("", "")
	manifest := p.edited(p.image("image"), p.subject(base))
	p.put(p.digest(manifest), image.MediaTypeManifest, manifest)
	index := p.edited(p.index(image.MediaTypeManifest, base), p.subject(base))
	p.put("index", image.MediaTypeIndex, index)
	signature, sbom := p.refer(base, signatureType, nil), p.refer(base, sbomType, nil)
	found := p.entries(p.referrers(d, ""), signature, sbom, manifest, index)
	for raw, mediaType := range map[string]string{string(manifest): image.MediaTypeManifest, string(index): image.MediaTypeIndex} {
		if got := found[raw].MediaType; got != mediaType {
			p.Errorf("%s: media type %q", found[raw].Digest, got)
		}
	}
}

func (p *probe) referrersTypes() {
	base, d := p.pushed("", "")
	index := p.edited(p.index(image.MediaTypeManifest, base), p.subject(base))
	typed := p.edited(index, map[string]any{"artifactType": sbomType})
	for _, raw := range [][]byte{index, typed} {
		p.put(p.digest(raw), image.MediaTypeIndex, raw)
	}
	own := p.refer(base, signatureType, nil)
	configs := p.artifact("config", map[string]any{"subject": p.describe(image.MediaTypeManifest, base), "artifactType": nil, "config": p.describe(sbomType, []byte("{}"))})
	p.put(p.digest(configs), image.MediaTypeManifest, configs)
	found := p.entries(p.referrers(d, ""), index, typed, own, configs)
	for _, tt := range []struct {
		name string
		raw  []byte
		want *string
	}{{"of the manifest", own, ptr(signatureType)}, {"of the config", configs, ptr(sbomType)}, {"of an index", typed, ptr(sbomType)}, {"of an index without", index, nil}} {
		if diff := cmp.Diff(tt.want, found[string(tt.raw)].ArtifactType); diff != "" {
			p.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func ptr(s string) *string { return &s }

func (p *probe) referrersAnnotations() {
	base, d := p.pushed("", "")
	want := map[string]string{"org.opencontainers.image.created": "2026-01-01T00:00:00Z", "org.example.note": "ä \"quoted\" <&>"}
	raw := p.refer(base, signatureType, map[string]any{"annotations": want})
	index := p.edited(p.index(image.MediaTypeManifest, base), map[string]any{"subject": p.describe(image.MediaTypeManifest, base), "annotations": want})
	p.put(p.digest(index), image.MediaTypeIndex, index)
	for _, e := range p.entries(p.referrers(d, ""), raw, index) {
		if diff := cmp.Diff(want, e.Annotations); diff != "" {
			p.Errorf("%s (-want +got):\n%s", e.Digest, diff)
		}
	}
}

func (p *probe) referrersElsewhere() {
	base, d := p.pushed("", "")
	p.refer(base, signatureType, nil)
	p.one = p.two
	p.upload([]byte("so that there is a repository"))
	p.entries(p.referrers(d, ""))
}

func (p *probe) referrersEmpty() {
	_, d := p.pushed("", "")
	p.entries(p.referrers(d, ""))
	p.entries(p.referrers(p.digest([]byte("not there")), ""))
}

func (p *probe) referrersNever404() {
	p.entries(p.referrers(p.digest([]byte("not there")), ""))
}

func (p *probe) referrersInvalid() {
	p.pushed("", "v1")
	for _, d := range []string{"v1", "sha256", "sha256:", "sha256:abc", "sha256:" + strings.Repeat("Z", 64), "nonsense:abc"} {
		p.get(p.referrersAt(d, ""), 400)
	}
}

func (p *probe) referrersBeforeSubject() {
	base := p.image("")
	raw := p.refer(base, signatureType, nil)
	p.entries(p.referrers(p.digest(base), ""), raw)
	p.put(p.digest(base), image.MediaTypeManifest, base)
	p.entries(p.referrers(p.digest(base), ""), raw)
}

func (p *probe) referrersDeleted() {
	base, d := p.pushed("", "")
	gone, stays := p.refer(base, signatureType, nil), p.refer(base, sbomType, nil)
	p.call("DELETE", p.manifestAt(p.digest(gone)), nil, []int{202})
	p.entries(p.referrers(d, ""), stays)
}

func (p *probe) referrersLinked() {
	base, d := p.pushed("", "")
	var all [][]byte
	for i := range 3 {
		long := map[string]string{"org.example.long": strings.Repeat("x", 3<<19)}
		all = append(all, p.refer(base, fmt.Sprintf("application/vnd.example.v%d", i), map[string]any{"annotations": long}))
	}
	p.entries(p.referrers(d, ""), all...)
}

func (p *probe) referrersFiltered() {
	base, d := p.pushed("", "")
	signature, sbom := p.refer(base, signatureType, nil), p.refer(base, sbomType, nil)
	for kind, raw := range map[string][]byte{signatureType: signature, sbomType: sbom} {
		p.entries(p.referrers(d, "?"+url.Values{"artifactType": {kind}}.Encode()), raw)
	}
}

func (p *probe) referrersFilterNamed() {
	base, d := p.pushed("", "")
	p.refer(base, signatureType, nil)
	for _, kind := range []string{signatureType, sbomType} {
		p.header(p.get(p.referrersAt(d, "?"+url.Values{"artifactType": {kind}}.Encode()), 200), "OCI-Filters-Applied", "artifactType")
	}
	p.header(p.get(p.referrersAt(d, ""), 200), "OCI-Filters-Applied", "")
}

// schemaTag is the tag of the referrers of a digest.
func schemaTag(d string) string {
	algorithm, encoded, _ := strings.Cut(d, ":")
	return algorithm + "-" + encoded[:min(64, len(encoded))]
}

func (p *probe) referrersTag() {
	base, d := p.pushed("", "")
	list := p.index(image.MediaTypeManifest, p.refer(base, signatureType, nil))
	p.put(schemaTag(d), image.MediaTypeIndex, list)
	p.holds(p.get(p.manifestAt(schemaTag(d)), 200), list)
}

func (p *probe) referrersTagAsWell() {
	base, d := p.pushed("", "")
	raw := p.refer(base, signatureType, nil)
	p.put(schemaTag(d), image.MediaTypeIndex, p.index(image.MediaTypeManifest, raw))
	p.entries(p.referrers(d, ""), raw)
}
