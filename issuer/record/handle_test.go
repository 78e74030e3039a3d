package record

import (
	"encoding/base64"
	"testing"
)

// TestHandleEntropy: handles are unique and their random part has no bias (RFC 6749 §10.10: 2^-128).
func TestHandleEntropy(t *testing.T) {
	const n = 10_000
	seen := make(map[string]bool)
	windows := make(map[string]bool)
	var ones [(handleSize - handleHour) * 8]int
	for range n {
		handle := NewHandle()
		b, err := base64.RawURLEncoding.Strict().DecodeString(handle)
		if err != nil || len(b) != handleSize || seen[handle] {
			t.Fatalf("%q: %v", handle, err)
		}
		seen[handle] = true
		random := b[handleHour:]
		for at := 0; at+8 <= len(random); at += 8 {
			window := string(random[at : at+8])
			if windows[window] {
				t.Fatalf("64 bits occur twice in %d handles", n)
			}
			windows[window] = true
		}
		for bit := range ones {
			ones[bit] += int(random[bit/8]>>(bit%8)) & 1
		}
	}
	for bit, count := range ones {
		if count < n/2-300 || count > n/2+300 { // six standard deviations
			t.Errorf("bit %d is set in %d of %d handles", bit, count, n)
		}
	}
}
