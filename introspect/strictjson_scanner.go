package introspect

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonScanner reads the grammar of RFC 8259.
type jsonScanner struct {
	data  []byte
	pos   int
	depth int
}

// peek returns the next byte, or 0 at the end: no JSON token starts with it.
func (s *jsonScanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *jsonScanner) skipSpace() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// value reads one value and returns its text.
func (s *jsonScanner) value() (jsonValue, error) {
	s.skipSpace()
	start := s.pos
	var err error
	switch c := s.peek(); {
	case c == '{':
		err = s.object(make(jsonObject))
	case c == '[':
		err = s.array(func(jsonValue) {})
	case c == '"':
		_, err = s.str()
	case c == '-' || isDigit(c):
		err = s.number()
	case c == 't':
		err = s.literal("true")
	case c == 'f':
		err = s.literal("false")
	case c == 'n':
		err = s.literal("null")
	default:
		err = errJSONSyntax
	}
	if err != nil {
		return nil, err
	}
	return jsonValue(s.data[start:s.pos:s.pos]), nil
}

// enter steps over an opening bracket and leave over a closing one.
func (s *jsonScanner) enter() error {
	if s.depth++; s.depth > maxJSONDepth {
		return errJSONDepth
	}
	s.pos++
	s.skipSpace()
	return nil
}

func (s *jsonScanner) leave() {
	s.pos++
	s.depth--
}

// object reads an object into members.
func (s *jsonScanner) object(members jsonObject) error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.leave()
		return nil
	}
	for {
		if err := s.member(members); err != nil {
			return err
		}
		switch s.skipSpace(); s.peek() {
		case ',':
			s.pos++
			s.skipSpace()
		case '}':
			s.leave()
			return nil
		default:
			return errJSONSyntax
		}
	}
}

func (s *jsonScanner) member(members jsonObject) error {
	if s.peek() != '"' {
		return errJSONSyntax
	}
	name, err := s.str()
	if err != nil {
		return err
	}
	if _, repeated := members[name]; repeated {
		return errJSONDuplicate
	}
	if s.skipSpace(); s.peek() != ':' {
		return errJSONSyntax
	}
	s.pos++
	members[name], err = s.value()
	return err
}

// array reads an array and hands each element to visit.
func (s *jsonScanner) array(visit func(jsonValue)) error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.leave()
		return nil
	}
	for {
		element, err := s.value()
		if err != nil {
			return err
		}
		visit(element)
		switch s.skipSpace(); s.peek() {
		case ',':
			s.pos++
		case ']':
			s.leave()
			return nil
		default:
			return errJSONSyntax
		}
	}
}

func (s *jsonScanner) literal(word string) error {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return errJSONSyntax
	}
	s.pos += len(word)
	return nil
}

// number reads a number that a float64 can hold (RFC 7493 §2.2).
func (s *jsonScanner) number() error {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++ // no digit may follow: 012 is not a number
	} else if !s.digits() {
		return errJSONSyntax
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return errJSONSyntax
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return errJSONSyntax
		}
	}
	if s.pos-start > maxNumberLength {
		return errJSONNumber
	}
	if _, err := strconv.ParseFloat(string(s.data[start:s.pos]), 64); err != nil {
		return errJSONNumber
	}
	return nil
}

// digits steps over digits and tells whether there was one.
func (s *jsonScanner) digits() bool {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// str reads a string and returns it without its quotes and escapes.
func (s *jsonScanner) str() (string, error) {
	s.pos++ // the quote
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			text := s.data[start:s.pos]
			s.pos++
			if !utf8.Valid(text) {
				return "", errJSONText
			}
			return string(text), nil
		case c == '\\':
			return s.escaped(append([]byte(nil), s.data[start:s.pos]...))
		case c < 0x20:
			return "", errJSONSyntax
		}
		s.pos++
	}
	return "", errJSONSyntax
}

// escaped reads the rest of a string from its first escape on; text is what
// came before.
func (s *jsonScanner) escaped(text []byte) (string, error) {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			if !utf8.Valid(text) {
				return "", errJSONText
			}
			return string(text), nil
		case c < 0x20:
			return "", errJSONSyntax
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			text = utf8.AppendRune(text, r)
		default:
			text = append(text, c)
		}
	}
	return "", errJSONSyntax
}

// escape reads what follows a backslash.
func (s *jsonScanner) escape() (rune, error) {
	c := s.peek()
	s.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return s.unicodeEscape()
	}
	return 0, errJSONSyntax
}

// unicodeEscape reads the four digits after \u, and a second escape where the
// first is half of a surrogate pair.
func (s *jsonScanner) unicodeEscape() (rune, error) {
	r, err := s.fourHex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if s.literal(`\u`) != nil {
		return 0, errJSONText
	}
	low, err := s.fourHex()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, errJSONText
	}
	return r, nil
}

func (s *jsonScanner) fourHex() (rune, error) {
	if len(s.data)-s.pos < 4 {
		return 0, errJSONSyntax
	}
	n, err := strconv.ParseUint(string(s.data[s.pos:s.pos+4]), 16, 16)
	if err != nil {
		return 0, errJSONSyntax
	}
	s.pos += 4
	return rune(n), nil
}
