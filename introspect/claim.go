package introspect

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Claim returns a claim of the token as the JSON text it has, and whether the
// token has it. A name that begins with a slash is a JSON Pointer (RFC 6901),
// such as /realm_access/roles; any other is the name of a member, whatever
// characters it has.
//
// A claim by name costs no allocation: Claims is walked, not decoded.
func (t *Token) Claim(name string) (json.RawMessage, bool) {
	if !strings.HasPrefix(name, "/") {
		return member(t.Claims, name)
	}
	value := t.Claims
	for part := range strings.SplitSeq(name[1:], "/") {
		inner, found := member(value, unescapePointer.Replace(part))
		if !found {
			return nil, false
		}
		value = inner
	}
	return value, true
}

// unescapePointer undoes the escapes of RFC 6901 §4.
var unescapePointer = strings.NewReplacer("~1", "/", "~0", "~")

// member returns a member of an object that has been checked; false for any
// other value.
func member(object json.RawMessage, name string) (json.RawMessage, bool) {
	s := jsonScanner{data: object}
	if s.skipSpace(); s.peek() != '{' {
		return nil, false
	}
	for s.pos++; ; s.pos++ { // past the brace, or the comma
		s.skipSpace()
		if s.peek() != '"' {
			return nil, false
		}
		found := s.named(name)
		s.skipSpace()
		s.pos++ // the colon
		s.skipSpace()
		begin := s.pos
		s.skipValue()
		if found {
			return object[begin:s.pos], true
		}
		if s.skipSpace(); s.peek() != ',' {
			return nil, false
		}
	}
}

// named tells whether the string here is name, and passes it.
func (s *jsonScanner) named(name string) bool {
	begin := s.pos
	s.skipString()
	text := s.data[begin+1 : s.pos-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text) == name
	}
	decoded, err := (&jsonScanner{data: s.data[begin:s.pos]}).str()
	return err == nil && decoded == name
}

// skipString passes a checked string.
func (s *jsonScanner) skipString() {
	for s.pos++; s.pos < len(s.data) && s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			s.pos++
		}
	}
	s.pos++
}

// skipValue passes a checked value.
func (s *jsonScanner) skipValue() {
	for depth := 0; s.pos < len(s.data); {
		switch s.data[s.pos] {
		case '"':
			s.skipString()
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			s.pos++
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return
			}
			s.pos++
			continue
		default:
			s.pos++
			continue
		}
		if depth == 0 {
			return
		}
	}
}
