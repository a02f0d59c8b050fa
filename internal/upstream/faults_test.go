package upstream_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/registrytest"
	"github.com/pratique/pratique/internal/upstream"
)

// fake starts a registry that answers as h does.
func fake(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

var (
	content = registrytest.Noise(1, 100_000)
	blob    = digest.FromBytes(content)
)

func TestBlobThatIsNotWhatItShouldBe(t *testing.T) {
	wrong := bytes.Clone(content)
	wrong[99_999] ^= 1
	cases := []struct {
		name  string
		serve http.HandlerFunc
		want  error
	}{
		{"connection ends early", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(content[:50_000])
		}, io.ErrUnexpectedEOF},
		{"chunked and short", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.Header().Set("Content-Length", "100000")
				return
			}
			_, _ = w.Write(content[:50_000])
			w.(http.Flusher).Flush()
		}, io.ErrUnexpectedEOF},
		{"last byte differs", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(wrong)
		}, image.ErrDigestInvalid},
		{"shorter blob, complete", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write(content[:10])
		}, image.ErrDigestInvalid},
		{"empty answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "0")
		}, image.ErrDigestInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := connect(t, upstream.Config{Name: "test", URL: fake(t, c.serve)})
			body, total, err := r.Blob(t.Context(), "a", blob, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			got, err := io.ReadAll(body)
			if !errors.Is(err, c.want) {
				t.Errorf("read: %v, want %v", err, c.want)
			}
			if total > 0 && int64(len(got)) >= total {
				t.Errorf("%d bytes were handed out of a wrong blob of %d", len(got), total)
			}
		})
	}
}

func TestRangeIgnoredByRegistry(t *testing.T) {
	r := connect(t, upstream.Config{Name: "test", URL: fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(content)
	})})
	body, total, err := r.Blob(t.Context(), "a", blob, 70_000, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || total != 100_000 || !bytes.Equal(got, content[70_000:70_010]) {
		t.Errorf("got %d bytes of %d, %v", len(got), total, err)
	}
}

func TestStalledBodyEnds(t *testing.T) {
	r := connect(t, upstream.Config{Name: "test", IdleTimeout: 50 * time.Millisecond, URL: fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(content[:10])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})})
	body, _, err := r.Blob(t.Context(), "a", blob, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadAll(body); err == nil || !strings.Contains(err.Error(), "stalled") {
		t.Errorf("read of a body that stands still: %v", err)
	}
}

func TestAnswersBecomeErrors(t *testing.T) {
	cases := []struct {
		name   string
		status int
		header http.Header
		body   string
		want   error // a sentinel, or else:
		answer image.UpstreamError
	}{
		{name: "limit", status: 429, header: http.Header{"Retry-After": {"17"}}, body: `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`,
			answer: image.UpstreamError{Status: 429, Code: "TOOMANYREQUESTS", Message: "slow down", RetryAfter: 17 * time.Second}},
		{name: "limit, Docker Hub's way", status: 429, body: `{"message":"too many\u0000\nrequests"}`,
			answer: image.UpstreamError{Status: 429, Message: "too many  requests"}},
		{name: "refused", status: 403, body: `{"errors":[{"code":"DENIED","message":"no"}]}`,
			answer: image.UpstreamError{Status: 403, Code: "DENIED", Message: "no"}},
		{name: "refused as unknown", status: 403, body: `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}`,
			answer: image.UpstreamError{Status: 403, Code: "MANIFEST_UNKNOWN", Message: "no"}},
		{name: "failure in HTML", status: 500, body: `<html>secret internals</html>`, answer: image.UpstreamError{Status: 500}},
		{name: "unauthorised without challenge", status: 401, answer: image.UpstreamError{Status: 401}},
		{name: "bare 404", status: 404, body: "404 page not found", want: image.ErrManifestUnknown},
		{name: "unknown name", status: 404, body: `{"errors":[{"code":"NAME_UNKNOWN"}]}`, want: image.ErrNameUnknown},
		{name: "unsupported", status: 405, body: `{"errors":[{"code":"UNSUPPORTED"}]}`, want: image.ErrUnsupported},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := connect(t, upstream.Config{Name: "test", URL: fake(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					return
				}
				for k := range c.header {
					w.Header().Set(k, c.header.Get(k))
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})})
			_, _, err := r.Manifest(t.Context(), "a", "latest")
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Errorf("error = %v, want %v", err, c.want)
				}
				return
			}
			c.answer.Registry = "test"
			var got *image.UpstreamError
			if !errors.As(err, &got) {
				t.Fatalf("error = %v, want an answer", err)
			}
			if diff := cmp.Diff(&c.answer, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			for _, absent := range []error{image.ErrManifestUnknown, image.ErrNameUnknown} {
				if errors.Is(err, absent) {
					t.Errorf("%v reads as %v", err, absent)
				}
			}
		})
	}
}

func TestRetriesOnlyWhatIsSafe(t *testing.T) {
	cases := []struct {
		name string
		call func(*upstream.Registry) error
		want int64 // requests
	}{
		{"read", func(r *upstream.Registry) error { _, err := r.Resolve(context.Background(), "a", "b"); return err }, 3},
		{"start of an upload", func(r *upstream.Registry) error { _, err := r.StartUpload(context.Background(), "a"); return err }, 1},
		{"deletion", func(r *upstream.Registry) error { return r.DeleteBlob(context.Background(), "a", blob) }, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var count atomic.Int64
			r := connect(t, upstream.Config{Name: "test", URL: fake(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" {
					count.Add(1)
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})})
			if err := c.call(r); err == nil {
				t.Error("no error")
			}
			if got := count.Load(); got != c.want {
				t.Errorf("%d requests, want %d", got, c.want)
			}
		})
	}
}

// A registry that refuses a stream half way gets neither the rest nor the stream
// again; the next upload has a new token.
func TestUnauthorisedInMidStream(t *testing.T) {
	var patches, tokens atomic.Int64
	var url string
	url = fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"token":"t%d","expires_in":300}`, tokens.Add(1))
			return
		case r.Header.Get("Authorization") == "":
		case r.Method == http.MethodPost:
			w.Header().Set("Location", "/v2/a/blobs/uploads/1?_state=opaque")
			w.WriteHeader(http.StatusAccepted)
			return
		case r.Method == http.MethodPatch:
			patches.Add(1)
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
			if r.Header.Get("Authorization") != "Bearer t1" {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusCreated) // as ECR does
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+url+`/token",service="s"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	r := connect(t, upstream.Config{Name: "test", URL: url})
	state, err := r.StartUpload(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	var answer *image.UpstreamError
	_, written, err := r.AppendUpload(t.Context(), "a", state, 0, bytes.NewReader(content))
	if !errors.As(err, &answer) || answer.Status != 401 || written != 0 {
		t.Errorf("append: wrote %d, %v", written, err)
	}
	if patches.Load() != 1 {
		t.Errorf("the stream was sent %d times", patches.Load())
	}
	if strings.Contains(fmt.Sprint(err), "opaque") {
		t.Errorf("error has the state: %v", err)
	}
	if _, written, err = r.AppendUpload(t.Context(), "a", state, 0, bytes.NewReader(content)); err != nil || written != 100_000 {
		t.Errorf("append with a new token: wrote %d, %v", written, err)
	}
}

// A token about to end is renewed before a stream, not for other requests.
func TestTokenRenewedBeforeStream(t *testing.T) {
	var tokens atomic.Int64
	var url string
	url = fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"access_token":"t%d","expires_in":30}`, tokens.Add(1))
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+url+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		default:
			w.Header().Set("Location", "/v2/a/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		}
	})
	r := connect(t, upstream.Config{Name: "test", URL: url})
	var state string
	var err error
	for range 2 {
		if state, err = r.StartUpload(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if tokens.Load() != 1 {
		t.Errorf("%d tokens for two requests, want 1", tokens.Load())
	}
	if err := r.CommitUpload(t.Context(), "a", state, 0, blob, bytes.NewReader(content), 100_000); err != nil {
		t.Fatal(err)
	}
	if tokens.Load() != 2 {
		t.Errorf("%d tokens after a stream, want 2", tokens.Load())
	}
}

// Writes that succeeded although their answer was lost are not reported as
// failed; writes that were lost are.
func TestLostAnswers(t *testing.T) {
	raw := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprintf("stored=%t", stored), func(t *testing.T) {
			r := connect(t, upstream.Config{Name: "test", URL: fake(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					w.Header().Set("Location", "/v2/a/blobs/uploads/1")
					w.WriteHeader(http.StatusAccepted)
				case r.Method == http.MethodPut:
					_, _ = io.Copy(io.Discard, r.Body)
					panic(http.ErrAbortHandler)
				case r.Method == http.MethodHead && !stored:
					w.WriteHeader(http.StatusNotFound)
				case r.Method == http.MethodHead:
					w.Header().Set("Docker-Content-Digest", digest.FromBytes(raw).String())
				}
			})})
			state, err := r.StartUpload(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			err = r.CommitUpload(t.Context(), "a", state, 0, blob, bytes.NewReader(content), -1)
			if (err == nil) != stored {
				t.Errorf("commit: %v", err)
			}
			err = r.PutManifest(t.Context(), "a", "latest", image.MediaTypeIndex, raw)
			if (err == nil) != stored {
				t.Errorf("put manifest: %v", err)
			}
		})
	}
}

func TestResolveWithoutDigestHeader(t *testing.T) {
	raw := []byte(`{"schemaVersion":2,"manifests":[]}`)
	for _, headStatus := range []int{200, 405} {
		r := connect(t, upstream.Config{Name: "test", URL: fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(headStatus)
				return
			}
			for _, mt := range image.ManifestTypes {
				if !strings.Contains(r.Header.Get("Accept"), mt) && strings.Contains(r.URL.Path, "manifests") {
					t.Errorf("Accept lacks %s", mt)
				}
			}
			_, _ = w.Write(raw)
		})})
		d, err := r.Resolve(t.Context(), "a", "latest")
		if err != nil || d != digest.FromBytes(raw) {
			t.Errorf("HEAD %d: %s, %v", headStatus, d, err)
		}
	}
}

func TestManifestThatIsNotWhatItShouldBe(t *testing.T) {
	r := connect(t, upstream.Config{Name: "test", URL: fake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/huge") {
			_, _ = w.Write(make([]byte, image.MaxManifestSize+1))
			return
		}
		_, _ = w.Write([]byte(`{}`))
	})})
	if _, _, err := r.Manifest(t.Context(), "a", blob.String()); !errors.Is(err, image.ErrDigestInvalid) {
		t.Errorf("wrong bytes for a digest: %v", err)
	}
	if _, _, err := r.Manifest(t.Context(), "a", "huge"); err == nil {
		t.Error("a manifest over the limit was read")
	}
}

func TestReferrers(t *testing.T) {
	subject := digest.FromString("subject")
	entry := func(s string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1,"artifactType":"a/b"}`, image.MediaTypeManifest, digest.FromString(s))
	}
	index := func(entries ...string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, image.MediaTypeIndex, strings.Join(entries, ","))
	}
	cases := []struct {
		name  string
		serve http.HandlerFunc
		want  []digest.Digest
	}{
		{"in two pages", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("page") == "" {
				w.Header().Set("Link", `<https://elsewhere.example/x?page=2>; rel="next"`)
				fmt.Fprint(w, index(entry("1")))
				return
			}
			fmt.Fprint(w, index(entry("2")))
		}, []digest.Digest{digest.FromString("1"), digest.FromString("2")}},
		{"by tag", func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/manifests/sha256-"+subject.Encoded()) {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", image.MediaTypeIndex)
			fmt.Fprint(w, index(entry("3")))
		}, []digest.Digest{digest.FromString("3")}},
		{"none", http.NotFound, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := connect(t, upstream.Config{Name: "test", URL: fake(t, c.serve)})
			list, err := r.Referrers(t.Context(), "a", subject)
			if err != nil {
				t.Fatal(err)
			}
			var got []digest.Digest
			for _, d := range list {
				got = append(got, d.Digest)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("referrers (-want +got):\n%s", diff)
			}
		})
	}
}

// A registry that lets anyone ping asks for the password when something is
// written; it is asked before the stream.
func TestWriteNeedsPasswordPingDoesNot(t *testing.T) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	url := fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
		case r.Header.Get("Authorization") != want:
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodPost:
			w.Header().Set("Location", "/v2/a/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}
	})
	cfg := upstream.Config{Name: "test", URL: url, Credentials: upstream.Credentials{Type: "basic", Username: "u", Password: "p"}}
	state, err := connect(t, cfg).StartUpload(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other := connect(t, cfg) // another replica, which has not seen the challenge
	if err := other.CommitUpload(t.Context(), "a", state, 0, blob, bytes.NewReader(content), -1); err != nil {
		t.Error(err)
	}
}
