package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// chunkRequirements are those of blobs that are pushed in parts, and of uploads
// that end before they are whole.
func chunkRequirements() []section {
	return []section{
		{"Pushing a blob in chunks", []requirement{
			{"end-4c", should, "digest-algorithm is taken: sha256 and sha512 answer 202", each, (*probe).algorithmTaken},
			{"end-4c", should, "digest-algorithm of an unknown algorithm answers 400", once, (*probe).algorithmUnknown},
			{"end-4c", may, "a digest that was not announced answers 201 and the blob, or 400", each, (*probe).algorithmUnannounced},
			{"end-4a", should, "OCI-Chunk-Min-Length, if there is one, is a size that suffices", once, (*probe).chunkMinimum},
			{"end-5", must, "PATCH answers 202, Location, and the Range up to the last byte", each, (*probe).chunkAnswers},
			{"end-6", must, "PUT without bytes closes: 201 and the Location of the blob", each, (*probe).chunksClose},
			{"end-6", may, "PUT may bring the last chunk", each, (*probe).chunksCloseWithLast},
			{"end-5", may, "PATCH without Content-Range and Content-Length streams", each, (*probe).chunkStreams},
			{"end-5", must, "the first chunk begins with 0, else 416", once, (*probe).chunkFirst},
			{"end-5", must, "a chunk out of order answers 416: a gap, a repetition", each, (*probe).chunkOutOfOrder},
			{"end-6", must, "a last chunk out of order answers 416", each, (*probe).chunkLastOutOfOrder},
			{"end-5", must, "Content-Range of another form, or of another length than the body, is refused", once, (*probe).chunkRangeInvalid},
			{"end-13", must, "GET answers 204 with Location and Range", each, (*probe).uploadStatus},
			{"end-13", must, "after a 416, the upload goes on where GET says", each, (*probe).uploadGoesOn},
			{"end-5 end-6 end-13", must, "an upload that is not there answers 404", once, (*probe).uploadUnknown},
		}},
		{"Cancel a blob upload", []requirement{
			{"end-14", should, "DELETE answers 204, and the upload is gone", each, (*probe).uploadCancelled},
			{"end-14", must, "DELETE of an upload that is not there answers 404 or 400", once, (*probe).uploadCancelUnknown},
		}},
	}
}

func (p *probe) algorithmTaken() {
	a := p.call("POST", p.uploadsAt("?digest-algorithm="+p.algorithm.String()), nil, []int{201, 202})
	p.stored(p.call("PUT", p.closing(p.location(a), p.digest(text())), text(), []int{201}, "Content-Type", octets), text())
}

func (p *probe) algorithmUnknown() {
	for _, name := range []string{"md5", "SHA256", "nonsense"} {
		p.call("POST", p.uploadsAt("?digest-algorithm="+name), nil, []int{400})
	}
}

// algorithmUnannounced announces the other algorithm, and none.
func (p *probe) algorithmUnannounced() {
	other := digest.SHA512
	if p.algorithm == digest.SHA512 {
		other = digest.SHA256
	}
	for i, query := range []string{"", "?digest-algorithm=" + other.String()} {
		blob := fmt.Appendf(nil, "blob %d", i)
		at := p.location(p.call("POST", p.uploadsAt(query), nil, []int{202}))
		at = p.location(p.call("PATCH", at, blob, []int{202}, "Content-Type", octets, "Content-Range", "0-5"))
		if a := p.call("PUT", p.closing(at, p.digest(blob)), nil, []int{201, 400}); a.status == 201 {
			p.stored(a, blob)
		}
	}
}

func (p *probe) chunkMinimum() {
	header := p.call("POST", p.uploadsAt(""), nil, []int{202}).reply.header.Get("OCI-Chunk-Min-Length")
	if header == "" {
		return // chunks of any size
	}
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 || n > 64<<20 {
		p.Fatalf("OCI-Chunk-Min-Length is %q", header)
	}
	at := p.chunk(p.begin(), bytes.Repeat([]byte("x"), n), 0)
	p.chunk(at, []byte("the last may be shorter"), n)
}

// chunk sends one chunk that begins at offset and returns where the upload goes
// on.
func (p *probe) chunk(at string, part []byte, offset int) string {
	p.Helper()
	a := p.call("PATCH", at, part, []int{202}, "Content-Type", octets, "Content-Range", fmt.Sprintf("%d-%d", offset, offset+len(part)-1))
	p.header(a, "Range", fmt.Sprintf("0-%d", offset+len(part)-1))
	return p.location(a)
}

// chunks sends a blob in chunks of these sizes.
func (p *probe) chunks(blob []byte, sizes ...int) string {
	p.Helper()
	at, offset := p.begin(), 0
	for _, n := range sizes {
		at = p.chunk(at, blob[offset:offset+n], offset)
		offset += n
	}
	return at
}

func (p *probe) chunkAnswers() { p.chunks(text(), 1, 300, 699) }

func (p *probe) chunksClose() {
	p.stored(p.call("PUT", p.closing(p.chunks(text(), 400, 600), p.digest(text())), nil, []int{201}), text())
}

func (p *probe) chunksCloseWithLast() {
	at := p.closing(p.chunks(text(), 400, 300), p.digest(text()))
	p.stored(p.call("PUT", at, text()[700:], []int{201}, "Content-Type", octets, "Content-Range", "700-999"), text())
	at = p.closing(p.chunks(text(), 999), p.digest(text()))
	p.stored(p.call("PUT", at, text()[999:], []int{201}, "Content-Type", octets), text())
}

func (p *probe) chunkStreams() {
	at := p.begin()
	for i := range 2 {
		body := struct{ io.Reader }{bytes.NewReader(text()[i*500 : i*500+500])}
		a := p.send("PATCH", at, body, "Content-Type", octets)
		p.status(a, 202)
		p.header(a, "Range", fmt.Sprintf("0-%d", i*500+499))
		at = p.location(a)
	}
	p.stored(p.call("PUT", p.closing(at, p.digest(text())), nil, []int{201}), text())
}

// misplaced sends bytes that do not belong where the upload is.
func (p *probe) misplaced(method, at string, n int, span string) {
	p.Helper()
	p.call(method, at, text()[:n], []int{416}, "Content-Type", octets, "Content-Range", span)
}

func (p *probe) chunkFirst() { p.misplaced("PATCH", p.begin(), 10, "1-10") }

func (p *probe) chunkOutOfOrder() {
	at := p.chunks(text(), 100)
	p.misplaced("PATCH", at, 100, "101-200")
	p.misplaced("PATCH", at, 100, "0-99")
	p.misplaced("PATCH", at, 10, "99-108")
}

func (p *probe) chunkLastOutOfOrder() {
	at := p.closing(p.chunks(text(), 100), p.digest(text()))
	p.misplaced("PUT", at, 10, "990-999")
	p.misplaced("PUT", at, 100, "0-99")
}

func (p *probe) chunkRangeInvalid() {
	for _, span := range []string{"bytes=0-9", "0", "0-", "-9", "9-0", "0-9,10-19", "a-b", "0x0-0x9", "0-4", "0-10", " 0-9x"} {
		p.call("PATCH", p.begin(), text()[:10], []int{400, 416}, "Content-Type", octets, "Content-Range", span)
	}
}

func (p *probe) uploadStatus() {
	p.location(p.get(p.begin(), 204))
	at := p.chunks(text(), 100, 50)
	a := p.get(at, 204)
	p.header(a, "Range", "0-149")
	p.chunk(p.location(a), text()[150:300], 150)
}

func (p *probe) uploadGoesOn() {
	at := p.chunks(text(), 100)
	p.misplaced("PATCH", at, 100, "300-399")
	a := p.get(at, 204)
	p.header(a, "Range", "0-99")
	at = p.chunk(p.location(a), text()[100:900], 100)
	p.misplaced("PUT", p.closing(at, p.digest(text())), 10, "990-999")
	a = p.get(at, 204)
	p.header(a, "Range", "0-899")
	end := p.closing(p.location(a), p.digest(text()))
	p.stored(p.call("PUT", end, text()[900:], []int{201}, "Content-Type", octets, "Content-Range", "900-999"), text())
}

// ended is the address of an upload that has ended.
func (p *probe) ended() string {
	p.Helper()
	at := p.begin()
	p.call("PUT", p.closing(at, p.digest(text())), text(), []int{201}, "Content-Type", octets)
	return at
}

func (p *probe) uploadUnknown() {
	for _, at := range []string{p.ended(), p.uploadsAt("01234567-89ab-4def-8123-456789abcdef")} {
		p.code(p.get(at, 404), "BLOB_UPLOAD_UNKNOWN")
		p.code(p.call("PATCH", at, []byte("x"), []int{404}, "Content-Type", octets, "Content-Range", "0-0"), "BLOB_UPLOAD_UNKNOWN")
		p.code(p.call("PUT", p.closing(at, p.digest([]byte("x"))), []byte("x"), []int{404}, "Content-Type", octets), "BLOB_UPLOAD_UNKNOWN")
	}
}

func (p *probe) uploadCancelled() {
	at := p.chunks(text(), 100)
	p.call("DELETE", at, nil, []int{204})
	p.get(at, 404)
	p.call("PATCH", at, text()[100:], []int{404}, "Content-Type", octets, "Content-Range", "100-999")
	p.call("PUT", p.closing(at, p.digest(text()[:100])), nil, []int{404})
}

func (p *probe) uploadCancelUnknown() {
	for _, at := range []string{p.ended(), p.uploadsAt("01234567-89ab-4def-8123-456789abcdef")} {
		p.call("DELETE", at, nil, []int{404, 400})
	}
}
