package introspect

import (
	"errors"
	"strconv"
)

// JSON that carries authority is read by a reader of its own, because
// encoding/json lets pass what two readers of one token could understand
// differently: repeated members (the last one wins), member names in another
// case, bytes that are not UTF-8, lone surrogates. All of this is refused here
// (RFC 8725 §2.4, §3.10; RFC 7493 §2), at every depth.

// maxJSONDepth bounds nesting. Claims of real issuers stay under six.
const maxJSONDepth = 32

// maxNumberLength bounds the text of a number: readers after us, who may use
// arbitrary precision, must not be made to compute with a megabyte of digits.
const maxNumberLength = 64

var (
	errJSONSyntax    = errors.New("not valid JSON")
	errJSONDuplicate = errors.New("a member is repeated")
	errJSONText      = errors.New("a string is not valid Unicode text")
	errJSONDepth     = errors.New("nested too deeply")
	errJSONNumber    = errors.New("a number is out of range")
	errJSONTrailing  = errors.New("data follows the JSON value")
	errJSONObject    = errors.New("not a JSON object")
)

// jsonObject is a JSON object whose whole text, at every depth, has been checked.
type jsonObject map[string]jsonValue

// jsonValue is the text of one JSON value that has been checked. The nil value,
// which a jsonObject has for a missing member, is of no type.
type jsonValue []byte

// first returns the first byte, which tells the type.
func (v jsonValue) first() byte {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}

// parseObject reads data, which must be exactly one JSON object.
func parseObject(data []byte) (jsonObject, error) {
	s := jsonScanner{data: data}
	s.skipSpace()
	if s.peek() != '{' {
		return nil, errJSONObject
	}
	object := make(jsonObject, 16)
	if err := s.object(object); err != nil {
		return nil, err
	}
	s.skipSpace()
	if s.pos != len(data) {
		return nil, errJSONTrailing
	}
	return object, nil
}

// str returns the value if it is a string.
func (v jsonValue) str() (string, bool) {
	if v.first() != '"' {
		return "", false
	}
	s := jsonScanner{data: v}
	text, err := s.str()
	return text, err == nil
}

// number returns the value if it is a number.
func (v jsonValue) number() (float64, bool) {
	if c := v.first(); c != '-' && !isDigit(c) {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(v), 64)
	return n, err == nil
}

// object returns the members of the value if it is an object.
func (v jsonValue) object() (jsonObject, bool) {
	object, err := parseObject(v)
	return object, err == nil
}

// array returns the elements of the value if it is an array.
func (v jsonValue) array() ([]jsonValue, bool) {
	if v.first() != '[' {
		return nil, false
	}
	s := jsonScanner{data: v}
	elements := []jsonValue{}
	err := s.array(func(element jsonValue) { elements = append(elements, element) })
	return elements, err == nil
}

// strings returns the elements of the value if it is an array of strings.
func (v jsonValue) strings() ([]string, bool) {
	elements, ok := v.array()
	if !ok {
		return nil, false
	}
	texts := make([]string, len(elements))
	for i, element := range elements {
		if texts[i], ok = element.str(); !ok {
			return nil, false
		}
	}
	return texts, true
}
