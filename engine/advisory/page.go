package advisory

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync/atomic"
)

// pageSize is what one checksum covers, in bytes. Pages are those of the memory
// mapping, so a check reads no more from disk than the look-up itself.
const pageSize = 4096

// pages is how many pages lie between the header and an offset.
func pages(end uint64) uint64 { return (end - headerSize + pageSize - 1) / pageSize }

// pageSet is a set of pages: one bit for each. It is safe for concurrent use.
type pageSet []uint64

func newPageSet(end uint64) pageSet { return make(pageSet, (pages(end)+63)/64) }

func (s pageSet) has(page uint64) bool { return atomic.LoadUint64(&s[page/64])>>(page%64)&1 == 1 }

func (s pageSet) add(page uint64) { atomic.OrUint64(&s[page/64], 1<<(page%64)) }

// touch checks the pages of file[from:to], each once in the life of the index.
// No answer is taken from a page that was not touched. Called with mu held and
// bounds between the header and the sums.
func (ix *Index) touch(from, to uint64) error {
	if from >= to {
		return nil
	}
	for page := (from - headerSize) / pageSize; page <= (to-1-headerSize)/pageSize; page++ {
		if ix.checked.has(page) {
			continue
		}
		start := headerSize + page*pageSize
		content := ix.file[start:min(start+pageSize, ix.header.sumsAt)]
		if crc32.Checksum(content, castagnoli) != binary.LittleEndian.Uint32(ix.file[ix.header.sumsAt+4*page:]) {
			return fmt.Errorf("%w: checksum of page %d", ErrCorrupt, page)
		}
		ix.checked.add(page)
	}
	return nil
}

// writePageSums reads what stands behind the header and writes the checksum of
// each page, and returns the checksum of those.
func writePageSums(w io.Writer, content io.Reader) (sum uint32, err error) {
	page := make([]byte, pageSize)
	for {
		n, err := io.ReadFull(content, page)
		if n > 0 {
			b := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(page[:n], castagnoli))
			sum = crc32.Update(sum, castagnoli, b)
			if _, err := w.Write(b); err != nil {
				return 0, fmt.Errorf("write vulnerability index: %w", err)
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return sum, nil
		default:
			return 0, fmt.Errorf("read back vulnerability index: %w", err)
		}
	}
}
