package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/imagetest"
)

// apiRequirements are those of "Registry Proxying", "API" and the legacy headers.
func apiRequirements() []section {
	return []section{
		{"Registry Proxying", []requirement{
			{"end-2 end-3 end-8a end-12a", should, "OCI-Namespace has the value of ns, where ns was used", once, (*probe).namespaceNamed},
			{"end-2 end-3", may, "ns selects a registry: one that is not known answers 404 and no content of another", once, (*probe).namespaceUnknown},
		}},
		{"Legacy Docker support HTTP headers", []requirement{
			{"end-1", may, "Docker-Distribution-API-Version is registry/2.0", once, (*probe).legacyHeader},
		}},
		{"Determining Support", []requirement{
			{"end-1", must, "GET /v2/ answers 200, or 401 with a challenge", once, (*probe).support},
		}},
		{"API", []requirement{
			{"end-2 end-3", should, "If-None-Match of the ETag answers 304 (RFC 9110, 13.1.2)", once, (*probe).notModified},
			{"end-2 end-3", should, "a method that is not supported answers 405 with Allow (RFC 9110, 15.5.6)", once, (*probe).methodNotAllowed},
		}},
		{"Error Codes", []requirement{
			{"code-1 to code-14", must, "the body of an error has the form and one of the codes of the table", once, (*probe).errorForm},
			{"code-14", should, "429 has Retry-After", once, (*probe).tooMany},
		}},
		{"Warnings", []requirement{
			{"end-3", must, "Warning has code 299, agent - and no date, and is of 4096 bytes at most", once, (*probe).warnings},
		}},
	}
}

// ownHost is a host of the embedded registry.
const ownHost = "127.0.0.1:5000"

func (p *probe) namespaceNamed() {
	raw, d := p.pushed("", "v1")
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		p.Fatal(err)
	}
	for _, target := range []string{p.manifestAt("v1"), p.manifestAt(d), p.blobAt(m.Config.Digest.String()), p.tagsAt(""), p.referrersAt(d, "")} {
		p.header(p.get(target+"?ns="+ownHost, 200), "OCI-Namespace", ownHost)
		p.header(p.head(target+"?ns="+ownHost, 200), "OCI-Namespace", ownHost)
		p.header(p.get(target, 200), "OCI-Namespace", "")
	}
}

func (p *probe) namespaceUnknown() {
	raw, d := p.pushed("", "v1")
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		p.Fatal(err)
	}
	for _, target := range []string{p.manifestAt("v1"), p.manifestAt(d), p.blobAt(m.Config.Digest.String())} {
		p.code(p.get(target+"?ns=nowhere.example", 404), "NAME_UNKNOWN")
	}
}

func (p *probe) legacyHeader() {
	for _, authorization := range []string{"", p.bearer} {
		p.header(p.send("GET", "/v2/", nil, "Authorization", "", "Authorization", authorization), "Docker-Distribution-Api-Version", "registry/2.0")
	}
}

func (p *probe) support() {
	p.get("/v2/", 200)
	if a := p.send("GET", "/v2/", nil, "Authorization", ""); a.status != 200 {
		p.status(a, 401)
		if !strings.HasPrefix(a.reply.header.Get("WWW-Authenticate"), "Bearer realm=") {
			p.Errorf("%s: WWW-Authenticate %q", a.request, a.reply.header.Get("WWW-Authenticate"))
		}
	}
}

func (p *probe) notModified() {
	_, d := p.pushed("", "v1")
	for _, target := range []string{p.manifestAt("v1"), p.manifestAt(d), p.blobAt(p.upload(text()))} {
		tag := p.get(target, 200).reply.header.Get("Etag")
		if tag == "" {
			p.Errorf("%s has no ETag", target)
			continue
		}
		p.header(p.get(target, 304, "If-None-Match", tag), "Etag", tag)
		p.get(target, 200, "If-None-Match", `"another"`)
	}
}

func (p *probe) methodNotAllowed() {
	d := p.upload(text())
	for _, tt := range []struct{ method, target string }{
		{"POST", "/v2/"}, {"POST", p.manifestAt("v1")}, {"PATCH", p.manifestAt("v1")}, {"PUT", p.blobAt(d)}, {"DELETE", p.tagsAt("")}, {"PUT", p.uploadsAt("")}, {"POST", p.referrersAt(d, "")},
	} {
		a := p.call(tt.method, tt.target, nil, []int{405})
		p.code(a, "UNSUPPORTED")
		if a.reply.header.Get("Allow") == "" {
			p.Errorf("%s: 405 without Allow", a.request)
		}
	}
}

// codes are those of the table, and the two of schema 1 that the section
// "Legacy Docker support error codes" leaves free.
func codes() []string {
	return []string{
		"BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN",
		"NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS", "TAG_INVALID", "MANIFEST_UNVERIFIED",
	}
}

func (p *probe) errorForm() {
	p.pushed("", "v1")
	nothing := digest.FromString("nothing").String()
	for _, tt := range []struct{ method, target, body string }{
		{"GET", p.manifestAt("v2"), ""}, {"GET", p.manifestAt("-"), ""}, {"GET", p.manifestAt("sha256:abc"), ""}, {"GET", p.manifestAt(nothing), ""},
		{"PUT", p.manifestAt("v2"), "{}"}, {"PUT", p.manifestAt(nothing), "{}"}, {"PUT", p.manifestAt("-"), "{}"}, {"DELETE", p.manifestAt("v2"), ""},
		{"GET", p.blobAt(nothing), ""}, {"GET", p.blobAt("nonsense"), ""}, {"DELETE", p.blobAt(nothing), ""}, {"PUT", p.blobAt(nothing), ""},
		{"POST", p.uploadsAt("?digest=nonsense"), ""}, {"POST", p.uploadsAt("?digest=" + nothing), "x"}, {"PATCH", p.uploadsAt("none"), "x"},
		{"GET", p.tagsAt("?n=-1"), ""}, {"GET", p.tagsAt("?n=many"), ""}, {"GET", "/v2/conformance/none/tags/list", ""}, {"GET", "/v2/conformance/UPPER/tags/list", ""},
		{"GET", p.referrersAt("nonsense", ""), ""}, {"GET", "/v2/conformance/nowhere", ""}, {"GET", "/v2/a//b/manifests/v1", ""}, {"PUT", "/v2/conformance/not/granted/manifests/v1", "{}"},
	} {
		a := p.send(tt.method, tt.target, strings.NewReader(tt.body))
		if a.status < 400 || a.status > 499 {
			p.Errorf("%s: HTTP %d", a.request, a.status)
		}
		p.errorBody(a)
	}
}

// errorBody wants a body of the form that JSON errors have.
func (p *probe) errorBody(a answer) {
	p.Helper()
	if !strings.HasPrefix(a.reply.header.Get("Content-Type"), "application/json") {
		return // any other format will do
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Detail  any    `json:"detail"`
		} `json:"errors"`
	}
	if err := dec.Decode(&doc); err != nil || len(doc.Errors) == 0 {
		p.Errorf("%s: %s: %v", a.request, cut(string(a.body), 300), err)
	}
	for _, e := range doc.Errors {
		if !slices.Contains(codes(), e.Code) {
			p.Errorf("%s: HTTP %d with code %s, which is not in the table", a.request, a.status, e.Code)
		}
	}
}

// tooMany asks a registry that wants everybody to come back later, once without
// saying when.
func (p *probe) tooMany() {
	for _, name := range []string{"reg.example/later", "reg.example/sometime"} {
		p.allow(name)
		a := p.get("/v2/"+name+"/manifests/v1", 429)
		p.code(a, "TOOMANYREQUESTS")
		if a.reply.header.Get("Retry-After") == "" {
			p.Errorf("%s: 429 without Retry-After", a.request)
		}
	}
}

var warningRE = regexp.MustCompile(`^299 - "(?:[^"\\]|\\.)*"$`)

// warnings pushes an image that is warned of, in mode policy with long words.
func (p *probe) warnings() {
	im := imagetest.Vulnerable()
	long := strings.Replace(string(im.Manifest), im.Layers[0].MediaType, im.Layers[0].MediaType+strings.Repeat(`x\"`, 10_000), 1)
	if err := p.door.pusher(p.one).PushBlobs(context.Background(), p.one, im); err != nil {
		p.Fatal(err)
	}
	warned := 0
	for tag, raw := range map[string]string{"v1": string(im.Manifest), "v2": long} {
		for _, a := range []answer{
			p.call("PUT", p.manifestAt(tag), []byte(raw), []int{201}, "Content-Type", image.MediaTypeManifest),
			p.head(p.manifestAt(tag), 200),
			p.head(p.blobAt(im.ID().String()), 200),
		} {
			warned += p.warningForm(a)
		}
	}
	if warned == 0 && p.door.Gate.Config().Mode == gate.ModePolicy {
		p.Error("nothing was warned of")
	}
}

// warningForm checks the warnings of an answer and returns their size in bytes.
func (p *probe) warningForm(a answer) (size int) {
	p.Helper()
	for _, w := range a.reply.header.Values("Warning") {
		if size += len(w); !warningRE.MatchString(w) {
			p.Errorf("%s: Warning %s", a.request, cut(w, 300))
		}
	}
	if size > 4096 {
		p.Errorf("%s: warnings of %d bytes", a.request, size)
	}
	return size
}
