package cataloger

// deflateProbe is how many bytes of a deflate stream tell whether it is worth
// unpacking: the header of a block with its own codes.
const deflateProbe = 10

// mayBePacked looks at the beginning of what may be zlib's format, so that few
// of the many places that have its first byte by chance are unpacked: a valid
// header without dictionary (RFC 1950, section 2.2), and a first block (RFC
// 1951, section 3.2.3) that can stand for text.
func mayBePacked(b []byte) bool {
	if len(b) < 2+deflateProbe || b[0] != zlibMethod {
		return false
	}
	switch b[1] {
	case 0x01, 0x5e, 0x9c, 0xda:
	default:
		return false
	}
	b = b[2:]
	switch b[0] >> 1 & 3 {
	case 0: // stored: the length and its complement
		return b[1] == ^b[3] && b[2] == ^b[4]
	case 1: // fixed codes: "{" first
		return b[0]>>3 == fixedBrace&31
	case 2:
		return completeCodes(b)
	}
	return false
}

// fixedBrace is the fixed code of "{", 8 bits (0x30 + 0x7b), in the order in
// which they stand in the stream: the first of the code is the lowest here.
const fixedBrace = 0b11010101

// completeCodes reports whether the lengths of the code lengths' own code make
// up a whole code, as they do in a real block and rarely by chance.
// RFC 1951, section 3.2.7
func completeCodes(b []byte) bool {
	bits := uint64(0)
	for i := range 8 {
		bits |= uint64(b[i]) << (8 * i)
	}
	literals, distances, lengths := bits>>3&31, bits>>8&31, int(bits>>13&15)+4
	if literals > 29 || distances > 29 {
		return false
	}
	sum, pos := 0, 17
	for range lengths {
		at := pos / 8
		n := (uint(b[at]) | uint(second(b, at))<<8) >> (pos % 8) & 7
		if n > 0 {
			sum += 128 >> n
		}
		pos += 3
	}
	return sum == 128
}

// second gives the byte behind an offset, 0 at the end.
func second(b []byte, at int) byte {
	if at+1 < len(b) {
		return b[at+1]
	}
	return 0
}
