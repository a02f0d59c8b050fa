package proxy_test

import (
	"regexp"
	"strings"
)

// uploadRequirements are those of blobs that are pushed whole.
func uploadRequirements() []section {
	return []section{
		{"Pushing blobs", []requirement{
			{"end-6", should, "a digest that is malformed or of an unknown algorithm answers 400", once, (*probe).uploadDigestInvalid},
			{"end-6", should, "bytes that are not what the digest says answer 400, and are not stored", each, (*probe).uploadMismatch},
		}},
		{"POST then PUT", []requirement{
			{"end-4a", must, "POST answers 202 and Location", once, (*probe).uploadBegins},
			{"end-4a", must, "Location contains a UUID that no other upload has", once, (*probe).uploadIsUnique},
			{"end-6", must, "PUT with digest answers 201 and the Location of a blob that can be pulled", each, (*probe).uploadWhole},
		}},
		{"Single POST", []requirement{
			{"end-4b", must, "POST with digest and bytes answers 201 and the Location of the blob, or 202 and an upload", each, (*probe).uploadSingle},
			{"end-4b", should, "POST with bytes that are not what the digest says answers 400", each, (*probe).uploadSingleMismatch},
		}},
	}
}

func (p *probe) uploadDigestInvalid() {
	for _, d := range []string{"", "sha256", "sha256:", "sha256:abc", "sha256:" + strings.Repeat("g", 64), "md5:d41d8cd98f00b204e9800998ecf8427e", "unknown+a.b:0123456789abcdef0123456789abcdef"} {
		p.call("PUT", p.closing(p.begin(), d), nil, []int{400}, "Content-Type", octets)
		if d != "" {
			p.call("POST", p.uploadsAt("?digest="+strings.ReplaceAll(d, "+", "%2B")), []byte("x"), []int{400}, "Content-Type", octets)
		}
	}
}

func (p *probe) uploadMismatch() {
	p.upload([]byte("so that there is a repository"))
	d := p.digest([]byte("other bytes"))
	p.code(p.call("PUT", p.closing(p.begin(), d), text(), []int{400}, "Content-Type", octets), "DIGEST_INVALID")
	at := p.location(p.call("PATCH", p.begin(), text(), []int{202}, "Content-Type", octets, "Content-Range", "0-999"))
	p.code(p.call("PUT", p.closing(at, d), nil, []int{400}), "DIGEST_INVALID")
	p.get(p.blobAt(d), 404)
}

func (p *probe) uploadBegins() { p.get(p.begin(), 204) }

var uuidRE = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

func (p *probe) uploadIsUnique() {
	first, second := uuidRE.FindString(p.begin()), uuidRE.FindString(p.begin())
	if first == "" || first == second {
		p.Errorf("the UUIDs of two uploads are %q and %q: %s", first, second, p.begin())
	}
}

// stored wants the blob under the Location of an answer.
func (p *probe) stored(a answer, blob []byte) {
	p.Helper()
	p.holds(p.get(p.location(a), 200), blob)
	p.holds(p.get(p.blobAt(p.digest(blob)), 200), blob)
}

func (p *probe) uploadWhole() {
	p.stored(p.call("PUT", p.closing(p.begin(), p.digest(text())), text(), []int{201}, "Content-Type", octets), text())
}

func (p *probe) uploadSingle() {
	a := p.call("POST", p.uploadsAt("?digest="+p.digest(text())), text(), []int{201, 202}, "Content-Type", octets)
	if a.status == 202 {
		a = p.call("PUT", p.closing(p.location(a), p.digest(text())), text(), []int{201}, "Content-Type", octets)
	}
	p.stored(a, text())
}

func (p *probe) uploadSingleMismatch() {
	p.upload([]byte("so that there is a repository"))
	d := p.digest([]byte("other bytes"))
	p.code(p.call("POST", p.uploadsAt("?digest="+d), text(), []int{400}, "Content-Type", octets), "DIGEST_INVALID")
	p.get(p.blobAt(d), 404)
}
