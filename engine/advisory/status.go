package advisory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pratique/pratique/engine/pkgver"
)

// Status is what moves without a new revision: when each feed was last asked.
// It stands beside the index files as status.json. The sync writes it, readers
// lay its times over the coverage of the index.
type Status struct {
	// Inputs names the downloads that the newest index was built from; the sync
	// builds again when they differ.
	Inputs string       `json:"inputs"`
	Feeds  []FeedStatus `json:"feeds"`
	// Imported is what came last from a bundle; nil if nothing ever did.
	Imported *Revision `json:"imported,omitempty"`
}

// FeedStatus is the state of one ecosystem of one source.
type FeedStatus struct {
	Source    string `json:"source"`
	Ecosystem string `json:"ecosystem"` // without release suffix; a name of its own where the source is one feed: "NVD", "secdb"
	Records   int    `json:"records"`   // records in the index
	Skipped   int    `json:"skipped"`   // records that could not be read
	// Unclear counts the product ids of CSAF documents that could not be
	// understood: what is said of them is missing from the index.
	Unclear        int       `json:"unclear,omitempty"`
	UnclearExample string    `json:"unclear_example,omitempty"`
	Newest         time.Time `json:"newest,omitzero"`
	Synced         time.Time `json:"synced,omitzero"` // last success; zero: never
	Tried          time.Time `json:"tried,omitzero"`
	Error          string    `json:"error,omitempty"` // of the last try; empty after a success
	Size           int64     `json:"size"`            // bytes of the download
	// Kept: what the index has of the feed was not made of the downloads here. It
	// came with a bundle, or the downloads are older or gone; it stays in force
	// until the source has newer data.
	Kept bool `json:"kept,omitempty"`
}

// FeedOf finds the feed that gives what a coverage counts. An OSV source has a
// feed for each ecosystem. Any other source is one feed, whose name is no
// ecosystem ("secdb") and which gives all that is counted for its source.
func FeedOf(feeds []FeedStatus, c Coverage) (FeedStatus, bool) {
	var only FeedStatus
	n := 0
	for _, f := range feeds {
		if f.Source != c.Source {
			continue
		}
		if f.Ecosystem == pkgver.Base(c.Ecosystem) {
			return f, true
		}
		only = f
		n++
	}
	return only, n == 1 && !pkgver.Known(only.Ecosystem)
}

const (
	statusName = "status.json"
	// maxStatus bounds the file: a thousand feeds with long errors.
	maxStatus = 4 << 20
)

// ReadStatus reads the status of an index directory. Where none was written yet
// the status is empty.
func ReadStatus(dir string) (Status, error) {
	var s Status
	path := filepath.Join(dir, statusName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil && info.Size() > maxStatus {
		err = fmt.Errorf("file of %d bytes", info.Size())
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return Status{}, fmt.Errorf("read feed status: %w", err)
	}
	return s, nil
}

// WriteStatus replaces the status of an index directory in one step.
func WriteStatus(dir string, s Status) (err error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write feed status: %w", err)
	}
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return fmt.Errorf("write feed status: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, statusName))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write feed status: %w", err), os.Remove(f.Name()))
	}
	return syncDir(dir)
}
