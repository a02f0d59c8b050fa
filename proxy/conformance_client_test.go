package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// probe is a plain client that checks one requirement, with repositories of its
// own and content named by one digest algorithm.
type probe struct {
	*testing.T
	door      *door
	algorithm digest.Algorithm
	one, two  string // repositories; nothing is in them at first
	bearer    string // may pull, push and delete in both
}

func newProbe(t *testing.T, d *door, a digest.Algorithm, repository string) *probe {
	own := *d
	own.t = t
	p := &probe{T: t, door: &own, algorithm: a, one: repository + "/one", two: repository + "/two"}
	p.allow(p.one, p.two)
	return p
}

// allow takes a token for these repositories.
func (p *probe) allow(repositories ...string) {
	p.Helper()
	p.bearer = p.door.pusher(repositories...).Header.Get("Authorization")
}

// answer is a reply and what it answers.
type answer struct {
	reply
	request string
}

// send makes a request of a path or of an address that the registry gave.
// Headers are pairs; one without a value is not sent.
func (p *probe) send(method, target string, body io.Reader, headers ...string) answer {
	p.Helper()
	base, err := url.Parse(p.door.url)
	if err != nil {
		p.Fatal(err)
	}
	address, err := base.Parse(target)
	if err != nil {
		p.Fatalf("the address %q: %v", target, err)
	}
	req, err := http.NewRequestWithContext(p.Context(), method, address.String(), body)
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Authorization", p.bearer)
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		p.Fatal(err)
	}
	return answer{reply{res.StatusCode, res.Header, raw}, method + " " + cut(address.RequestURI(), 200)}
}

// call sends bytes and wants one of the statuses.
func (p *probe) call(method, target string, body []byte, statuses []int, headers ...string) answer {
	p.Helper()
	a := p.send(method, target, bytes.NewReader(body), headers...)
	p.status(a, statuses...)
	return a
}

func (p *probe) get(target string, status int, headers ...string) answer {
	p.Helper()
	return p.call("GET", target, nil, []int{status}, headers...)
}

func (p *probe) head(target string, status int, headers ...string) answer {
	p.Helper()
	return p.call("HEAD", target, nil, []int{status}, headers...)
}

func (p *probe) status(a answer, statuses ...int) {
	p.Helper()
	if !slices.Contains(statuses, a.status) {
		p.Fatalf("%s: HTTP %d %s, want %v", a.request, a.status, cut(string(a.body), 300), statuses)
	}
}

func (p *probe) header(a answer, name, want string) {
	p.Helper()
	if got := a.reply.header.Get(name); got != want {
		p.Errorf("%s: %s is %q, want %q", a.request, name, got, want)
	}
}

// code wants one of the codes in the body of an error.
func (p *probe) code(a answer, codes ...string) {
	p.Helper()
	if got := a.code(); !slices.Contains(codes, got) {
		p.Errorf("%s: HTTP %d with code %q, want one of %v", a.request, a.status, got, codes)
	}
}

// location is the address that the registry gave; it must give one.
func (p *probe) location(a answer) string {
	p.Helper()
	l := a.reply.header.Get("Location")
	if l == "" {
		p.Fatalf("%s: HTTP %d without Location", a.request, a.status)
	}
	return l
}

// names wants a digest of any algorithm that is the digest of content.
func (p *probe) names(a answer, content []byte) {
	p.Helper()
	text := a.reply.header.Get("Docker-Content-Digest")
	d, err := digest.Parse(text)
	if err != nil {
		p.Errorf("%s: Docker-Content-Digest %q: %v", a.request, text, err)
		return
	}
	if d.Algorithm().FromBytes(content) != d {
		p.Errorf("%s: Docker-Content-Digest %s is not of what was uploaded", a.request, d)
	}
}

// holds wants the content, byte for byte.
func (p *probe) holds(a answer, content []byte) {
	p.Helper()
	if !bytes.Equal(a.body, content) {
		p.Errorf("%s: %d bytes that are not the %d uploaded ones", a.request, len(a.body), len(content))
	}
}

func (p *probe) digest(content []byte) string { return p.algorithm.FromBytes(content).String() }

func (p *probe) manifestAt(reference string) string {
	return "/v2/" + p.one + "/manifests/" + reference
}

func (p *probe) blobAt(d string) string { return "/v2/" + p.one + "/blobs/" + d }

func (p *probe) uploadsAt(query string) string { return "/v2/" + p.one + "/blobs/uploads/" + query }

func (p *probe) tagsAt(query string) string { return "/v2/" + p.one + "/tags/list" + query }

func (p *probe) referrersAt(d, query string) string {
	return "/v2/" + p.one + "/referrers/" + d + query
}

// describe is the descriptor of content, named by the probe's algorithm.
func (p *probe) describe(mediaType string, content []byte) image.Descriptor {
	return image.Descriptor{MediaType: mediaType, Digest: p.algorithm.FromBytes(content), Size: int64(len(content))}
}

const octets = "application/octet-stream"

// upload pushes a blob to the first repository and returns its digest.
func (p *probe) upload(content []byte) string {
	p.Helper()
	a := p.call("PUT", p.closing(p.begin(), p.digest(content)), content, []int{201}, "Content-Type", octets)
	p.location(a)
	return p.digest(content)
}

// begin opens an upload for the probe's algorithm and returns its address.
func (p *probe) begin() string {
	p.Helper()
	query := ""
	if p.algorithm != digest.SHA256 {
		query = "?digest-algorithm=" + p.algorithm.String()
	}
	return p.location(p.call("POST", p.uploadsAt(query), nil, []int{202}))
}

// closing adds the digest to the address of an upload.
func (p *probe) closing(location, d string) string {
	p.Helper()
	u, err := url.Parse(location)
	if err != nil {
		p.Fatal(err)
	}
	query := u.Query()
	query.Set("digest", d)
	u.RawQuery = query.Encode()
	return u.String()
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
