package device

import (
	"crypto/rand"
	"strings"
)

// userCodeLetters are those of RFC 8628 §6.1: no vowels, so that no word comes
// out, and nothing that looks like something else.
const (
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength  = 8 // 34 bits, with few guesses allowed
)

// NewUserCode makes a code.
func NewUserCode() string {
	var code strings.Builder
	for code.Len() < userCodeLength {
		var b [1]byte
		_, _ = rand.Read(b[:])
		// 240 is a multiple of 20: no letter is likelier than another.
		if b[0] < 240 {
			code.WriteByte(userCodeLetters[b[0]%20])
		}
	}
	return code.String()
}

// DisplayUserCode is the code as it is shown: WDJB-MJHT.
func DisplayUserCode(code string) string {
	return code[:userCodeLength/2] + "-" + code[userCodeLength/2:]
}

// NormalizeUserCode brings what a person typed into the form of the code: any
// case, with dashes or spaces or without. ok is false when it cannot be one.
func NormalizeUserCode(typed string) (code string, ok bool) {
	if len(typed) > 32 {
		return "", false
	}
	var b strings.Builder
	for _, r := range strings.ToUpper(typed) {
		switch {
		case r == '-' || r == ' ':
		case strings.ContainsRune(userCodeLetters, r):
			b.WriteRune(r)
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == userCodeLength
}
