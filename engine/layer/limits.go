package layer

import "errors"

// Limits bound what one layer may cost. A layer beyond them gets a gap.
type Limits struct {
	Uncompressed int64 // bytes of tar; the rest is not read
	Ratio        int64 // bytes of tar for one stored byte, once FreeBytes have come
	FreeBytes    int64 // bytes of tar for which any ratio is lawful
	Window       int64 // bytes of a zstd window
	Entries      int   // paths
	PathLength   int   // bytes of one path; longer ones cannot be unpacked on Linux
	PathBytes    int64 // bytes of all paths and link targets
	Packages     int
	Owned        int // claims of package databases
	Gaps         int // what is beyond is summed up in one
}

// DefaultLimits are far above any lawful image that is known.
var DefaultLimits = Limits{
	Uncompressed: 64 << 30,
	Ratio:        200,
	FreeBytes:    1 << 30,
	Window:       64 << 20,
	Entries:      2_000_000,
	PathLength:   4096,
	PathBytes:    128 << 20,
	Packages:     200_000,
	Owned:        200_000,
	Gaps:         1000,
}

// ErrLimits: a limit is zero or negative.
var ErrLimits = errors.New("layer: every limit must be positive")

// Validate refuses limits that would read nothing.
func (l Limits) Validate() error {
	for _, n := range []int64{l.Uncompressed, l.Ratio, l.FreeBytes, l.Window, int64(l.Entries), int64(l.PathLength),
		l.PathBytes, int64(l.Packages), int64(l.Owned), int64(l.Gaps)} {
		if n <= 0 {
			return ErrLimits
		}
	}
	return nil
}
