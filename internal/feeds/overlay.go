package feeds

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/advisory"
)

// overlayRecord is a record that was fetched by itself, because it is newer
// than the dump.
type overlayRecord struct {
	ID       string          `json:"id"`
	Modified time.Time       `json:"modified"`
	Fetched  time.Time       `json:"fetched"`
	Record   json.RawMessage `json:"record"`
}

// overlayRef names an overlay file: a line of JSON for each record.
type overlayRef struct {
	SHA256  string `json:"sha256,omitempty"`
	Size    int64  `json:"size"`
	Records int    `json:"records"` // 0: there is none
}

// changeState is kept in changes.json beside a dump: what is known of the
// changes since.
type changeState struct {
	Base    string     `json:"base"`    // digest of the dump
	Checked time.Time  `json:"checked"` // when the publisher last had this dump
	List    string     `json:"list"`    // digest of the list of changes that was worked through
	Overlay overlayRef `json:"overlay"`
	// Of CSAF alone, whose single documents are kept as what they were turned
	// into: the rules for that, and from when on changes are still to be fetched.
	Rules int       `json:"rules,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

const (
	changesName   = "changes.json"
	overlaySuffix = "-overlay.jsonl"
	// maxOverlay bounds the records that lie over a dump; beyond it the dump is
	// taken anew.
	maxOverlay     = 2000
	maxOverlaySize = 512 << 20
)

func (s *syncer) overlayPath(f *feed, o overlayRef) string {
	return filepath.Join(s.dir(f), o.SHA256[:digestPrefix]+overlaySuffix)
}

// readChanges is the zero state when there is none that can be used.
func (s *syncer) readChanges(f *feed) changeState {
	b, err := os.ReadFile(filepath.Join(s.dir(f), changesName))
	var state changeState
	if err != nil || len(b) > maxState || json.Unmarshal(b, &state) != nil {
		return changeState{}
	}
	if o := state.Overlay; o.Records > 0 {
		if len(o.SHA256) != hex.EncodedLen(sha256.Size) {
			return changeState{}
		}
		if info, err := os.Stat(s.overlayPath(f, o)); err != nil || info.Size() != o.Size {
			return changeState{}
		}
	}
	return state
}

// writeChanges puts the state in place by one rename, and then removes overlays
// that it does not name.
func (s *syncer) writeChanges(f *feed, state changeState) error {
	b, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("write state of changes: %w", err)
	}
	if err := replace(filepath.Join(s.dir(f), changesName), b); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir(f))
	if err != nil {
		return fmt.Errorf("look for old overlays: %w", err)
	}
	for _, e := range entries {
		keep := state.Overlay.Records > 0 && strings.HasPrefix(e.Name(), state.Overlay.SHA256[:digestPrefix])
		if keep || !strings.HasSuffix(e.Name(), overlaySuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir(f), e.Name())); err != nil {
			return fmt.Errorf("remove old overlay: %w", err)
		}
	}
	return nil
}

// writeOverlay keeps the records in a file that is named after its content.
func (s *syncer) writeOverlay(f *feed, records map[string]overlayRecord) (overlayRef, error) {
	if len(records) == 0 {
		return overlayRef{}, nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, id := range slices.Sorted(maps.Keys(records)) {
		if err := enc.Encode(records[id]); err != nil {
			return overlayRef{}, fmt.Errorf("write overlay: %w", err)
		}
	}
	if out.Len() > maxOverlaySize {
		return overlayRef{}, fmt.Errorf("single records of %d bytes", out.Len())
	}
	sum := sha256.Sum256(out.Bytes())
	o := overlayRef{SHA256: hex.EncodeToString(sum[:]), Size: int64(out.Len()), Records: len(records)}
	return o, replace(s.overlayPath(f, o), out.Bytes())
}

// replace writes a file aside, syncs it and gives it its name.
func replace(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), tempDownload+"*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), os.Remove(temp.Name()))
	}
	return nil
}

// readOverlay reads what writeOverlay wrote.
func readOverlay(path string) (records map[string]overlayRecord, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read overlay: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	// Escapes of < and > may make a record six times as long.
	lines.Buffer(nil, 6*advisory.MaxRecord+1<<20)
	records = map[string]overlayRecord{}
	for lines.Scan() {
		var r overlayRecord
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read overlay: %w", err)
		}
		records[r.ID] = r
		if len(records) > maxOverlay {
			return nil, fmt.Errorf("read overlay: more than %d records", maxOverlay)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read overlay: %w", err)
	}
	return records, nil
}

// rebase notes which dump is here. sure says that the publisher was asked just
// now. Single records stay until a dump comes that is a day younger than they:
// the publisher makes dumps and single records at different moments.
func (s *syncer) rebase(f *feed, d download, sure bool) error {
	state := s.readChanges(f)
	var records map[string]overlayRecord
	if state.Overlay.Records > 0 {
		var err error
		if records, err = readOverlay(s.overlayPath(f, state.Overlay)); err != nil {
			records = nil // the dump has them, or soon will
		}
	}
	if state.Base != d.SHA256 {
		maps.DeleteFunc(records, func(_ string, r overlayRecord) bool { return s.now.Sub(r.Fetched) > overlayAge })
	}
	overlay := state.Overlay
	if len(records) != overlay.Records {
		var err error
		if overlay, err = s.writeOverlay(f, records); err != nil {
			return err
		}
	}
	f.overlay = overlay
	if !sure {
		return nil
	}
	if err := s.writeChanges(f, changeState{Base: d.SHA256, Checked: s.now, Overlay: overlay}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
