package scan_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
	"github.com/pratique/pratique/internal/scan"
	"github.com/pratique/pratique/policies"
)

var (
	amd64 = image.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = image.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
)

// options scan by the default policy and a few advisories.
func options(t *testing.T) scan.Options {
	t.Helper()
	dir := t.TempDir()
	gatetest.WriteData(t, dir, 1, gatetest.Advisories())
	store, err := advisory.OpenStore(filepath.Join(dir, "vulndb"))
	check(t, err)
	t.Cleanup(func() { check(t, store.Close()) })
	data, ok := store.Current()
	if !ok {
		t.Fatal("no data")
	}
	t.Cleanup(data.Release)
	packs, err := policies.All()
	check(t, err)
	var b *bundle.Bundle
	for _, p := range packs {
		if parsed, err := bundle.Parse(p.Raw); err == nil && parsed.ID == policies.Default {
			b = parsed
		}
	}
	analyzer, err := layer.New(layer.DefaultConfig())
	check(t, err)
	return scan.Options{
		Analyzer:  analyzer,
		Reference: "oci:x", Name: image.Reference{Registry: "localhost", Repository: "scan", Tag: "latest"},
		Bundle: b, Data: data, Progress: func(string) {}, Now: time.Now(),
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// layout is an open layout, whether folder or archive.
type layout interface {
	scan.Images
	Root() image.Descriptor
	Close() error
}

func openDir(t *testing.T, dir string) *scan.Layout {
	t.Helper()
	l, err := scan.OpenDir(dir)
	check(t, err)
	t.Cleanup(func() { check(t, l.Close()) })
	return l
}

// pack writes a folder as an uncompressed tar, with names as `tar -C dir .`
// gives them.
func pack(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive.tar")
	f, err := os.Create(path)
	check(t, err)
	w := tar.NewWriter(f)
	check(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		body, err := os.ReadFile(name)
		check(t, err)
		rest, err := filepath.Rel(dir, name)
		check(t, err)
		check(t, w.WriteHeader(&tar.Header{Name: "./" + filepath.ToSlash(rest), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}))
		_, err = w.Write(body)
		return err
	}))
	check(t, errors.Join(w.Close(), f.Close()))
	return path
}

func openArchive(t *testing.T, path string) *scan.Layout {
	t.Helper()
	l, err := scan.OpenArchive(path)
	check(t, err)
	t.Cleanup(func() { check(t, l.Close()) })
	return l
}

// both opens what write has put into a folder, as it is and as an archive.
func both(t *testing.T, write func(dir string) error) map[string]layout {
	t.Helper()
	dir := t.TempDir()
	check(t, write(dir))
	return map[string]layout{"folder": openDir(t, dir), "archive": openArchive(t, pack(t, dir))}
}

// multi has a clean image for amd64 and one with a vulnerability for arm64.
func multi() imagetest.Index {
	return imagetest.BuildIndex(
		imagetest.BuildFor(amd64, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...)),
		imagetest.BuildFor(arm64, imagetest.Zstd(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...)))
}

func summary(docs []scan.Document) []string {
	var all []string
	for _, d := range docs {
		s := string(d.Kind) + " " + d.Platform + " " + d.Verdict.Action.String()
		for _, f := range d.Findings {
			s += " " + f.CVE()
		}
		if d.Verdict.Passed {
			s += " passed"
		}
		all = append(all, s)
	}
	return all
}

func TestScan(t *testing.T) {
	o := options(t)
	clean, failing := "image linux/amd64 go passed", "image linux/arm64/v8 stop CVE-2025-15467"
	for _, tt := range []struct {
		name     string
		write    func(dir string) error
		platform string
		want     []string
	}{
		{"one image", func(dir string) error { return imagetest.Clean().WriteLayout(dir, "1") }, "", []string{clean}},
		{"every platform", func(dir string) error { return multi().WriteLayout(dir, "1") }, "", []string{clean, failing}},
		{"one platform", func(dir string) error { return multi().WriteLayout(dir, "1") }, "linux/arm64/v8", []string{failing}},
		{"a sparse index", func(dir string) error {
			x := multi()
			return errors.Join(x.WriteLayout(dir, "1"), os.Remove(blobPath(dir, x.Images[0].Digest())))
		}, "", []string{failing}},
		{"layers that the absent children had", func(dir string) error {
			x := multi()
			return errors.Join(x.WriteLayout(dir, "1"), os.Remove(blobPath(dir, x.Images[1].Digest())), os.Remove(blobPath(dir, digest.FromBytes(x.Images[1].Layers[0].Blob))))
		}, "", []string{clean}},
	} {
		for kind, l := range both(t, tt.write) {
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				o := o
				o.Platform = tt.platform
				docs, err := scan.Scan(t.Context(), l, l.Root(), o)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, summary(docs)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func blobPath(dir string, d digest.Digest) string {
	return filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded())
}

// TestScanErrors: what could not be looked at is an error, never an empty
// result, which would read as passed.
func TestScanErrors(t *testing.T) {
	o := options(t)
	clean, x := imagetest.Clean(), multi()
	index := func(dir string, manifests ...image.Descriptor) error {
		raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": append([]image.Descriptor{}, manifests...)})
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "index.json"), raw, 0o644))
	}
	replace := func(dir string, d digest.Digest, body string) error {
		return errors.Join(clean.WriteLayout(dir, "1"), os.WriteFile(blobPath(dir, d), []byte(body), 0o644))
	}
	named := func(d string) image.Descriptor {
		return image.Descriptor{MediaType: image.MediaTypeManifest, Digest: digest.Digest(d), Size: 1}
	}
	for _, tt := range []struct {
		name     string
		write    func(dir string) error
		platform string
		want     string
	}{
		{"no layout", func(dir string) error { return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("[]"), 0o644) }, "", "not an OCI image layout"},
		{"an index of nothing", func(dir string) error { return index(dir) }, "", "no image, or none that is here"},
		{"an index of which nothing is here", func(dir string) error { return index(dir, clean.Descriptor(), x.Images[1].Descriptor()) }, "", "none that is here"},
		{"the only image is not here", func(dir string) error { return index(dir, clean.Descriptor()) }, "", image.ErrManifestUnknown.Error()},
		{"no such platform", func(dir string) error { return clean.WriteLayout(dir, "1") }, "linux/s390x", "no platform linux/s390x"},
		{"a manifest that is another", func(dir string) error { return replace(dir, clean.Digest(), string(imagetest.Node().Manifest)) }, "", image.ErrDigestInvalid.Error()},
		{"a config that is another", func(dir string) error { return replace(dir, clean.ID(), "{}") }, "", image.ErrDigestInvalid.Error()},
		{"a layer that is another", func(dir string) error { return replace(dir, digest.FromBytes(clean.Layers[0].Blob), "x") }, "", image.ErrDigestInvalid.Error()},
		{"a layer that is not here", func(dir string) error {
			return errors.Join(clean.WriteLayout(dir, "1"), os.Remove(blobPath(dir, digest.FromBytes(clean.Layers[0].Blob))))
		}, "", image.ErrBlobUnknown.Error()},
		{"a manifest that is none", func(dir string) error { return replace(dir, clean.Digest(), "[]") }, "", image.ErrManifestInvalid.Error()},
		{"a digest that leads out", func(dir string) error { return index(dir, named("sha256:../../../../etc/passwd")) }, "", image.ErrManifestInvalid.Error()},
		{"an algorithm that leads out", func(dir string) error { return index(dir, named("../../x:"+strings.Repeat("a", 64))) }, "", image.ErrManifestInvalid.Error()},
		{"a digest that is none", func(dir string) error { return index(dir, named("sha256")) }, "", image.ErrManifestInvalid.Error()},
		{"an index that is too large", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "index.json"), []byte(strings.Repeat(" ", image.MaxManifestSize+1)), 0o644)
		}, "", image.ErrManifestInvalid.Error()},
	} {
		for kind, l := range both(t, tt.write) {
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				o := o
				o.Platform = tt.platform
				docs, err := scan.Scan(t.Context(), l, l.Root(), o)
				if err == nil || !strings.Contains(err.Error(), tt.want) || docs != nil {
					t.Errorf("%v, %v; want an error with %q", summary(docs), err, tt.want)
				}
			})
		}
	}
}

// TestScanUnscannable: what cannot be read is a document that has not passed.
func TestScanUnscannable(t *testing.T) {
	im := imagetest.Clean()
	im.Layers[0].MediaType += "+encrypted"
	im = imagetest.Build(im.Layers...)
	for kind, l := range both(t, func(dir string) error { return im.WriteLayout(dir, "1") }) {
		t.Run(kind, func(t *testing.T) {
			docs, err := scan.Scan(t.Context(), l, l.Root(), options(t))
			if err != nil || len(docs) != 1 {
				t.Fatalf("%v, %v", docs, err)
			}
			d := docs[0]
			if d.Kind != inventory.KindUnscannable || d.Verdict.Passed || d.Verdict.Action != policy.Stop || len(d.Gaps) != 1 || d.Gaps[0].Kind != inventory.Blind {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestDocumentShape: machines find lists where there is nothing to list.
func TestDocumentShape(t *testing.T) {
	dir := t.TempDir()
	check(t, imagetest.Build(imagetest.Gzip(imagetest.File("x", "x"))).WriteLayout(dir, "1"))
	l := openDir(t, dir)
	docs, err := scan.Scan(t.Context(), l, l.Root(), options(t))
	check(t, err)
	raw, err := json.Marshal(docs[0])
	check(t, err)
	for _, want := range []string{`"packages":[]`, `"findings":[]`, `"gaps":[`, `"reasons":[`, `"reference":"oci:x"`, `"platform":"linux/amd64"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s does not have %s", raw, want)
		}
	}
}

// TestFolderIsNotLeft: a link in a folder cannot show what lies outside.
func TestFolderIsNotLeft(t *testing.T) {
	dir, clean := t.TempDir(), imagetest.Clean()
	check(t, clean.WriteLayout(dir, "1"))
	outside := filepath.Join(t.TempDir(), "config")
	check(t, os.WriteFile(outside, clean.Config, 0o644))
	check(t, os.Remove(blobPath(dir, clean.ID())))
	check(t, os.Symlink(outside, blobPath(dir, clean.ID())))
	l := openDir(t, dir)
	if body, err := l.Blob(t.Context(), image.Descriptor{Digest: clean.ID()}); err == nil {
		raw, _ := io.ReadAll(body)
		t.Errorf("read %q through a link", raw)
	}
	if docs, err := scan.Scan(t.Context(), l, l.Root(), options(t)); err == nil {
		t.Errorf("scanned %v through a link", summary(docs))
	}
}

func TestBrokenArchives(t *testing.T) {
	dir := t.TempDir()
	check(t, imagetest.Clean().WriteLayout(dir, "1"))
	whole, err := os.ReadFile(pack(t, dir))
	check(t, err)
	for name, raw := range map[string][]byte{
		"cut in the last file": whole[:len(whole)-1024-513], "cut in a header": whole[:700], "compressed": imagetest.Gzip().Blob, "text": []byte(strings.Repeat("no archive", 200)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "broken.tar")
			check(t, os.WriteFile(path, raw, 0o644))
			l, err := scan.OpenArchive(path)
			if err == nil {
				check(t, l.Close())
				t.Fatal("was opened")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "not an uncompressed tar") {
				t.Errorf("OpenArchive = %v", err)
			}
		})
	}
	if _, err := scan.OpenArchive(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := scan.OpenDir(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
