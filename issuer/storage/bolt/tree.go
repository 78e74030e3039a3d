package bolt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// maxDepth is more than a tree can have.
const maxDepth = 32

// inspection reads every page of a file that is locked, without bbolt, and holds
// each against all others. bbolt's pages have no checksum: where one of them, or
// the way to it, is damaged, bbolt finds other records than were written, or none,
// and does not notice.
type inspection struct {
	file io.ReaderAt
	meta meta
	seen []uint64 // a bit for each page: it is in use, or free; changed atomically
}

// room is that for a page of each level of a tree.
type room [maxDepth][]byte

// whole looks at all pages. It calls visitor for each bucket, one after the other,
// and what that returns for each element of the bucket, in order; as many buckets at
// the same time as there are processors.
func (n *inspection) whole(visitor func(bucket string) (func(element) error, error)) error {
	n.seen = make([]uint64, n.meta.pages/64+1)
	for number := range uint64(2) { // the meta pages
		if err := n.reach(number, 1); err != nil {
			return err
		}
	}
	if err := n.free(); err != nil {
		return err
	}
	var buckets errgroup.Group
	buckets.SetLimit(runtime.GOMAXPROCS(0))
	err := n.tree(n.meta.root, new(room)[:], nil, nil, func(e element) error {
		name, value, flags := string(e.key), bytes.Clone(e.value), e.flags // its page is overwritten by the next one
		visit, err := visitor(name)
		if err != nil {
			return err
		}
		buckets.Go(func() error { return n.bucket(value, flags, visit) })
		return nil
	})
	if err = cmp.Or(buckets.Wait(), err); err != nil {
		return err
	}
	for number := range uint64(n.meta.pages) {
		if n.seen[number/64]&(1<<(number%64)) == 0 {
			return fmt.Errorf("%w: page %d is neither in use nor free", errPage, number)
		}
	}
	return nil
}

// reach notes that pages have one use, and refuses them if they have another.
func (n *inspection) reach(number, count uint64) error {
	if end := uint64(n.meta.pages); number >= end || count > end-number {
		return fmt.Errorf("%w: %d is no page", errPage, number)
	}
	for ; count > 0; number, count = number+1, count-1 {
		bit := uint64(1) << (number % 64)
		if atomic.OrUint64(&n.seen[number/64], bit)&bit != 0 {
			return fmt.Errorf("%w: page %d has two uses", errPage, number)
		}
	}
	return nil
}

// read reads a page and those that belong to it, to where there is room first.
func (n *inspection) read(number uint64, room [][]byte) (page, error) {
	if len(room) == 0 {
		return page{}, fmt.Errorf("%w: page %d lies too deep", errPage, number)
	}
	if err := n.reach(number, 1); err != nil {
		return page{}, err
	}
	data, err := n.fill(&room[0], number, 1)
	if err != nil {
		return page{}, err
	}
	p, itself, overflow := parsePage(data)
	if itself != number {
		return page{}, fmt.Errorf("%w: page %d says that it is page %d", errPage, number, itself)
	}
	if overflow == 0 {
		return p, nil
	}
	if err := n.reach(number+1, uint64(overflow)); err != nil {
		return page{}, err
	}
	p.data, err = n.fill(&room[0], number, 1+int64(overflow))
	return p, err
}

// fill reads pages into a buffer, which grows as it has to.
func (n *inspection) fill(buffer *[]byte, number uint64, pages int64) ([]byte, error) {
	size := pages * n.meta.pageSize
	if int64(len(*buffer)) < size {
		*buffer = make([]byte, size)
	}
	data := (*buffer)[:size]
	_, err := n.file.ReadAt(data, int64(number)*n.meta.pageSize)
	return data, err
}

// free reads the list of free pages.
func (n *inspection) free() error {
	p, err := n.read(n.meta.freelist, new(room)[:])
	if err != nil {
		return err
	}
	list, count := p.data[pageHeader:], uint64(p.count)
	if p.count == 0xFFFF { // the list begins with its length
		count, list = binary.NativeEndian.Uint64(list), list[8:]
	}
	if p.flags != freelistPage || count > uint64(len(list)/8) {
		return fmt.Errorf("%w: no list of free pages", errPage)
	}
	for ; count > 0; list, count = list[8:], count-1 {
		if err := n.reach(binary.NativeEndian.Uint64(list), 1); err != nil {
			return err
		}
	}
	return nil
}

// tree goes through a tree. Its keys have to be at least low, and less than high
// unless that is nil.
func (n *inspection) tree(root uint64, room [][]byte, low, high []byte, visit func(element) error) error {
	p, err := n.read(root, room)
	if err != nil {
		return err
	}
	if p.count == 0 && (low != nil || p.flags == branchPage) {
		return fmt.Errorf("%w: page %d is empty", errPage, root)
	}
	each := visit
	var left element // of a branch: the one whose right neighbour is yet to come
	if p.flags == branchPage {
		each = func(e element) (err error) {
			if left.key != nil {
				err = n.tree(left.child, room[1:], left.key, e.key, visit)
			}
			left = e
			return err
		}
	}
	_, err = p.elements(func(e element) error {
		if bytes.Compare(e.key, low) < 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			return fmt.Errorf("%w: page %d has a key of another one", errPage, root)
		}
		return each(e)
	})
	if err == nil && left.key != nil {
		err = n.tree(left.child, room[1:], left.key, high, visit)
	}
	return err
}

// bucket goes through a bucket, which has pages of its own or lies within the value
// of its element.
func (n *inspection) bucket(value []byte, flags uint32, visit func(element) error) error {
	records := func(e element) error {
		if e.flags != 0 {
			return errPage
		}
		return visit(e)
	}
	if flags != bucketFlag || len(value) < bucketHeader {
		return errPage
	}
	root, within := binary.NativeEndian.Uint64(value), value[bucketHeader:]
	switch {
	case root != 0 && len(within) == 0:
		return n.tree(root, new(room)[:], nil, nil, records)
	case root != 0 || len(within) < pageHeader:
		return errPage
	}
	p, _, _ := parsePage(within)
	end, err := p.elements(records)
	if err == nil && (p.flags != leafPage || end != uint64(len(within))) {
		err = errPage
	}
	return err
}
