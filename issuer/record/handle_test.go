package record

import (
	"encoding/base64"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestHandleEntropy: handles are unique and their random part has no bias (RFC 6749 §10.10: 2^-128).
func TestHandleEntropy(t *testing.T) {
	const n = 10_000
	seen := make(map[string]bool)
	windows := make(map[string]bool)
	var ones [handleEntropy * 8]int
	for range n {
		handle := NewHandle()
		b, err := base64.RawURLEncoding.Strict().DecodeString(handle)
		if err != nil || len(b) != handleSize || seen[handle] {
			t.Fatalf("%q: %v", handle, err)
		}
		seen[handle] = true
		random := b[handleTime:]
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

// Keys sort by the time that their handles were made, to the millisecond, and ids
// by theirs: what is written together lies together.
func TestKeysGrowWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys, ids []string
		for range 1000 {
			key, ok := HandleKey("https://auth.test", NewHandle())
			if !ok {
				t.Fatal("a handle is none")
			}
			keys, ids = append(keys, key), append(ids, NewID())
			time.Sleep(time.Millisecond)
		}
		if !slices.IsSorted(keys) {
			t.Error("keys do not sort by time")
		}
		if !slices.IsSorted(ids) {
			t.Error("ids do not sort by time")
		}
	})
}

// A handle of the earlier form finds the record that was written for it then.
func TestEarlierHandle(t *testing.T) {
	const handle = "B5fUAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"
	key, ok := HandleKey("https://auth.test", handle)
	if want := "https://auth.test 0797d4YRCI2ufHzUqsV3nSDduatokOziHwzmCXG3-dx-s3K-E"; !ok || key != want {
		t.Errorf("HandleKey = %q, %t, want %q", key, ok, want)
	}
	for _, other := range []string{handle[:40], handle + "AAAAAAAA", handle[:43], handle + "\n", ""} {
		if key, ok := HandleKey("https://auth.test", other); ok {
			t.Errorf("%q has the key %q", other, key)
		}
	}
}
