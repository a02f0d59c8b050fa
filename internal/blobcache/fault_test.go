package blobcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/blobcache"
	"github.com/pratique/pratique/internal/registrytest"
)

const large = 4 << 20 // bytes of a blob that takes several reads

// cut ends the connection of an answer without ceremony, as a crash does.
func cut(w http.ResponseWriter) {
	w.(http.Flusher).Flush()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// partly answers with a length and the first bytes of content.
func partly(w http.ResponseWriter, length int, content []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(length))
	_, _ = w.Write(content)
	w.(http.Flusher).Flush()
}

// Whatever is wrong with an answer, no reader gets a body that looks complete,
// nothing is kept, and the next pull is served from a good answer.
func TestWrongAnswersAreNeverKept(t *testing.T) {
	content := registrytest.Noise(1, large)
	wrong := bytes.Clone(content)
	wrong[large-1] ^= 1
	cases := []struct {
		name   string
		answer http.HandlerFunc
		want   error // nil: any
	}{
		{"connection reset half way", func(w http.ResponseWriter, _ *http.Request) {
			partly(w, large, content[:large/2])
			cut(w)
		}, nil},
		{"ends early", func(w http.ResponseWriter, _ *http.Request) { partly(w, large, content[:large/2]) }, io.ErrUnexpectedEOF},
		{"last byte differs", func(w http.ResponseWriter, _ *http.Request) { partly(w, large, wrong) }, image.ErrDigestInvalid},
		{"says less than there is", func(w http.ResponseWriter, _ *http.Request) { partly(w, large/2, content[:large/2]) }, image.ErrDigestInvalid},
		{"says more than there is", func(w http.ResponseWriter, _ *http.Request) { partly(w, large+1, content) }, io.ErrUnexpectedEOF},
		{"says nothing is there", func(w http.ResponseWriter, _ *http.Request) { partly(w, 0, nil) }, image.ErrDigestInvalid},
		{"stands still", func(w http.ResponseWriter, r *http.Request) {
			partly(w, large, content[:large/2])
			<-r.Context().Done()
		}, nil},
		{"server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, nil},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			goroutines(t)
			o, dir := startOrigin(t), t.TempDir()
			c := open(t, dir, 1<<30)
			r := through(t, c, o)
			d := o.put("app", content)
			o.misbehave(k.answer)
			var readers sync.WaitGroup
			for range 4 {
				readers.Go(func() {
					got, err := pull(t.Context(), r, "app", d)
					if err == nil || k.want != nil && !errors.Is(err, k.want) {
						t.Errorf("%d bytes, %v; want %v", len(got), err, k.want)
					}
					if len(got) >= large && !bytes.Equal(got, content) {
						t.Errorf("%d bytes of a wrong blob of %d", len(got), large)
					}
				})
			}
			readers.Wait()
			settled(t, c)
			await(t, "the rest to be removed", func() bool { return onDisk(t, dir) == 0 })
			if s := c.Stats(); s.Blobs != 0 || s.Bytes != 0 {
				t.Errorf("something was kept: %+v", s)
			}
			o.misbehave(nil)
			if got, err := pull(t.Context(), r, "app", d); err != nil || !bytes.Equal(got, content) {
				t.Errorf("a good answer later: %d bytes, %v", len(got), err)
			}
		})
	}
}

// Many readers of a slow registry share one request; those that leave, and one
// that reads nothing, hold nobody up.
func TestManyReadersOfASlowRegistry(t *testing.T) {
	goroutines(t)
	o := startOrigin(t)
	c := open(t, t.TempDir(), 1<<30)
	r := through(t, c, o)
	content := registrytest.Noise(1, large)
	d := o.put("app", content)
	o.misbehave(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(large))
		for rest := content; len(rest) > 0; rest = rest[min(len(rest), large/32):] {
			_, _ = w.Write(rest[:min(len(rest), large/32)])
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	idle, _, err := r.Blob(t.Context(), "app", d, 0, -1) // reads only in the end
	must(t, err)
	var readers sync.WaitGroup
	for i := range 20 {
		readers.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%4 == 0 { // leaves half way
				time.AfterFunc(20*time.Millisecond, cancel)
				_, _ = pull(ctx, r, "app", d)
				return
			}
			body, _, err := r.Blob(ctx, "app", d, 0, -1)
			if err != nil {
				t.Error(err)
				return
			}
			defer body.Close()
			var got bytes.Buffer
			if i%2 == 0 {
				_, err = io.Copy(&got, body)
			} else {
				_, err = io.Copy(&got, struct{ io.Reader }{body}) // without WriteTo
			}
			if err != nil || !bytes.Equal(got.Bytes(), content) {
				t.Errorf("reader %d: %d bytes, %v", i, got.Len(), err)
			}
		})
	}
	readers.Wait()
	settled(t, c)
	if got, err := io.ReadAll(idle); err != nil || !bytes.Equal(got, content) {
		t.Errorf("late reader: %d bytes, %v", len(got), err)
	}
	must(t, idle.Close())
	if o.count("GET") != 1 {
		t.Errorf("%d GETs, want 1", o.count("GET"))
	}
}

// A reader that leaves, before the answer or in the middle of it, neither ends
// nor spoils what others and later ones get.
func TestReaderLeaves(t *testing.T) {
	for _, when := range []string{"before the answer", "in the middle"} {
		t.Run(when, func(t *testing.T) {
			goroutines(t)
			o := startOrigin(t)
			c := open(t, t.TempDir(), 1<<30)
			r := through(t, c, o)
			content := registrytest.Noise(1, large)
			d := o.put("app", content)
			asked, goOn := make(chan struct{}, 8), make(chan struct{})
			o.misbehave(func(w http.ResponseWriter, _ *http.Request) {
				if when == "in the middle" {
					partly(w, large, content[:large/2])
				}
				asked <- struct{}{}
				<-goOn
				w.Header().Set("Content-Length", strconv.Itoa(large))
				rest := content
				if when == "in the middle" {
					rest = content[large/2:]
				}
				_, _ = w.Write(rest)
			})
			ctx, cancel := context.WithCancel(t.Context())
			begun, left := make(chan struct{}), make(chan error, 1)
			go func() {
				body, _, err := r.Blob(ctx, "app", d, 0, -1)
				close(begun)
				if err == nil {
					_, err = io.ReadAll(body)
					_ = body.Close()
				}
				left <- err
			}()
			<-asked
			if when == "in the middle" {
				<-begun // a fill that is only opening ends with its opener
			}
			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					if got, err := pull(t.Context(), r, "app", d); err != nil || !bytes.Equal(got, content) {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				})
			}
			cancel()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left: %v", err)
			}
			close(goOn)
			readers.Wait()
			settled(t, c)
			if s := c.Stats(); s.Blobs != 1 {
				t.Errorf("stats: %+v", s)
			}
			if want := map[string]int{"before the answer": 2, "in the middle": 1}[when]; o.count("GET") != want {
				t.Errorf("%d GETs, want %d", o.count("GET"), want)
			}
		})
	}
}

// The fill goes on when all readers have left.
func TestFillOutlivesItsReaders(t *testing.T) {
	o := startOrigin(t)
	c := open(t, t.TempDir(), 1<<30)
	r := through(t, c, o)
	d := o.put("app", registrytest.Noise(1, large))
	body, _, err := r.Blob(t.Context(), "app", d, 0, -1)
	must(t, err)
	must(t, body.Close())
	settled(t, c)
	if s := c.Stats(); s.Blobs != 1 || s.Fills != 1 {
		t.Errorf("stats: %+v", s)
	}
}

// brokenDisk is a file that fails.
type brokenDisk struct {
	blobcache.File
	left    int // bytes until writing fails; -1: it does not
	syncErr error
}

func (b *brokenDisk) Write(p []byte) (int, error) {
	if b.left >= 0 && len(p) > b.left {
		n, _ := b.File.Write(p[:b.left])
		b.left = 0
		return n, syscall.ENOSPC
	}
	b.left -= len(p)
	return b.File.Write(p)
}

func (b *brokenDisk) Sync() error { return errors.Join(b.syncErr, b.File.Sync()) }

// A disk that is full, or breaks, fails no pull.
func TestDiskFails(t *testing.T) {
	content := registrytest.Noise(1, large)
	cases := []struct {
		name string
		wrap func(blobcache.File) (blobcache.File, error)
	}{
		{"no file can be made", func(f blobcache.File) (blobcache.File, error) {
			return nil, errors.Join(syscall.ENOSPC, f.Close())
		}},
		{"full at once", func(f blobcache.File) (blobcache.File, error) { return &brokenDisk{f, 0, nil}, nil }},
		{"full half way", func(f blobcache.File) (blobcache.File, error) { return &brokenDisk{f, large / 2, nil}, nil }},
		{"full at the last byte", func(f blobcache.File) (blobcache.File, error) { return &brokenDisk{f, large - 1, nil}, nil }},
		{"cannot be synced", func(f blobcache.File) (blobcache.File, error) { return &brokenDisk{f, 1 << 30, syscall.EIO}, nil }},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			goroutines(t)
			o, dir := startOrigin(t), t.TempDir()
			c := open(t, dir, 1<<30)
			c.OnDisk(k.wrap)
			r := through(t, c, o)
			d := o.put("app", content)
			var readers sync.WaitGroup
			for i := range 4 {
				readers.Go(func() {
					body, _, err := r.Blob(t.Context(), "app", d, 0, -1)
					if err != nil {
						t.Error(err)
						return
					}
					defer body.Close()
					var got bytes.Buffer
					if i == 0 { // slow: still at the beginning when the disk fails
						_, err = io.CopyN(&got, body, 10)
						settled(t, c)
					}
					_, copyErr := io.Copy(&got, body)
					if err = errors.Join(err, copyErr); err != nil || !bytes.Equal(got.Bytes(), content) {
						t.Errorf("reader %d: %d bytes, %v", i, got.Len(), err)
					}
				})
			}
			readers.Wait()
			settled(t, c)
			await(t, "room to be given back", func() bool { return c.Stats().Bytes == 0 })
			asked := o.count("GET")
			if got, err := pull(t.Context(), r, "app", d); err != nil || !bytes.Equal(got, content) {
				t.Errorf("next pull: %d bytes, %v", len(got), err)
			}
			if o.count("GET") != asked+1 || c.Stats().Blobs != 0 {
				t.Errorf("the disk is used again at once: %d GETs, %+v", o.count("GET")-asked, c.Stats())
			}
			if got := onDisk(t, dir); got != 0 {
				t.Errorf("%d bytes are left on disk", got)
			}
		})
	}
}

// When the disk fails and the registry then sends something else, the reader
// does not get a blob that is no blob.
func TestRestAfterDiskFailureIsVerified(t *testing.T) {
	o := startOrigin(t)
	c := open(t, t.TempDir(), 1<<30)
	c.OnDisk(func(f blobcache.File) (blobcache.File, error) { return &brokenDisk{f, large / 2, nil}, nil })
	r := through(t, c, o)
	content := registrytest.Noise(1, large)
	d := o.put("app", content)
	body, _, err := r.Blob(t.Context(), "app", d, 0, -1)
	must(t, err)
	defer body.Close()
	var got bytes.Buffer
	_, err = io.CopyN(&got, body, 10)
	must(t, err)
	settled(t, c)
	wrong := bytes.Clone(content)
	wrong[large-5] ^= 1
	o.mu.Lock()
	o.blobs["app"][d] = wrong
	o.mu.Unlock()
	if _, err := io.Copy(&got, body); !errors.Is(err, image.ErrDigestInvalid) || got.Len() >= large {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

// More fills than the cache takes at once, and what has no room beside them,
// pass by.
func TestWithoutRoomOrSlot(t *testing.T) {
	goroutines(t)
	o := startOrigin(t)
	c := open(t, t.TempDir(), 20*(100<<10))
	r := through(t, c, o)
	var blobs [][]byte
	for i := range 30 {
		blobs = append(blobs, registrytest.Noise(uint64(i), 100<<10))
		o.put("app", blobs[i])
	}
	var waiting atomic.Int64
	goOn := make(chan struct{})
	o.misbehave(func(w http.ResponseWriter, r *http.Request) {
		for _, b := range blobs {
			if "/v2/app/blobs/"+digest.FromBytes(b).String() == r.URL.Path {
				partly(w, len(b), b[:1])
				waiting.Add(1)
				<-goOn
				_, _ = w.Write(b[1:])
			}
		}
	})
	var readers sync.WaitGroup
	for i, b := range blobs {
		readers.Go(func() {
			if got, err := pull(t.Context(), r, "app", digest.FromBytes(b)); err != nil || !bytes.Equal(got, b) {
				t.Errorf("blob %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	await(t, "all to be asked for", func() bool { return waiting.Load() == 30 })
	if s := c.Stats(); s.Filling > 16 || s.Filling == 0 || s.Bytes > 20*(100<<10) {
		t.Errorf("stats: %+v", s)
	}
	close(goOn)
	readers.Wait()
	settled(t, c)
}

// Eviction does not disturb who reads, and reading does not disturb eviction.
func TestEvictionWhileReading(t *testing.T) {
	goroutines(t)
	o, dir := startOrigin(t), t.TempDir()
	const size = 200 << 10
	c := open(t, dir, 3*(size+8<<10))
	r := through(t, c, o)
	var blobs [][]byte
	for i := range 6 {
		blobs = append(blobs, registrytest.Noise(uint64(i), size))
		o.put("app", blobs[i])
	}
	var readers sync.WaitGroup
	for i := range 8 {
		readers.Go(func() {
			for k := range 20 {
				b := blobs[(i+k*k)%len(blobs)]
				if got, err := pull(t.Context(), r, "app", digest.FromBytes(b)); err != nil || !bytes.Equal(got, b) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	readers.Wait()
	settled(t, c)
	s := c.Stats()
	if s.Evictions == 0 || s.Hits == 0 || s.Aborted != 0 {
		t.Errorf("stats: %+v", s)
	}
	if got := onDisk(t, dir); got != s.Bytes {
		t.Errorf("%d bytes on disk, the cache counts %d", got, s.Bytes)
	}
}

// A file that somebody removed or cut is not served, and comes anew.
func TestFileLostUnderTheCache(t *testing.T) {
	o, dir := startOrigin(t), t.TempDir()
	c := open(t, dir, 1<<30)
	r := through(t, c, o)
	content := registrytest.Noise(1, large)
	d := o.put("app", content)
	path := fmt.Sprintf("%s/sha256/%s/%s", dir, d.Encoded()[:2], d.Encoded())
	for i, harm := range []func() error{
		func() error { return nil },
		func() error { return syscall.Unlink(path) },
		func() error { return syscall.Truncate(path, large/2) },
	} {
		must(t, harm())
		if got, err := pull(t.Context(), r, "app", d); err != nil || !bytes.Equal(got, content) {
			t.Errorf("harm %d: %d bytes, %v", i, len(got), err)
		}
		settled(t, c)
	}
	if s := c.Stats(); o.count("GET") != 3 || s.Blobs != 1 || s.Bytes != large+4<<10 {
		t.Errorf("%d GETs, %+v", o.count("GET"), s)
	}
}

// When the process ends, a fill that is read may finish, one that nobody reads
// is given up, and blobs pass by afterwards.
func TestEndOfRun(t *testing.T) {
	goroutines(t)
	o := startOrigin(t)
	c, stop := openFor(t, t.TempDir(), 1<<30)
	r := through(t, c, o)
	content := registrytest.Noise(1, large)
	read := o.put("app", content)
	unread := o.put("app", registrytest.Noise(2, large))
	goOn := make(chan struct{})
	o.misbehave(func(w http.ResponseWriter, r *http.Request) {
		partly(w, large, content[:large/2])
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		_, _ = w.Write(content[large/2:])
	})
	body, _, err := r.Blob(t.Context(), "app", unread, 0, -1)
	must(t, err)
	must(t, body.Close())
	body, _, err = r.Blob(t.Context(), "app", read, 0, -1)
	must(t, err)
	ended := make(chan struct{})
	go func() {
		stop()
		close(ended)
	}()
	await(t, "the unread fill to be given up", func() bool { return c.Stats().Filling == 1 })
	close(goOn)
	got, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the one that is read: %d bytes, %v", len(got), err)
	}
	<-ended
	o.misbehave(nil)
	if _, err := pull(t.Context(), r, "app", unread); err != nil || c.Stats().Filling != 0 {
		t.Errorf("after the end: %v, %+v", err, c.Stats())
	}
}
