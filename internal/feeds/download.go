package feeds

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// download is the state of one downloaded file, kept beside it as
// <file>.state.json.
type download struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"` // of HTTP, or size and time of a local file
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`
	// Fetched is when these bytes came; asking again and getting the same moves
	// nothing.
	Fetched time.Time `json:"fetched,omitzero"`

	path string // of the bytes
}

// forget makes the next sync download the file anew; used when the bytes here
// turn out to be damaged.
func (d download) forget() error {
	if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove damaged download: %w", err)
	}
	return nil
}

// maxState bounds a state file in bytes.
const maxState = 64 << 10

// keep checks a complete download and puts it in place. The file's name holds
// its digest and the state names the file, so the one rename of the state moves
// from the old download to the new; a crash before it changes nothing.
func keep(t target, temp string, next *download) error {
	if err := t.check(temp); err != nil {
		return fmt.Errorf("%s: %w", t.url, err)
	}
	next.path = dataPath(t, next.SHA256)
	state, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("write state of download: %w", err)
	}
	if err := os.Rename(temp, next.path); err != nil {
		return fmt.Errorf("put download in place: %w", err)
	}
	aside := statePath(t) + ".tmp"
	if err := os.WriteFile(aside, state, 0o644); err != nil {
		return fmt.Errorf("write state of download: %w", err)
	}
	if err := os.Rename(aside, statePath(t)); err != nil {
		return fmt.Errorf("write state of download: %w", err)
	}
	return removeOthers(t, next.path)
}

// removeOthers removes earlier downloads of the same file and what a killed
// sync left half way.
func removeOthers(t target, current string) error {
	dir, base := filepath.Dir(t.path), "-"+filepath.Base(t.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for old downloads: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		earlier := strings.HasSuffix(e.Name(), base) && len(e.Name()) == digestPrefix+len(base)
		if path == current || !earlier && !strings.HasPrefix(e.Name(), tempDownload) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove old download: %w", err)
		}
	}
	return nil
}

const (
	tempDownload = ".download-"
	digestPrefix = 16 // characters of the digest in a file name
)

func statePath(t target) string { return t.path + ".state.json" }

// dataPath is where the bytes with this digest are kept.
func dataPath(t target, digest string) string {
	return filepath.Join(filepath.Dir(t.path), digest[:digestPrefix]+"-"+filepath.Base(t.path))
}

// readState tells what is here. What came from another URL is used and asked
// for anew.
func readState(t target) (download, bool) {
	b, err := os.ReadFile(statePath(t))
	if err != nil || len(b) > maxState {
		return download{}, false
	}
	d := download{}
	if json.Unmarshal(b, &d) != nil || len(d.SHA256) != hex.EncodedLen(sha256.Size) {
		return download{}, false
	}
	d.path = dataPath(t, d.SHA256)
	info, err := os.Stat(d.path)
	if err != nil || info.Size() != d.Size {
		return download{}, false
	}
	if d.URL != t.url {
		d.ETag, d.LastModified = "", ""
	}
	return d, true
}
