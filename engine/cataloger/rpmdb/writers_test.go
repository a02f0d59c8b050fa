package rpmdb_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/adler32"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// Types of header entries.
const (
	int16s      = 3
	int32s      = 4
	int64s      = 5
	textKind    = 6
	stringArray = 8
	i18n        = 9
)

// field is an entry of a header, to be written as it stands.
type field struct {
	tag, kind, count uint32
	data             []byte
}

func str(tag uint32, s string) field { return field{tag, textKind, 1, append([]byte(s), 0)} }

func list(tag uint32, all ...string) field {
	return field{tag, stringArray, uint32(len(all)), []byte(strings.Join(all, "\x00") + "\x00")}
}

func numbers(tag, kind uint32, all ...uint64) field {
	f := field{tag: tag, kind: kind, count: uint32(len(all))}
	for _, n := range all {
		switch kind {
		case int16s:
			f.data = binary.BigEndian.AppendUint16(f.data, uint16(n))
		case int64s:
			f.data = binary.BigEndian.AppendUint64(f.data, n)
		default:
			f.data = binary.BigEndian.AppendUint32(f.data, uint32(n))
		}
	}
	return f
}

// makeHeader writes a header with the fields in their order.
func makeHeader(fields ...field) []byte {
	var index, data []byte
	for _, f := range fields {
		for len(data)%8 != 0 {
			data = append(data, 0)
		}
		for _, n := range []uint32{f.tag, f.kind, uint32(len(data)), f.count} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		data = append(data, f.data...)
	}
	blob := binary.BigEndian.AppendUint32(nil, uint32(len(fields)))
	blob = binary.BigEndian.AppendUint32(blob, uint32(len(data)))
	return slices.Concat(blob, index, data)
}

// smallHeader is the least a package has, padded by so many bytes.
func smallHeader(name string, padding int) []byte {
	return makeHeader(str(1000, name), str(1001, "1"), str(1002, "2"), field{9999, 7, uint32(padding), make([]byte, padding)})
}

// unzip gives a file of testdata.
func unzip(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// makeNDB writes a Packages.db with one page of slots.
func makeNDB(blobs ...[]byte) []byte {
	out := make([]byte, 4096)
	copy(out, "RpmP")
	binary.LittleEndian.PutUint32(out[12:], 1)
	for at := 32; at < len(out); at += 16 {
		copy(out[at:], "Slot")
	}
	for i, blob := range blobs {
		number := uint32(i + 1)
		slot := out[32+16*i:]
		binary.LittleEndian.PutUint32(slot[4:], number)
		binary.LittleEndian.PutUint32(slot[8:], uint32(len(out)/16))
		entry := append([]byte("BlbS"), make([]byte, 12)...)
		binary.LittleEndian.PutUint32(entry[4:], number)
		binary.LittleEndian.PutUint32(entry[12:], uint32(len(blob)))
		entry = append(entry, blob...)
		for (len(entry)+12)%16 != 0 {
			entry = append(entry, 0)
		}
		entry = binary.LittleEndian.AppendUint32(entry, adler32.Checksum(entry))
		entry = binary.LittleEndian.AppendUint32(entry, uint32(len(blob)))
		entry = append(entry, "BlbE"...)
		binary.LittleEndian.PutUint32(slot[12:], uint32(len(entry)/16))
		out = append(out, entry...)
	}
	return out
}

// byteOrder is what the writers need of encoding/binary's orders.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// makeBerkeley writes a Packages with the blobs on one hash page each, inline
// when they have room there, else in overflow pages.
func makeBerkeley(order byteOrder, pageSize int, blobs ...[]byte) []byte {
	b := berkeleyFile{order: order, pageSize: pageSize}
	meta := b.page(8)
	order.PutUint32(meta[12:], 0x061561)
	order.PutUint32(meta[16:], 9)
	order.PutUint32(meta[20:], uint32(pageSize))
	next := order.AppendUint32([]byte{1}, 1234)
	b.hash(order.AppendUint32([]byte{1}, 0), next)
	for i, blob := range blobs {
		key := order.AppendUint32([]byte{1}, uint32(i+1))
		if len(blob) <= pageSize/4 {
			b.hash(key, append([]byte{1}, blob...))
			continue
		}
		value := order.AppendUint32([]byte{3, 0, 0, 0}, uint32(len(b.pages)+1))
		b.hash(key, order.AppendUint32(value, uint32(len(blob))))
		b.chain(blob)
	}
	order.PutUint32(meta[32:], uint32(len(b.pages)-1))
	return bytes.Join(b.pages, nil)
}

type berkeleyFile struct {
	order    byteOrder
	pageSize int
	pages    [][]byte
}

func (b *berkeleyFile) page(kind byte) []byte {
	page := make([]byte, b.pageSize)
	b.order.PutUint32(page[8:], uint32(len(b.pages)))
	page[25] = kind
	b.pages = append(b.pages, page)
	return page
}

func (b *berkeleyFile) hash(items ...[]byte) {
	page := b.page(13)
	b.order.PutUint16(page[20:], uint16(len(items)))
	end := len(page)
	for i, item := range items {
		end -= len(item)
		copy(page[end:], item)
		b.order.PutUint16(page[26+2*i:], uint16(end))
	}
}

func (b *berkeleyFile) chain(blob []byte) {
	for len(blob) > 0 {
		page := b.page(7)
		n := copy(page[26:], blob)
		b.order.PutUint16(page[22:], uint16(n))
		if blob = blob[n:]; len(blob) > 0 {
			b.order.PutUint32(page[16:], uint32(len(b.pages)))
		}
	}
}
