package introspect

import "encoding/base64"

// base64url is the encoding of RFC 7515 §2. Strict refuses bits that belong to
// no byte; the decoder would still skip line breaks, see decodeBase64URL.
var base64url = base64.RawURLEncoding.Strict()

// decodeBase64URL decodes the one canonical spelling of some bytes and refuses
// every other, so that nothing has two names.
func decodeBase64URL(text string) ([]byte, bool) {
	for i := 0; i < len(text); i++ {
		if !isBase64URL(text[i]) {
			return nil, false
		}
	}
	data, err := base64url.DecodeString(text)
	if err != nil {
		return nil, false // not what came before the fault
	}
	return data, true
}

func isBase64URL(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || isDigit(c) || c == '-' || c == '_'
}

// bytes returns what a base64url string stands for, and nil if the value is
// none.
func (v jsonValue) bytes() []byte {
	text, _ := v.str()
	data, _ := decodeBase64URL(text)
	return data
}
