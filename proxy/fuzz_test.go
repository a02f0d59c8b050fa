package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// planted is in every stretch of the refused layer that is twice as long.
const planted = "R3FUS3D!"

// fortress is a registry that holds one refused image, and a client that may
// push next to it.
type fortress struct {
	*door
	refused imagetest.Image
	bearer  string
}

func newFortress(t testing.TB) *fortress {
	t.Helper()
	d := open(t, gatetest.Options{})
	layer := imagetest.Plain(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL}, imagetest.File("secret", strings.Repeat(planted, 4096)))...)
	f := &fortress{door: d, refused: imagetest.Build(layer), bearer: "Bearer " + d.token("repository:team/app:pull,push,delete", "repository:other:pull,push,delete")}
	d.push("team/app", "1.0", f.refused)
	return f
}

// in is the same fortress, for a part of the test.
func (f *fortress) in(t *testing.T) *fortress {
	d := *f.door
	d.t = t
	return &fortress{&d, f.refused, f.bearer}
}

// raw sends a request as it is written, and reads all of the answer.
func (f *fortress) raw(t *testing.T, method, text string) reply {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	// The server may have answered and closed before it has all: the answer
	// counts.
	_, sent := io.WriteString(conn, text)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer (a panic ends the connection): %v", errors.Join(err, sent))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		t.Fatalf("HTTP %d, body cut after %d bytes: %v", res.StatusCode, len(body), err)
	}
	return reply{res.StatusCode, res.Header, body}
}

const maxAnswer = image.MaxManifestSize + 64<<10

// check holds an answer to what is true of every answer.
func (f *fortress) check(t *testing.T, method string, got reply) {
	t.Helper()
	if got.header.Get("Docker-Distribution-Api-Version") == "" && got.status == http.StatusBadRequest {
		return // net/http did not take it for a request
	}
	switch {
	case got.status >= 500:
		t.Errorf("HTTP %d %.300s", got.status, got.body)
	case got.status >= 300 && got.status < 400 && got.status != http.StatusNotModified:
		t.Errorf("sent elsewhere: HTTP %d %s", got.status, got.header.Get("Location"))
	case got.status >= 400 && method != http.MethodHead && !got.explains():
		t.Errorf("HTTP %d %s: %.300q", got.status, got.header.Get("Content-Type"), got.body)
	}
	if len(got.body) > maxAnswer {
		t.Errorf("HTTP %d with more than %d bytes", got.status, maxAnswer)
	}
	if bytes.Contains(got.body, []byte(planted)) {
		t.Errorf("HTTP %d holds bytes of the refused layer", got.status)
	}
}

// explains reports whether an error is written as the registry's specification
// wants it, or as the token service's (RFC 6749, section 5.2) does.
func (r reply) explains() bool {
	var oauth struct{ Error string }
	return r.header.Get("Content-Type") == "application/json" && (r.code() != "" || json.Unmarshal(r.body, &oauth) == nil && oauth.Error != "")
}

// FuzzRequest: whatever is asked, the answer is one that a registry gives, and
// holds nothing of a refused image. Header lines end with a line feed; "push"
// stands for credentials that may push.
func FuzzRequest(f *testing.F) {
	fort := newFortress(f)
	layer, manifest := fort.refused.Layers[0].Descriptor().Digest.String(), fort.refused.Digest().String()
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "CONNECT", "get"} {
		for _, target := range []string{
			"/", "/v2/", "/v2", "/v2/_catalog?n=-1&last=%00", "/auth/token?scope=repository:a:pull&scope=%zz", "/v2/team/app/manifests/1.0", "/v2/team/app/blobs/" + layer,
		} {
			f.Add(method, target, "", []byte(nil))
		}
	}
	for _, target := range []string{
		"/v2/team/app/blobs/" + manifest, "/v2/team/app/manifests/" + layer, "/v2/team/app/manifests/" + manifest + "?ns=docker.io", "/v2/team/app/referrers/" + manifest,
		"/v2/team%2fapp/manifests/1.0", "/v2/team/../team/app/manifests/1.0", "//v2/team/app/manifests/1.0", "/v2/team/app/tags/list?n=99999999999999999999", "*",
		"http://other.example/v2/team/app/manifests/1.0", "/v2/team/app/blobs/uploads/", "/v2/team/app/blobs/uploads/?mount=" + layer + "&from=team/app",
		"/v2/other/blobs/uploads/?mount=" + layer + "&from=team/app", "/v2/team/app/blobs/uploads/x?digest=" + layer, "/v2/" + strings.Repeat("a/", 3000) + "manifests/1",
	} {
		f.Add("GET", target, "Authorization: push\nRange: bytes=0-99", []byte(nil))
		f.Add("POST", target, "Authorization: push\nContent-Range: 0-3", []byte("body"))
		f.Add("PUT", target, "Authorization: push\nContent-Type: "+image.MediaTypeManifest, fort.refused.Manifest)
	}
	for _, header := range []string{
		"If-None-Match: *", "Range: bytes=-1,0-,5-2", "Authorization: Bearer a.b.c", "Authorization: Basic Og==", "Authorization: Bearer", "Accept: " + strings.Repeat("x,", 2000),
		"Expect: 100-continue", "X-Forwarded-For: 127.0.0.1", "Origin: null", "Content-Encoding: gzip", "Cookie: a=b\nCookie: a=b",
	} {
		f.Add("GET", "/v2/team/app/blobs/"+layer, header, []byte(nil))
		f.Add("HEAD", "/v2/team/app/manifests/1.0", header, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte) {
		if strings.ContainsAny(method+target, " \r\n") || strings.Contains(headers, "\r") || method == "" || target == "" || bytes.Contains(body, []byte(planted[:4])) {
			t.Skip()
		}
		var text strings.Builder
		fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n", method, target)
		for line := range strings.SplitSeq(headers, "\n") {
			name, value, ok := strings.Cut(line, ":")
			if lower := strings.ToLower(strings.TrimSpace(name)); !ok || lower == "host" || lower == "content-length" || lower == "transfer-encoding" || lower == "connection" || lower == "upgrade" {
				continue // they are net/http's
			}
			if value = strings.TrimSpace(value); value == "push" {
				value = fort.bearer
			}
			fmt.Fprintf(&text, "%s: %s\r\n", name, value)
		}
		fmt.Fprintf(&text, "Content-Length: %d\r\n\r\n%s", len(body), body)
		fort.check(t, method, fort.raw(t, method, text.String()))
	})
}

// FuzzManifestPut: a manifest is taken as it is, or refused with a reason; what
// was taken is served as it was sent, or refused.
func FuzzManifestPut(f *testing.F) {
	fort := newFortress(f)
	good := imagetest.Clean()
	if err := fort.pusher("team/app").PushBlobs(f.Context(), "team/app", good); err != nil {
		f.Fatal(err)
	}
	f.Add(image.MediaTypeManifest, good.Manifest)
	f.Add(image.MediaTypeManifest, fort.refused.Manifest)
	f.Add(image.MediaTypeIndex, imagetest.BuildIndex(good, fort.refused).Raw)
	f.Add("", good.Manifest)
	f.Add("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[]}`))
	for _, body := range hostileManifests(good, fort.refused) {
		if len(body) <= 64<<10 { // the large ones are TestHostileManifests'
			f.Add(image.MediaTypeManifest, []byte(body))
			f.Add(image.MediaTypeIndex, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		if strings.ContainsFunc(mediaType, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Skip()
		}
		fort.in(t).putManifest(t, mediaType, body)
	})
}

// late is when even a manifest of ten thousand entries must have been answered
// for, on a machine that does ten other things with the race detector on.
const late = 2 * time.Minute

// putManifest sends a manifest and holds what comes of it to what must be true.
func (f *fortress) putManifest(t *testing.T, mediaType string, body []byte) reply {
	t.Helper()
	path := "/v2/team/app/manifests/" + digest.FromBytes(body).String()
	begun := time.Now()
	got := f.call("PUT", path, body, "Authorization", f.bearer, "Content-Type", mediaType)
	f.check(t, "PUT", got)
	back := f.call("GET", path, nil, "Authorization", f.bearer)
	f.check(t, "GET", back)
	if back.status == http.StatusOK && !bytes.Equal(back.body, body) {
		t.Errorf("served otherwise than it was sent: %d bytes of %d", len(back.body), len(body))
	}
	if got.status == http.StatusCreated && back.status != http.StatusOK && back.status != http.StatusForbidden {
		t.Errorf("taken, and then HTTP %d %s", back.status, back.body)
	}
	if back.status == http.StatusOK && bytes.Contains(body, []byte(f.refused.Layers[0].Descriptor().Digest)) {
		f.check(t, "GET", f.call("GET", "/v2/team/app/blobs/"+f.refused.Layers[0].Descriptor().Digest.String(), nil, "Authorization", f.bearer))
	}
	if took := time.Since(begun); took > late {
		t.Errorf("took %s", took)
	}
	return got
}

// hostileManifests are documents that cost much, or mean two things. Those with
// an exclamation mark are to be refused whatever they are called.
func hostileManifests(good, refused imagetest.Image) map[string]string {
	layer := mustText(good.Layers[0].Descriptor())
	bad := mustText(refused.Layers[0].Descriptor())
	child := mustText(good.Descriptor())
	text := string(good.Manifest)
	config := mustText(image.Descriptor{MediaType: image.MediaTypeConfig, Digest: good.ID(), Size: int64(len(good.Config))})
	layers := func(n int, each string) string {
		return `{"schemaVersion":2,"mediaType":"` + image.MediaTypeManifest + `","config":` + config + `,"layers":[` + strings.TrimSuffix(strings.Repeat(each+",", n), ",") + `]}`
	}
	children := func(n int) string {
		return `{"schemaVersion":2,"mediaType":"` + image.MediaTypeIndex + `","manifests":[` + strings.TrimSuffix(strings.Repeat(child+",", n), ",") + `]}`
	}
	return map[string]string{
		"as large as may be":       strings.TrimSuffix(text, "}") + strings.Repeat(" ", image.MaxManifestSize-len(text)) + "}",
		"!larger":                  text + strings.Repeat(" ", image.MaxManifestSize),
		"as many layers as may be": layers(9999, layer), "!more": layers(10_001, layer),
		"as many children as may be": children(10_000), "!more children": children(10_001),
		"!nested arrays":           strings.Repeat("[", 1<<20),
		"!nested objects":          strings.Repeat(`{"a":`, 1<<18) + "1" + strings.Repeat("}", 1<<18),
		"!nested annotations":      strings.Replace(text, `{`, `{"annotations":`+strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100)+",", 1),
		"the refused layer":        layers(1, bad),
		"no layer":                 layers(0, layer),
		"!a key twice":             strings.Replace(text, `"layers":`, `"layers":[],"layers":`, 1),
		"!a key in capitals":       strings.Replace(text, `"layers":`, `"LAYERS":[],"layers":`, 1),
		"!sizes below zero":        strings.ReplaceAll(text, `"size":`, `"size":-`),
		"!a size beyond numbers":   strings.Replace(text, `"size":`, `"size":99999999999999999999`, 1),
		"a subject of its own":     strings.Replace(text, `{`, `{"subject":`+bad+",", 1),
		"!null":                    "null",
		"!nothing":                 "",
		"!a byte order mark":       "\xef\xbb\xbf" + text,
		"!two documents":           text + text,
		"not UTF-8":                strings.Replace(text, `"layers"`, "\"la\xffyers\"", 1),
		"an escape for a letter":   strings.Replace(text, `"layers"`, `"l\u0061yers"`, 1),
		"!a number for a document": "1e999999999",
	}
}

func mustText(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// FuzzUpload runs a program of requests on one upload after the other and holds
// it against a model: an upload is its bytes so far, or gone.
func FuzzUpload(f *testing.F) {
	fort := newFortress(f)
	for _, program := range []string{"", "p", "pq", "ppsf", "pPpsF", "wpspf", "pxs", "ff", "xx", "pfs", "pFpf", "Wswpf", "ppppppppf", "fpfpf", "gpsgf"} {
		f.Add([]byte(program))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		u := &uploader{fortress: fort.in(t)}
		for i, op := range program[:min(len(program), 40)] {
			if u.at == "" {
				u.begin(t)
			}
			u.step(t, op, i)
			if t.Failed() {
				t.Fatalf("at step %d of %q", i, program)
			}
		}
	})
}

// uploader is the model of one upload.
type uploader struct {
	*fortress
	at      string // its address; "" before it has begun
	content []byte
}

func (u *uploader) begin(t *testing.T) {
	t.Helper()
	got := u.call("POST", "/v2/other/blobs/uploads/", nil, "Authorization", u.bearer)
	if got.status != http.StatusAccepted {
		t.Fatalf("POST: HTTP %d %s", got.status, got.body)
	}
	u.at, u.content = got.header.Get("Location"), nil
	u.place(t, got)
}

// place compares where an answer says that the upload is.
func (u *uploader) place(t *testing.T, got reply) {
	t.Helper()
	if want := fmt.Sprintf("0-%d", max(len(u.content)-1, 0)); got.header.Get("Range") != want {
		t.Errorf("HTTP %d: Range %q, want %q", got.status, got.header.Get("Range"), want)
	}
}

func (u *uploader) step(t *testing.T, op byte, i int) {
	t.Helper()
	part := bytes.Repeat([]byte{op, byte(i)}, int(op)*7)
	span := func(from int) string { return fmt.Sprintf("%d-%d", from, from+len(part)-1) }
	switch op {
	case 'p': // the next bytes
		u.patch(t, part, 202, "Content-Range", span(len(u.content)))
	case 'q': // the same without saying where
		u.patch(t, part, 202)
	case 'P': // too far on
		u.patch(t, part, 416, "Content-Range", span(len(u.content)+1))
	case 'w': // behind, or backwards
		u.patch(t, part, 416, "Content-Range", fmt.Sprintf("%d-%d", len(u.content)+9, len(u.content)))
	case 'W': // nonsense
		u.patch(t, part, 416, "Content-Range", "bytes */*")
	case 'g': // nothing
		u.patch(t, nil, 202)
	case 'f': // the end
		u.finish(t, part[:min(len(part), int(op)%5)])
	case 'F': // the end, with another digest
		u.misfinish(t)
	case 'x': // given up
		if got := u.call("DELETE", u.at, nil, "Authorization", u.bearer); got.status != http.StatusNoContent {
			t.Errorf("DELETE: HTTP %d %s", got.status, got.body)
		}
		u.gone(t)
	default: // where is it?
		got := u.call("GET", u.at, nil, "Authorization", u.bearer)
		if got.status != http.StatusNoContent {
			t.Errorf("GET: HTTP %d %s", got.status, got.body)
		}
		u.place(t, got)
	}
}

func (u *uploader) patch(t *testing.T, part []byte, want int, headers ...string) {
	t.Helper()
	got := u.call("PATCH", u.at, part, append([]string{"Authorization", u.bearer}, headers...)...)
	if got.status != want {
		t.Errorf("PATCH %v: HTTP %d %s, want %d", headers, got.status, got.body, want)
	}
	if got.status == http.StatusAccepted {
		u.content = append(u.content, part...)
	}
	u.place(t, got)
}

func (u *uploader) finish(t *testing.T, last []byte) {
	t.Helper()
	u.content = append(u.content, last...)
	d := digest.FromBytes(u.content).String()
	got := u.call("PUT", u.at+"?digest="+d, last, "Authorization", u.bearer)
	if got.status != http.StatusCreated || got.header.Get("Docker-Content-Digest") != d {
		t.Errorf("PUT: HTTP %d %s", got.status, got.body)
	}
	if got := u.call("GET", "/v2/other/blobs/"+d, nil, "Authorization", u.bearer); got.status != http.StatusOK || !bytes.Equal(got.body, u.content) {
		t.Errorf("read back: HTTP %d, %d bytes of %d", got.status, len(got.body), len(u.content))
	}
	u.gone(t)
}

func (u *uploader) misfinish(t *testing.T) {
	t.Helper()
	d := digest.FromBytes(append([]byte("other"), u.content...)).String()
	if got := u.call("PUT", u.at+"?digest="+d, nil, "Authorization", u.bearer); got.status != http.StatusBadRequest || got.code() != "DIGEST_INVALID" {
		t.Errorf("PUT with another digest: HTTP %d %s", got.status, got.body)
	}
	if got := u.call("HEAD", "/v2/other/blobs/"+d, nil, "Authorization", u.bearer); got.status != http.StatusNotFound {
		t.Errorf("and it is there: HTTP %d", got.status)
	}
	u.gone(t)
}

// gone: the upload has ended, for every request.
func (u *uploader) gone(t *testing.T) {
	t.Helper()
	for _, method := range []string{"GET", "PATCH", "PUT", "DELETE"} {
		if got := u.call(method, u.at+"?digest="+digest.FromString("").String(), nil, "Authorization", u.bearer); got.status != http.StatusNotFound || got.code() != "BLOB_UPLOAD_UNKNOWN" {
			t.Errorf("%s of an upload that has ended: HTTP %d %s", method, got.status, got.body)
		}
	}
	u.at = ""
}
