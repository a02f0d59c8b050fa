package rpmdb

// column gives the type and the bytes of a column of a row, which is a header
// of types and then the values: "Record Format" of SQLite's file format.
func column(row []byte, wanted int) (kind uint64, value []byte, err error) {
	length, at := varint(row)
	if at == 0 || length < uint64(at) || length > uint64(len(row)) {
		return 0, nil, damagef("a row of %d bytes with a header of %d", len(row), length)
	}
	types, values := row[at:length], row[length:]
	for i := 0; ; i++ {
		kind, n := varint(types)
		if n == 0 {
			return 0, nil, damagef("a row has %d columns", i)
		}
		types = types[n:]
		size := columnSize(kind)
		if size > uint64(len(values)) {
			return 0, nil, damagef("column %d of a row has %d bytes", i, size)
		}
		if i == wanted {
			return kind, values[:size], nil
		}
		values = values[size:]
	}
}

// columnSize gives the bytes of a value; types 10 and 11 are never in files.
func columnSize(kind uint64) uint64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind == 5:
		return 6
	case kind == 6 || kind == 7:
		return 8
	case kind < 5:
		return kind
	}
	return 0
}

// integer gives the value of a column that is an integer.
func integer(kind uint64, value []byte) (int64, bool) {
	switch {
	case kind == 8 || kind == 9:
		return int64(kind - 8), true
	case kind == 0 || kind > 6:
		return 0, false
	}
	n := int64(int8(value[0]))
	for _, b := range value[1:] {
		n = n<<8 | int64(b)
	}
	return n, true
}

// varint reads a number of up to nine bytes, of which the last has all its
// bits. The length is 0 when b ends too soon.
func varint(b []byte) (value uint64, length int) {
	for i, c := range b[:min(len(b), 9)] {
		if i == 8 {
			return value<<8 | uint64(c), 9
		}
		value = value<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return value, i + 1
		}
	}
	return 0, 0
}
