package proxy_test

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// TestHostileManifests sends what is as large, as wide or as deep as a client
// can make it, and what means two things.
func TestHostileManifests(t *testing.T) {
	f := newFortress(t)
	good := imagetest.Clean()
	if err := f.pusher("team/app").PushBlobs(t.Context(), "team/app", good); err != nil {
		t.Fatal(err)
	}
	for name, body := range hostileManifests(good, f.refused) {
		for _, mediaType := range []string{image.MediaTypeManifest, image.MediaTypeIndex} {
			t.Run(name+" as "+mediaType, func(t *testing.T) {
				got := f.in(t).putManifest(t, mediaType, []byte(body))
				if strings.HasPrefix(name, "!") && (got.status != http.StatusBadRequest && got.status != http.StatusRequestEntityTooLarge || got.code() != "MANIFEST_INVALID") {
					t.Errorf("HTTP %d %s", got.status, got.body)
				}
			})
		}
	}
}

// TestHostileTokenRequests: the token service reads so much and no more.
func TestHostileTokenRequests(t *testing.T) {
	f := newFortress(t)
	many := func(n int, scope string) string { return url.Values{"scope": repeated(scope, n)}.Encode() }
	for _, tt := range []struct{ name, method, target, contentType, body string }{
		{"ten thousand scopes", "GET", "/auth/token?" + many(10_000, "repository:team/app:pull,push"), "", ""},
		{"ten thousand scopes in one", "GET", "/auth/token?" + url.Values{"scope": {strings.Repeat("repository:team/app:pull ", 10_000)}}.Encode(), "", ""},
		{"ten thousand actions", "GET", "/auth/token?" + url.Values{"scope": {"repository:team/app:" + strings.Repeat("pull,", 10_000)}}.Encode(), "", ""},
		{"a long name", "GET", "/auth/token?" + many(1, "repository:"+strings.Repeat("a", 200_000)+":pull"), "", ""},
		{"ten thousand scopes posted", "POST", "/auth/token", "application/x-www-form-urlencoded", many(10_000, "repository:team/app:pull") + "&grant_type=password"},
		{"eight megabytes posted", "POST", "/auth/token", "application/x-www-form-urlencoded", "grant_type=password&username=" + strings.Repeat("u", 8<<20)},
		{"a long service", "GET", "/auth/token?service=" + strings.Repeat("s", 200_000), "", ""},
		{"a long query of a pull", "GET", "/v2/team/app/manifests/1.0?" + strings.Repeat("a=b&", 50_000), "", ""},
		{"a long namespace", "GET", "/v2/team/app/manifests/1.0?ns=" + strings.Repeat("n", 200_000), "", ""},
		{"a long reference", "GET", "/v2/team/app/manifests/" + strings.Repeat("1", 200_000), "", ""},
		{"a long digest", "GET", "/v2/team/app/blobs/sha256:" + strings.Repeat("1", 200_000), "", ""},
		{"a long mount", "POST", "/v2/team/app/blobs/uploads/?mount=sha256:" + strings.Repeat("1", 100_000) + "&from=" + strings.Repeat("f", 100_000), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := f.raw(t, tt.method, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", tt.method, tt.target, tt.contentType, len(tt.body), tt.body))
			f.check(t, tt.method, got)
			if n := len(got.body); n > 64<<10 {
				t.Errorf("HTTP %d with %d bytes", got.status, n)
			}
			for name, values := range got.header {
				if n := len(strings.Join(values, "")); n > 8<<10 {
					t.Errorf("HTTP %d with %s of %d bytes", got.status, name, n)
				}
			}
		})
	}
}

func repeated(s string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

const uploadsInAll, uploadsPerRepository = 1000, 200

// TestThousandsOfUploads: they are bounded, for one repository and for all, by
// dropping the oldest; and cost nothing when they are gone.
func TestThousandsOfUploads(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand uploads")
	}
	const repositories, each = 6, uploadsPerRepository + 2
	d := open(t, gatetest.Options{})
	var scopes []string
	for r := range repositories {
		scopes = append(scopes, fmt.Sprintf("repository:app%d:pull,push", r))
	}
	bearer := "Bearer " + d.token(scopes...)
	// What is made once for all, the rules for credentials among it, is there.
	d.push("warm", "1", imagetest.Build())
	goroutines, memory := runtime.NumGoroutine(), heap()
	var opened []string
	for r := range repositories {
		for range each {
			got := d.call("POST", fmt.Sprintf("/v2/app%d/blobs/uploads/", r), nil, "Authorization", bearer)
			if got.status != http.StatusAccepted {
				t.Fatalf("HTTP %d %s", got.status, got.body)
			}
			opened = append(opened, got.header.Get("Location"))
		}
	}
	// Twice what was measured: an analysis begins with the first byte.
	if grown := heap() - memory; grown > uploadsInAll*2<<10 {
		t.Errorf("%d bytes for each upload", grown/uploadsInAll)
	}
	if grown := runtime.NumGoroutine() - goroutines; grown > uploadsInAll/10 {
		t.Errorf("%d goroutines", grown)
	}
	alive := 0
	for i, at := range opened {
		status := d.call("DELETE", at, nil, "Authorization", bearer).status
		if status == http.StatusNoContent {
			alive++
		}
		// The last repository took the place of the first.
		if old := i < each || i%each < each-uploadsPerRepository; old != (status == http.StatusNotFound) {
			t.Errorf("upload %d of repository %d: HTTP %d", i%each, i/each, status)
		}
	}
	if alive != uploadsInAll {
		t.Errorf("%d uploads were open", alive)
	}
	if got := d.call("POST", "/v2/app5/blobs/uploads/", nil, "Authorization", bearer); got.status != http.StatusAccepted {
		t.Errorf("when they are gone: HTTP %d %s", got.status, got.body)
	}
	if grown := heap() - memory; grown > 16<<20 {
		t.Errorf("%d bytes are left", grown)
	}
}

// TestUploadsOfOneUserLeaveRoom: somebody who opens more than there is place for
// loses his own, and nobody else does, though theirs are older.
func TestUploadsOfOneUserLeaveRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand uploads")
	}
	c := openWorld(t, worldOptions{registry: embedded}).crossing(t, "uploads")
	begin := func(p person, name, token string) string {
		got := c.answer(p, "POST", "/v2/"+name+"/blobs/uploads/", nil, "Authorization", token)
		if got.status != http.StatusAccepted {
			t.Fatalf("%s: HTTP %d %s", p, got.status, got.body)
		}
		return got.header.Get("Location")
	}
	before := begin(owner, c.repo, c.token(owner))
	var first string
	for i := range uploadsInAll/uploadsPerRepository + 1 {
		name := fmt.Sprintf("t/taken%d", i)
		token := c.only(pirate, name)
		for range uploadsPerRepository {
			if at := begin(pirate, name, token); first == "" {
				first = at
			}
		}
	}
	after := begin(owner, c.repo, c.token(owner))
	for _, at := range []string{before, after} {
		if got := c.answer(owner, "GET", at, nil); got.status != http.StatusNoContent {
			t.Errorf("somebody else's: HTTP %d %s", got.status, got.body)
		}
	}
	if got := c.answer(pirate, "GET", first, nil, "Authorization", c.only(pirate, "t/taken0")); got.status != http.StatusNotFound {
		t.Errorf("the oldest of the user with the most: HTTP %d", got.status)
	}
}

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
