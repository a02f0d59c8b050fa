package advisory

// The codec, for tests: in a file it stands behind checksums that a fuzzer
// cannot pass.
var (
	EncodeValue = encodeValue
	DecodeValue = decodeValue
	DecodeScore = decodeScore
)

// ShrinkArena makes a builder keep few bytes in memory, and so write many runs.
func (b *Builder) ShrinkArena(bytes int) { b.sorter.limit = bytes }
