package layer

import (
	"errors"
	"time"
)

// Limits bound what one layer may cost. A layer beyond them gets a gap. Sizes
// are in bytes.
type Limits struct {
	Uncompressed int64 `yaml:"uncompressed"` // of tar; the rest is not read
	Ratio        int64 `yaml:"ratio"`        // of tar for one stored byte, once FreeBytes have come
	FreeBytes    int64 `yaml:"free_bytes"`   // of tar for which any ratio is lawful
	Window       int64 `yaml:"window"`       // of a zstd window
	Entries      int   `yaml:"entries"`      // paths
	PathLength   int   `yaml:"path_length"`  // of one path; longer ones cannot be unpacked on Linux
	PathBytes    int64 `yaml:"path_bytes"`   // of all paths and link targets
	Packages     int   `yaml:"packages"`
	Owned        int   `yaml:"owned"`    // claims of package databases
	Findings     int   `yaml:"findings"` // secrets, matches and the like
	Gaps         int   `yaml:"gaps"`     // what is beyond is summed up in one
	Memory       int64 `yaml:"memory"`   // of one file that is held in memory; a larger one goes to the spool
	Spool        int64 `yaml:"spool"`    // of all files of a layer that are held on disk at one time
	Content      int64 `yaml:"content"`  // of a file that is kept, or searched by expressions
	Contents     int64 `yaml:"contents"` // of all files of a layer that are kept
	// Work is the time that reading the files of one layer may take, beside
	// waiting for its bytes. What comes after is not read.
	Work time.Duration `yaml:"work"`
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
	Owned:        400_000,
	Findings:     10_000,
	Gaps:         1000,
	Memory:       8 << 20,
	Spool:        8 << 30,
	Content:      1 << 20,
	Contents:     16 << 20,
	Work:         30 * time.Minute,
}

// ErrLimits: a limit is zero or negative.
var ErrLimits = errors.New("layer: every limit must be positive")

// Validate refuses limits that would read nothing.
func (l Limits) Validate() error {
	for _, n := range []int64{l.Uncompressed, l.Ratio, l.FreeBytes, l.Window, int64(l.Entries), int64(l.PathLength),
		l.PathBytes, int64(l.Packages), int64(l.Owned), int64(l.Findings), int64(l.Gaps), l.Memory, l.Spool, l.Content, l.Contents, int64(l.Work)} {
		if n <= 0 {
			return ErrLimits
		}
	}
	return nil
}
