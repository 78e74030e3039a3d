package envelope

import (
	"bytes"
	"errors"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// A single flipped bit in a record must never become another user or scope: the
// answer is the right value or ErrDamaged.
func TestFlippedBits(t *testing.T) {
	good := Seal("code", "a", []byte("user=alice scope=read"), 1893456000)
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if value, expiry, err := Open("code", "a", bad); !errors.Is(err, storage.ErrDamaged) {
			t.Fatalf("bit %d flipped: %q, %d, %v; want ErrDamaged", i, value, expiry, err)
		}
	}
	for name, of := range map[string][2]string{"other key": {"code", "b"}, "other kind": {"token", "a"}, "shifted": {"cod", "ea"}} {
		if _, _, err := Open(of[0], of[1], good); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged: the record was moved", name, err)
		}
	}
	for n := range good {
		if _, _, err := Open("code", "a", good[:n]); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("cut off after %d bytes: %v, want ErrDamaged", n, err)
		}
	}
}

// One flipped bit is told from two, and from one of the key: the record may then be
// another one.
func TestOneBitOff(t *testing.T) {
	good := Seal("code", "a", []byte("user=alice scope=read"), 1893456000)
	flip := func(b []byte, bit int) []byte {
		b = bytes.Clone(b)
		b[bit/8] ^= 1 << (bit % 8)
		return b
	}
	for i := range len(good) * 8 {
		bad := flip(good, i)
		if !OneBitOff("code", "a", bad) {
			t.Fatalf("bit %d flipped: not told", i)
		}
		if two := flip(bad, (i+11)%(len(good)*8)); OneBitOff("code", "a", two) {
			t.Fatalf("bits %d and %d flipped: taken for one", i, (i+11)%(len(good)*8))
		}
		if OneBitOff("code", "c", bad) {
			t.Fatalf("bit %d flipped, and one of the key: taken for one", i)
		}
	}
	for _, key := range []string{"b", "c", "e", "i", "q", "A", "!"} {
		if OneBitOff("code", key, good) {
			t.Errorf("a bit of the key flipped, to %q: taken for one of the value", key)
		}
	}
	if OneBitOff("code", "a", good[:headerSize-1]) || OneBitOff("code", "a", good[:len(good)-1]) {
		t.Error("cut off: taken for one bit")
	}
}
