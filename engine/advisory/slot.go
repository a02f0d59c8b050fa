package advisory

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// slotSize is the size of one slot of the hash table in bytes: 32 bits of the
// key's hash, and the number of its entry plus one. Collisions go to the next
// slot. The table is at most three quarters full.
const slotSize = 8

type slot uint64

func newSlot(hash, index uint64) slot { return slot(hash>>32<<32 | (index + 1)) }

func decodeSlot(b []byte) slot { return slot(binary.LittleEndian.Uint64(b)) }

func (s slot) empty() bool { return uint32(s) == 0 }

// fits reports whether the slot may be that of a key with this hash.
func (s slot) fits(hash uint64) bool { return uint64(s)>>32 == hash>>32 }

// index is the number of the entry. The slot is not empty.
func (s slot) index() uint64 { return uint64(uint32(s)) - 1 }

// slotCount is the size of the table for a number of keys: a power of two.
func slotCount(keys uint64) uint64 { return 1 << bits.Len64(keys+keys/3) }

// fillSlot enters one key. The table has slotCount slots, zero at first.
func fillSlot(table []byte, hash, index uint64) {
	count := uint64(len(table) / slotSize)
	for i := hash; ; i++ {
		at := i & (count - 1) * slotSize
		if decodeSlot(table[at:]).empty() {
			binary.LittleEndian.PutUint64(table[at:], uint64(newSlot(hash, index)))
			return
		}
	}
}

// hashKey is SipHash-2-4 of a key. Its secret is the digest of the index, which
// nobody knows before the last package is in: a publisher cannot choose names
// that all go to one slot. https://www.aumasson.jp/siphash/siphash.pdf
func hashKey(digest *[sha256.Size]byte, key []byte) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(digest[:]), binary.LittleEndian.Uint64(digest[8:])
	v := sipState{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	last := uint64(len(key)) << 56
	for ; len(key) >= 8; key = key[8:] {
		v.absorb(binary.LittleEndian.Uint64(key))
	}
	for i, b := range key {
		last |= uint64(b) << (8 * i)
	}
	v.absorb(last)
	v[2] ^= 0xff
	for range 4 {
		v.round()
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

type sipState [4]uint64

func (v *sipState) absorb(m uint64) {
	v[3] ^= m
	v.round()
	v.round()
	v[0] ^= m
}

func (v *sipState) round() {
	v[0] += v[1]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[3]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] += v[3]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] += v[1]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[2] = bits.RotateLeft64(v[2], 32)
}
