package rpmdb

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// The write-ahead log is a header and frames of one page each; numbers are
// big-endian, those under the check sum as its magic says: "The Write-Ahead
// Log" of SQLite's file format.
const (
	walMagic   = 0x377f0682 // little-endian sums; big-endian ones with the lowest bit set
	walVersion = 3007000
	walHeader  = 32 // bytes: magic, version, page size, checkpoint, two salts, two sums
	walFrame   = 24 // bytes: page number, pages after a commit or 0, two salts, two sums
)

// wal is what holds of a write-ahead log.
type wal struct {
	log    File
	frame  int64      // bytes of a frame
	frames []walPlace // by page number
	pages  int64      // of the database after the last commit
}

// walPlace says which frame, counted from 0, has the last content of a page.
type walPlace struct{ page, frame uint32 }

// openWAL finds the frames up to the last commit. A log, or a rest of one,
// whose sums or salts are wrong was never committed or is left from before;
// SQLite passes it over, and so does this.
func openWAL(log File, pageSize int) (wal, error) {
	w := wal{log: log, frame: walFrame + int64(pageSize)}
	head := make([]byte, walHeader)
	if log.Size < walHeader {
		return w, nil
	}
	if err := readFull(log, 0, head); err != nil {
		return w, err
	}
	magic := binary.BigEndian.Uint32(head)
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	sum := walSum(order, [2]uint32{}, head[:24])
	if magic&^1 != walMagic || sum != walStored(head[24:]) {
		return w, nil
	}
	if v := binary.BigEndian.Uint32(head[4:]); v != walVersion {
		return w, damagef("version %d", v)
	}
	if size := binary.BigEndian.Uint32(head[8:]); int64(size) != int64(pageSize) {
		return w, damagef("pages of %d bytes, and of %d in the database", size, pageSize)
	}
	err := w.scan(order, sum, head[16:24])
	return w, err
}

func walStored(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// scan follows the frames as far as their salts and sums hold.
func (w *wal) scan(order binary.ByteOrder, sum [2]uint32, salts []byte) error {
	frame := make([]byte, w.frame)
	committed := 0
	for at := int64(walHeader); at+w.frame <= w.log.Size; at += w.frame {
		if err := readFull(w.log, at, frame); err != nil {
			return err
		}
		sum = walSum(order, sum, frame[:8])
		sum = walSum(order, sum, frame[walFrame:])
		page := binary.BigEndian.Uint32(frame)
		if string(frame[8:16]) != string(salts) || sum != walStored(frame[16:]) || page == 0 {
			break
		}
		w.frames = append(w.frames, walPlace{page, uint32(len(w.frames))})
		if n := binary.BigEndian.Uint32(frame[4:]); n != 0 {
			w.pages, committed = int64(n), len(w.frames)
		}
	}
	w.frames = w.frames[:committed]
	slices.SortFunc(w.frames, func(a, b walPlace) int {
		return cmp.Or(cmp.Compare(a.page, b.page), cmp.Compare(b.frame, a.frame)) // the last content first
	})
	w.frames = slices.CompactFunc(w.frames, func(a, b walPlace) bool { return a.page == b.page })
	return nil
}

// find gives the place in the log of the last content of page n.
func (w *wal) find(n int64) (at int64, ok bool) {
	i, ok := slices.BinarySearchFunc(w.frames, n, func(p walPlace, n int64) int { return cmp.Compare(int64(p.page), n) })
	if !ok {
		return 0, false
	}
	return walHeader + int64(w.frames[i].frame)*w.frame + walFrame, true
}

// walSum goes on with SQLite's check sum over b, whose length is a multiple of
// 8: "Checksum Algorithm" of the file format.
func walSum(order binary.ByteOrder, sum [2]uint32, b []byte) [2]uint32 {
	for ; len(b) >= 8; b = b[8:] {
		sum[0] += order.Uint32(b) + sum[1]
		sum[1] += order.Uint32(b[4:]) + sum[0]
	}
	return sum
}
