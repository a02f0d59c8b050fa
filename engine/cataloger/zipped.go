package cataloger

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
)

// Limits of one zip file of a small package, in bytes.
const (
	maxZipDirectory = 8 << 20  // of the central directory: some 100,000 files
	maxZipContent   = 64 << 20 // of all that is inflated
	maxZipFiles     = 1000     // that are read
)

var (
	errZipDirectory = errors.New("its directory is too large")
	errZipContent   = errors.New("the files in it are too large or too many")
)

// rationed lets a certain number of bytes be read. archive/zip makes an object
// for each 46 bytes of a directory, and reads on as long as it finds some.
type rationed struct {
	io.ReaderAt
	left int64
}

func (r *rationed) ReadAt(p []byte, at int64) (int, error) {
	if r.left -= int64(len(p)); r.left < 0 {
		return 0, errZipDirectory
	}
	return r.ReaderAt.ReadAt(p, at)
}

// eachZipped hands over the content of those files of a zip that are wanted.
func eachZipped(f File, wants func(name string) bool, told func(name string, raw []byte)) error {
	ration := &rationed{f, maxZipDirectory}
	archive, err := zip.NewReader(ration, f.Size)
	if err != nil {
		return fmt.Errorf("read zip directory: %w", err)
	}
	files, left := 0, int64(maxZipContent)
	for _, entry := range archive.File {
		if len(entry.Name) > maxField || !wants(entry.Name) {
			continue
		}
		ration.left = maxZipContent
		raw, err := unzip(entry, min(left, maxManifest))
		if err != nil {
			return fmt.Errorf("read zipped file: %w", err)
		}
		left -= int64(len(raw))
		if files++; files > maxZipFiles || left <= 0 {
			return errZipContent
		}
		told(entry.Name, raw)
	}
	return nil
}

// unzip reads one file of at most limit bytes, whatever size it claims.
func unzip(entry *zip.File, limit int64) ([]byte, error) {
	in, err := entry.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, errZipContent
	}
	return raw, nil
}
