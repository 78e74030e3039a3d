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
