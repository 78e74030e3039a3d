package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The layout of a page, in the byte order of the machine: a header of number u64,
// flags u16, count u16 and overflow u32 (how many pages follow that belong to it);
// then count elements of 16 bytes, of a branch
//
//	position u32, key size u32, page u64
//
// and of a leaf
//
//	flags u32, position u32, key size u32, value size u32
//
// then their keys and values, one after the other without a gap. A position is
// counted from the beginning of its element. What is left of a page is zero.
const (
	pageHeader   = 16
	elementSize  = 16
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // of a leaf's element: a bucket, not a record
	bucketHeader = 16   // root page u64 (0: the page follows here), sequence u64
)

// errPage: what a page says of itself, or of another, is not so.
var errPage = errors.New("damaged page")

// page is a page with those that belong to it.
type page struct {
	flags, count uint16
	data         []byte
}

func parsePage(data []byte) (p page, number uint64, overflow uint32) {
	order := binary.NativeEndian
	p = page{flags: order.Uint16(data[8:]), count: order.Uint16(data[10:]), data: data}
	return p, order.Uint64(data), order.Uint32(data[12:])
}

// element is what a branch or a leaf consists of.
type element struct {
	key, value []byte
	flags      uint32 // of a leaf
	child      uint64 // of a branch
}

// element reads the ith element, and where its key and value are. Nothing of that
// has been compared with the page's size.
func (p page) element(i int) (e element, from, keyEnd, end uint64) {
	order := binary.NativeEndian
	at := pageHeader + i*elementSize
	b := p.data[at : at+elementSize]
	if p.flags == branchPage {
		from = uint64(at) + uint64(order.Uint32(b))
		keyEnd = from + uint64(order.Uint32(b[4:]))
		return element{child: order.Uint64(b[8:])}, from, keyEnd, keyEnd
	}
	from = uint64(at) + uint64(order.Uint32(b[4:]))
	keyEnd = from + uint64(order.Uint32(b[8:]))
	return element{flags: order.Uint32(b)}, from, keyEnd, keyEnd + uint64(order.Uint32(b[12:]))
}

// elements calls fn for each element and returns where the last one ends. Keys and
// values have to lie side by side, and keys to ascend: whatever bit of what a page
// says of itself is another one, one of that does not hold.
func (p page) elements(fn func(element) error) (end uint64, err error) {
	end = pageHeader + uint64(p.count)*elementSize
	size := uint64(len(p.data))
	if p.flags != branchPage && p.flags != leafPage || end > size {
		return 0, errPage
	}
	if p.count == 0 && len(bytes.TrimLeft(p.data[end:], "\x00")) > 0 {
		return 0, errPage // it has elements, and denies them
	}
	var last []byte
	for i := range int(p.count) {
		e, from, keyEnd, to := p.element(i)
		if from != end || from == keyEnd || to > size {
			return 0, errPage
		}
		e.key, e.value = p.data[from:keyEnd], p.data[keyEnd:to]
		if bytes.Compare(last, e.key) >= 0 {
			return 0, errPage
		}
		if err := fn(e); err != nil {
			return 0, err
		}
		last, end = e.key, to
	}
	return end, nil
}
