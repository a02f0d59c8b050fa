package advisory

// The codec, for tests: in a file it stands behind checksums that a fuzzer
// cannot pass.
var (
	EncodeValue = encodeValue
	DecodeValue = decodeValue
	DecodeScore = decodeScore
)
