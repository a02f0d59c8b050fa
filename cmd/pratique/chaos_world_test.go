package main_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/imagetest"
)

// What policy is to say of an image. That is the ground truth.
type kind string

const (
	good kind = "good"
	bad  kind = "bad"  // has a critical vulnerability with a fix
	late kind = "late" // has one in every second version of the vulnerability data
)

// latecomer is the package of late images.
var latecomer = imagetest.Apk{Name: "latecomer", Version: "1.0-r0", Origin: "latecomer"}

// specimen is an image or an index that the test pushes.
type specimen struct {
	kind      kind
	mediaType string
	raw       []byte
	blobs     map[digest.Digest][]byte // none of an index
	children  []*specimen              // of an index
}

func (s *specimen) digest() digest.Digest { return digest.FromBytes(s.raw) }

// world is all content of one run, and what is secret of it. It is safe for
// concurrent use.
type world struct {
	bases []imagetest.Layer // shared by images of every kind

	mu      sync.Mutex
	secret  map[digest.Digest]bool   // what only refused images have
	content map[digest.Digest][]byte // everything
	bytes   int
	made    int
}

// Limits of one run, so that ten minutes fit into memory and a small disk.
const (
	maxMade  = 600
	maxBytes = 96 << 20
)

func newWorld(seed uint64) *world {
	w := &world{secret: map[digest.Digest]bool{}, content: map[digest.Digest][]byte{}}
	for i := range 3 {
		r := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		w.bases = append(w.bases, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL}, imagetest.File("base", string(noise(r, 40<<10))))...))
	}
	return w
}

// full reports whether no more content may be made.
func (w *world) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made >= maxMade || w.bytes >= maxBytes
}

// image makes an image of its own: a shared base and a layer whose package
// database comes last, so that a layer cut short looks clean.
func (w *world) image(r *rand.Rand, k kind, heavy bool) *specimen {
	packages := []imagetest.Apk{imagetest.GoodSSL}
	switch k {
	case bad:
		packages = []imagetest.Apk{imagetest.VulnerableSSL}
	case late:
		packages = append(packages, latecomer)
	}
	size := 1<<10 + r.IntN(60<<10)
	if r.IntN(20) == 0 {
		size = 512<<10 + r.IntN(1<<20)
	}
	files := []imagetest.Content{imagetest.File("noise", string(noise(r, size)))}
	if heavy { // 3 MB on the way, 32 MB for the analyser
		files = append(files, imagetest.File("more", string(noise(r, 3<<20))), imagetest.File("zeros", strings.Repeat("0", 29<<20)))
	}
	files = append(files, imagetest.ApkDatabase(packages...))
	pack := imagetest.Gzip
	if r.IntN(3) == 0 && !heavy { // cut anywhere, plain tar is read without a complaint of the compression
		pack = imagetest.Plain
	}
	im := imagetest.Build(w.bases[r.IntN(len(w.bases))], pack(files...))
	s := &specimen{kind: k, mediaType: image.MediaTypeManifest, raw: im.Manifest, blobs: im.Blobs()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	w.content[s.digest()] = s.raw
	for d, blob := range s.blobs {
		if w.content[d] == nil {
			w.bytes += len(blob)
			w.content[d] = blob
			w.secret[d] = k == bad && !w.base(d)
		}
	}
	w.secret[s.digest()] = k == bad
	return s
}

func (w *world) base(d digest.Digest) bool {
	for _, l := range w.bases {
		if l.Descriptor().Digest == d {
			return true
		}
	}
	return false
}

// index makes an index of images; it is refused if all of them are.
func (w *world) index(images ...*specimen) *specimen {
	var children []imagetest.Image
	k := bad
	for i, s := range images {
		platform := image.Platform{OS: "linux", Architecture: []string{"amd64", "arm64"}[i%2]}
		children = append(children, imagetest.Image{Manifest: s.raw, Platform: platform})
		if s.kind == good {
			k = good
		}
	}
	x := &specimen{kind: k, mediaType: image.MediaTypeIndex, raw: imagetest.BuildIndex(children...).Raw, children: images}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.content[x.digest()] = x.raw
	w.secret[x.digest()] = k == bad
	return x
}

func (w *world) isSecret(d digest.Digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.secret[d]
}

func (w *world) bytesOf(d digest.Digest) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.content[d]
}

// critical is what the vulnerabilities of this feed score.
const critical = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"

// writeFeed puts a version of the vulnerability data in place, in one rename.
// Late images are vulnerable in the odd ones.
func writeFeed(t testing.TB, dir string, version int) {
	t.Helper()
	record := func(id, pkg, fixed string) string {
		return fmt.Sprintf(`{"id":"ALPINE-%s","modified":"2026-01-01T00:00:00Z","upstream":[%q],"severity":[{"type":"CVSS_V3","score":%q}],
"affected":[{"package":{"ecosystem":"Alpine:v3.20","name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`, id, id, critical, pkg, fixed)
	}
	records := map[string]string{"openssl.json": record("CVE-2025-15467", "openssl", "3.3.6-r0")}
	if version%2 == 1 {
		records["late.json"] = record("CVE-2026-0001", latecomer.Name, "2.0-r0")
	}
	for i := range 1500 { // so that building takes long enough to be killed
		records[fmt.Sprintf("filler-%d.json", i)] = record(fmt.Sprintf("CVE-2020-%d", 10_000+i), fmt.Sprintf("filler-%d-%d", i, version), "1.0-r0")
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, body := range records {
		f, err := z.Create(name)
		fatal(t, err)
		_, err = f.Write([]byte(body))
		fatal(t, err)
	}
	fatal(t, z.Close())
	fatal(t, os.MkdirAll(filepath.Join(dir, "Alpine"), 0o755))
	fatal(t, os.WriteFile(filepath.Join(dir, "next"), b.Bytes(), 0o644))
	fatal(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "Alpine", "all.zip")))
}

// smallFeed are the settings for the vulnerability data in dir.
func smallFeed(dir string) []string {
	return []string{"--set", fmt.Sprintf(`feeds.sources=[{name: osv, url: "file://%s", ecosystems: [Alpine]}]`, dir)}
}
