package blobcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/blobcache"
	"github.com/pratique/pratique/internal/registrytest"
	"github.com/pratique/pratique/internal/upstream"
)

func TestContract(t *testing.T) {
	registrytest.Contract(t, func(t *testing.T) registrytest.Registry {
		s := registrytest.StartDistribution(t, registrytest.Options{})
		r, err := upstream.New(upstream.Config{Name: "test", URL: s.URL})
		must(t, err)
		t.Cleanup(func() { r.Close() })
		return open(t, t.TempDir(), 1<<30).Through(r, "test")
	})
}

func TestSecondPullDoesNotTouchTheRegistry(t *testing.T) {
	goroutines(t)
	o, dir := startOrigin(t), t.TempDir()
	content := registrytest.Noise(1, 3<<20)
	d := o.put("app", content)
	for _, life := range []string{"first process", "second process"} {
		c, stop := openFor(t, dir, 1<<30)
		r := through(t, c, o)
		for range 2 {
			got, err := pull(t.Context(), r, "app", d)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%s: %d bytes, %v", life, len(got), err)
			}
			settled(t, c)
		}
		if size, err := r.StatBlob(t.Context(), "app", d); err != nil || size != int64(len(content)) {
			t.Errorf("%s: stat: %d, %v", life, size, err)
		}
		stop()
	}
	if got := fmt.Sprint(o.count("GET"), o.count("HEAD"), o.count("range")); got != "1 0 0" {
		t.Errorf("GET, HEAD and range requests: %s, want 1 0 0", got)
	}
}

func TestSHA512(t *testing.T) {
	o, c := startOrigin(t), open(t, t.TempDir(), 1<<30)
	content := registrytest.Noise(1, 100_000)
	d := digest.SHA512.FromBytes(content)
	o.blobs["app"] = map[digest.Digest][]byte{d: content, digest.SHA512.FromString("another"): content}
	r := through(t, c, o)
	for range 2 {
		if got, err := pull(t.Context(), r, "app", d); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		settled(t, c)
	}
	if got, err := pull(t.Context(), r, "app", digest.SHA512.FromString("another")); !errors.Is(err, image.ErrDigestInvalid) || len(got) >= len(content) {
		t.Errorf("wrong blob: %d bytes, %v", len(got), err)
	}
	if o.count("GET") != 2 {
		t.Errorf("%d GETs, want 2", o.count("GET"))
	}
}

func TestRanges(t *testing.T) {
	o, c := startOrigin(t), open(t, t.TempDir(), 1<<30)
	content := registrytest.Noise(1, 100_000)
	d := o.put("app", content)
	r := through(t, c, o)
	cases := []struct {
		name           string
		offset, length int64
		want           []byte
		err            error
	}{
		{"the beginning", 0, 10, content[:10], nil},
		{"a part", 70_000, 10, content[70_000:70_010], nil},
		{"the end", 99_990, -1, content[99_990:], nil},
		{"past the end", 99_990, 100, content[99_990:], nil},
		{"nothing", 5, 0, nil, nil},
		{"nothing at the end", 100_000, -1, nil, nil},
		{"outside", 100_001, 1, nil, image.ErrRangeInvalid},
		{"before", -1, 1, nil, image.ErrRangeInvalid},
	}
	check := func(state string) {
		for _, k := range cases {
			body, size, err := r.Blob(t.Context(), "app", d, k.offset, k.length)
			if !errors.Is(err, k.err) {
				t.Errorf("%s, %s: %v, want %v", state, k.name, err, k.err)
			}
			if err != nil {
				continue
			}
			got, err := io.ReadAll(body)
			if err = errors.Join(err, body.Close()); err != nil || size != 100_000 || !bytes.Equal(got, k.want) {
				t.Errorf("%s, %s: %d bytes of %d, %v", state, k.name, len(got), size, err)
			}
		}
	}
	check("absent")
	if s := c.Stats(); s.Blobs+s.Filling != 0 {
		t.Errorf("ranges of an absent blob were kept: %+v", s)
	}
	_, err := pull(t.Context(), r, "app", d)
	must(t, err)
	settled(t, c)
	asked := o.count("range")
	check("present")
	if got := o.count("range"); got != asked {
		t.Errorf("%d range requests for what is here", got-asked)
	}
}

// Content is shared, the right to it is not.
func TestOtherRepositoryIsAskedOnce(t *testing.T) {
	o, dir := startOrigin(t), t.TempDir()
	content := registrytest.Noise(1, 100_000)
	d := o.put("a", content)
	o.put("b", content)
	c := open(t, dir, 1<<30)
	r := through(t, c, o)
	_, err := pull(t.Context(), r, "a", d)
	must(t, err)
	settled(t, c)
	for range 3 {
		got, err := pull(t.Context(), r, "b", d)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if got := fmt.Sprint(o.count("GET"), o.count("range")); got != "1 1" {
		t.Errorf("GET and range requests: %s, want 1 1", got)
	}
	if _, err := pull(t.Context(), r, "stranger", d); !errors.Is(err, image.ErrBlobUnknown) {
		t.Errorf("a repository that does not have the blob: %v", err)
	}
	if _, _, err := r.Blob(t.Context(), "stranger", d, 5, 5); !errors.Is(err, image.ErrBlobUnknown) {
		t.Errorf("a part for a repository that does not have the blob: %v", err)
	}
	if _, err := r.StatBlob(t.Context(), "stranger", d); !errors.Is(err, image.ErrBlobUnknown) {
		t.Errorf("stat for a repository that does not have the blob: %v", err)
	}
	// The same registry with another account is another upstream.
	other := c.Through(r.Registry, "other")
	before := o.count("range")
	_, err = pull(t.Context(), other, "a", d)
	must(t, err)
	if got := o.count("range") - before; got != 1 {
		t.Errorf("%d questions for another account, want 1", got)
	}
}

func TestDeletedBlobIsForgotten(t *testing.T) {
	o, c := startOrigin(t), open(t, t.TempDir(), 1<<30)
	d := o.put("a", registrytest.Noise(1, 100_000))
	o.put("b", registrytest.Noise(1, 100_000))
	r := through(t, c, o)
	for _, repo := range []string{"a", "b"} {
		_, err := pull(t.Context(), r, repo, d)
		must(t, err)
		settled(t, c)
	}
	must(t, r.DeleteBlob(t.Context(), "a", d))
	if _, err := pull(t.Context(), r, "a", d); !errors.Is(err, image.ErrBlobUnknown) {
		t.Errorf("deleted blob: %v", err)
	}
	if _, err := r.StatBlob(t.Context(), "a", d); !errors.Is(err, image.ErrBlobUnknown) {
		t.Errorf("stat of a deleted blob: %v", err)
	}
	asked := o.count("GET") + o.count("range")
	if _, err := pull(t.Context(), r, "b", d); err != nil || o.count("GET")+o.count("range") != asked {
		t.Errorf("the other repository: %v", err)
	}
	must(t, r.DeleteBlob(t.Context(), "b", d))
	if s := c.Stats(); s.Blobs != 0 || s.Bytes != 0 {
		t.Errorf("a blob that nobody has is still here: %+v", s)
	}
}

func TestLimit(t *testing.T) {
	o, dir := startOrigin(t), t.TempDir()
	c := open(t, dir, 10*(100<<10+4<<10)) // ten of 100 KiB
	r := through(t, c, o)
	var all []digest.Digest
	for i := range 15 {
		all = append(all, o.put("app", registrytest.Noise(uint64(i), 100<<10)))
	}
	for i, d := range all {
		_, err := pull(t.Context(), r, "app", d)
		must(t, err)
		settled(t, c)
		if i >= 5 { // kept alive by use
			_, err = pull(t.Context(), r, "app", all[5])
			must(t, err)
		}
		if got := onDisk(t, dir); got > 10*(100<<10+4<<10) {
			t.Fatalf("%d bytes on disk", got)
		}
	}
	s := c.Stats()
	if s.Blobs != 10 || s.Evictions != 5 || s.Fills != 15 {
		t.Errorf("stats: %+v", s)
	}
	asked := o.count("GET")
	for _, d := range []digest.Digest{all[5], all[14]} {
		_, err := pull(t.Context(), r, "app", d)
		must(t, err)
	}
	if o.count("GET") != asked {
		t.Error("a blob in use was evicted")
	}
	// A blob that can never fit passes by and evicts nothing.
	large := registrytest.Noise(99, 2<<20)
	got, err := pull(t.Context(), r, "app", o.put("app", large))
	if err != nil || !bytes.Equal(got, large) || c.Stats().Evictions != s.Evictions {
		t.Errorf("large blob: %d bytes, %v, %+v", len(got), err, c.Stats())
	}
}

// onDisk sums what files take, in blocks of 4 KiB.
func onDisk(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	must(t, filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		sum += (info.Size() + 4095) / 4096 * 4096
		return err
	}))
	return sum
}

func TestOpenRemovesWhatIsDamaged(t *testing.T) {
	o, dir := startOrigin(t), t.TempDir()
	c, stop := openFor(t, dir, 1<<30)
	r := through(t, c, o)
	var paths []string
	for i := range 5 {
		d := o.put("app", registrytest.Noise(uint64(i), 50_000))
		_, err := pull(t.Context(), r, "app", d)
		must(t, err)
		paths = append(paths, filepath.Join(dir, "sha256", d.Encoded()[:2], d.Encoded()))
	}
	settled(t, c)
	stop()
	must(t, os.Truncate(paths[0], 49_999))
	must(t, os.Remove(paths[1]+".json"))
	must(t, os.WriteFile(paths[2]+".json", []byte(`{"size":`), 0o600))
	must(t, os.Rename(paths[3], filepath.Join(filepath.Dir(paths[3]), "name")))
	half := filepath.Join(dir, "filling", "half")
	must(t, os.WriteFile(half, []byte("half"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "sha256", "other"), 0o700))
	again := open(t, dir, 1<<30)
	if s := again.Stats(); s.Blobs != 1 {
		t.Errorf("stats: %+v, want one blob", s)
	}
	var left []string
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			left = append(left, path)
		}
		return err
	}))
	want := []string{filepath.Join(dir, "mine"), paths[4], paths[4] + ".json"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// Recency outlasts the process.
func TestRecencyIsKept(t *testing.T) {
	o, dir := startOrigin(t), t.TempDir()
	var now time.Time
	reopen := func(limit int64) *blobcache.Cache {
		c, err := blobcache.Open(blobcache.Options{Dir: dir, Limit: limit, Now: func() time.Time { return now }})
		must(t, err)
		return c
	}
	c, stop := openFor(t, dir, 1<<30)
	r := through(t, c, o)
	var all []digest.Digest
	for i := range 3 {
		all = append(all, o.put("app", registrytest.Noise(uint64(i), 50_000)))
		_, err := pull(t.Context(), r, "app", all[i])
		must(t, err)
		settled(t, c)
		time.Sleep(10 * time.Millisecond) // the order of files is that of their times
	}
	stop()
	now = time.Now().Add(2 * time.Hour)
	_, err := pull(t.Context(), through(t, reopen(1<<30), o), "app", all[0])
	must(t, err)
	c = reopen(60_000) // one of them
	if _, err := pull(t.Context(), through(t, c, o), "app", all[0]); err != nil || c.Stats().Hits != 1 {
		t.Errorf("the one that was used last: %v, %+v", err, c.Stats())
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, o := range map[string]blobcache.Options{
		"no folder": {Limit: 1}, "no limit": {Dir: t.TempDir()}, "a file": {Dir: file, Limit: 1},
	} {
		if _, err := blobcache.Open(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParseNote(f *testing.F) {
	f.Add([]byte(`{"size":12,"homes":["hub https://registry-1.docker.io library/nginx"]}`))
	f.Add([]byte(`{"size":-1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if size, homes, err := blobcache.ParseNote(raw); err == nil && (size < 0 || homes > 64) {
			t.Errorf("size %d, %d homes", size, homes)
		}
	})
}

// taker is a writer that can take files, as a connection can.
type taker struct {
	bytes.Buffer
	files int
}

func (w *taker) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			w.files++
		}
	}
	return w.Buffer.ReadFrom(r)
}

// What goes to a connection goes as a file, so that the kernel can copy it.
func TestBodiesAreSentAsFiles(t *testing.T) {
	o, c := startOrigin(t), open(t, t.TempDir(), 1<<30)
	r := through(t, c, o)
	content := registrytest.Noise(1, 1<<20)
	d := o.put("app", content)
	for _, state := range []string{"coming", "whole"} {
		body, _, err := r.Blob(t.Context(), "app", d, 0, -1)
		must(t, err)
		var got taker
		_, err = io.Copy(&got, body)
		if err = errors.Join(err, body.Close()); err != nil || got.files == 0 || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("%s: %d bytes in %d files, %v", state, got.Len(), got.files, err)
		}
		settled(t, c)
	}
}
