package feeds_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/sharedtest"
)

func writeTemp(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "all.zip")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestZipShapes holds the reader of dumps to archive/zip's writer.
func TestZipShapes(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(z *zip.Writer) error{
		"empty": func(*zip.Writer) error { return nil },
		"stored": func(z *zip.Writer) error {
			w, err := z.CreateHeader(&zip.FileHeader{Name: "a.json", Method: zip.Store})
			return errors.Join(err, writeText(w, "stored"))
		},
		"extra and comments": func(z *zip.Writer) error {
			w, err := z.CreateHeader(&zip.FileHeader{Name: "a.json", Method: zip.Deflate, Comment: "c", Extra: []byte{9, 9, 1, 0, 7}, Modified: time.Now()})
			return errors.Join(err, writeText(w, "deflated"), z.SetComment(strings.Repeat("PK", 100)))
		},
		"zip64 by count": func(z *zip.Writer) error {
			var errs []error
			for i := range 70_000 {
				w, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%d.json", i), Method: zip.Store})
				errs = append(errs, err, writeText(w, "x"))
			}
			return errors.Join(errs...)
		},
		"zip64 by size": func(z *zip.Writer) error {
			w, err := z.CreateHeader(&zip.FileHeader{Name: "big.json", Method: zip.Deflate, UncompressedSize64: 1 << 33})
			return errors.Join(err, writeText(w, "not so big"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			z := zip.NewWriter(&out)
			if err := errors.Join(fill(z), z.Close()); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			r, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.File {
				c, err := f.Open()
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(c)
				if err != nil {
					t.Fatal(err)
				}
				want[f.Name] = string(text)
			}
			got, skipped, err := feeds.UnzipAll(writeTemp(t, out.Bytes()))
			if diff := cmp.Diff(want, got); diff != "" || skipped != 0 || err != nil {
				t.Errorf("%d skipped, %v, %.500s", skipped, err, diff)
			}
		})
	}
}

func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// TestZipSharedDumps reads every real dump whole.
func TestZipSharedDumps(t *testing.T) {
	dumps, err := filepath.Glob(filepath.Join(sharedtest.Dir(t, "data", "vulndb"), "*", "all.zip"))
	if err != nil || len(dumps) == 0 {
		t.Fatal(dumps, err)
	}
	for _, path := range dumps {
		r, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		records, skipped, err := feeds.UnzipAll(path)
		if err != nil || skipped != 0 || len(records) != len(r.File) {
			t.Errorf("%s: %d records of %d, %d skipped, %v", path, len(records), len(r.File), skipped, err)
		}
		r.Close()
	}
}

func TestZipDamage(t *testing.T) {
	t.Parallel()
	whole := zipped(t, map[string]string{"a.json": strings.Repeat("abc", 100), "b.json": strings.Repeat("xyz", 100)})
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x21
		records, _, _ := feeds.UnzipAll(writeTemp(t, b))
		for name, text := range records {
			if text != strings.Repeat("abc", 100) && text != strings.Repeat("xyz", 100) {
				t.Errorf("byte %d: %s holds %.20q", i, name, text)
			}
		}
		if _, _, err := feeds.UnzipAll(writeTemp(t, whole[:i])); err == nil {
			t.Errorf("%d bytes are a whole dump", i)
		}
	}
}

func FuzzZip(f *testing.F) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create("a.json")
	if err := errors.Join(err, writeText(w, `{"id": "A-1"}`), z.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add([]byte("PK\x05\x06"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(dir, "all.zip")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		records, _, _ := feeds.UnzipAll(path)
		total := 0
		for _, text := range records {
			total += len(text)
		}
		if total > 2000*len(file) {
			t.Errorf("%d bytes became %d", len(file), total)
		}
		_ = feeds.CheckZip(path)
	})
}

func FuzzChanges(f *testing.F) {
	f.Add([]byte("2026-08-21T10:00:00.123Z,GO-2026-1\n2026-08-20T10:00:00Z,GO-2026-2\n"))
	f.Add([]byte("x,\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(dir, "modified_id.csv")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		seen := 0
		n, err := feeds.EachChange(path, func(_ time.Time, id string) bool {
			seen++
			return id != ""
		})
		if err == nil && (n == 0 || n != seen) {
			t.Errorf("%d lines, %d visited", n, seen)
		}
	})
}
