package rpmdb_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	oracle "github.com/knqyf263/go-rpmdb/pkg"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
	"github.com/pratique/pratique/internal/sharedtest"
)

// BenchmarkRead reads the real databases: packages alone, with their files, and
// packages alone by the tests' oracle.
func BenchmarkRead(b *testing.B) {
	dir := sharedtest.Dir(b, "corpus")
	for _, image := range images {
		db := layerFile(b, filepath.Join(dir, image.name), image.file)
		file := rpmdb.File{ReaderAt: bytes.NewReader(db), Size: int64(len(db))}
		run := func(name string, each func(*rpmdb.Package) error) {
			b.Run(image.name+"/"+name, func(b *testing.B) {
				b.SetBytes(file.Size)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := rpmdb.Read(file, nil, rpmdb.DefaultLimits, each); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("packages", func(*rpmdb.Package) error { return nil })
		run("files", func(p *rpmdb.Package) error {
			return p.Files(func(string, uint32, uint16, string) bool { return true })
		})
		path := filepath.Join(b.TempDir(), "db")
		if err := os.WriteFile(path, db, 0o600); err != nil {
			b.Fatal(err)
		}
		b.Run(image.name+"/oracle", func(b *testing.B) {
			b.SetBytes(file.Size)
			b.ReportAllocs()
			for b.Loop() {
				db, err := oracle.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := db.ListPackages(); err != nil {
					b.Fatal(err)
				}
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
