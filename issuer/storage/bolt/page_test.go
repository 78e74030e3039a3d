package bolt

import (
	"encoding/binary"
	"errors"
	"testing"
)

// leaf makes a page as bbolt does: keys, each with the value "v".
func leaf(keys ...string) []byte {
	order := binary.NativeEndian
	data := make([]byte, 256)
	order.PutUint16(data[8:], leafPage)
	order.PutUint16(data[10:], uint16(len(keys)))
	end := pageHeader + len(keys)*elementSize
	for i, key := range keys {
		at := pageHeader + i*elementSize
		order.PutUint32(data[at+4:], uint32(end-at))
		order.PutUint32(data[at+8:], uint32(len(key)))
		order.PutUint32(data[at+12:], 1)
		end += copy(data[end:], key+"v")
	}
	return data
}

// What a page says of itself has to agree, or an element would be missing, or be
// another one.
func TestPage(t *testing.T) {
	put16 := func(at int, v uint16) func([]byte) {
		return func(b []byte) { binary.NativeEndian.PutUint16(b[at:], v) }
	}
	for name, c := range map[string]struct {
		keys  []string
		spoil func([]byte)
		sound bool
	}{
		"sound":                 {[]string{"a", "b"}, func([]byte) {}, true},
		"empty":                 {nil, func([]byte) {}, true},
		"denies an element":     {[]string{"a", "b"}, put16(10, 1), false},
		"denies all elements":   {[]string{"a", "b"}, put16(10, 0), false},
		"invents an element":    {[]string{"a", "b"}, put16(10, 3), false},
		"more than it can hold": {[]string{"a", "b"}, put16(10, 0xFFFE), false},
		"of no kind":            {[]string{"a", "b"}, put16(8, 0), false},
		"a list of free pages":  {[]string{"a", "b"}, put16(8, freelistPage), false},
		"a key is longer":       {[]string{"a", "b"}, put16(pageHeader+8, 2), false},
		"a value is shorter":    {[]string{"a", "b"}, put16(pageHeader+12, 0), false},
		"ends beyond the page":  {[]string{"a", "b"}, put16(pageHeader+elementSize+14, 1), false},
		"out of order":          {[]string{"b", "a"}, func([]byte) {}, false},
		"twice":                 {[]string{"a", "a"}, func([]byte) {}, false},
		"without a key":         {[]string{"a", ""}, func([]byte) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			data := leaf(c.keys...)
			c.spoil(data)
			p, _, _ := parsePage(data)
			var found int
			_, err := p.elements(func(element) error { found++; return nil })
			if c.sound && (err != nil || found != len(c.keys)) || !c.sound && !errors.Is(err, errPage) {
				t.Errorf("%d elements, %v", found, err)
			}
		})
	}
}
