package envelope

import (
	"bytes"
	"errors"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// FuzzEnvelope: of all bytes there may be in the file, those are served that Seal
// makes, and no others; every other answer is ErrDamaged. An envelope has one
// spelling, and no bit of it can be turned without notice.
func FuzzEnvelope(f *testing.F) {
	f.Add("code", "issuer key", Seal("code", "issuer key", []byte(`{"subject":"alice"}`), 1893456000), uint16(77))
	f.Add("user", "k", Seal("user", "k", nil, 0), uint16(3))
	f.Add("", "", []byte{}, uint16(0))
	f.Add("session", "x", bytes.Repeat([]byte{0xff}, headerSize), uint16(9))
	f.Fuzz(func(t *testing.T, kind, key string, stored []byte, bit uint16) {
		value, expiry, err := Open(kind, key, stored)
		switch {
		case err == nil && !bytes.Equal(Seal(kind, key, value, expiry), stored):
			t.Fatalf("%x is served as %q, which is written as %x", stored, value, Seal(kind, key, value, expiry))
		case err != nil && (!errors.Is(err, storage.ErrDamaged) || value != nil || expiry != 0):
			t.Fatalf("%x: %q, %d, %v; want ErrDamaged alone", stored, value, expiry, err)
		}
		sealed := Seal(kind, key, stored, int64(bit))
		if value, expiry, err := Open(kind, key, sealed); err != nil || !bytes.Equal(value, stored) || expiry != int64(bit) {
			t.Fatalf("what was written comes back as %q, %d, %v", value, expiry, err)
		}
		sealed[int(bit)/8%len(sealed)] ^= 1 << (bit % 8)
		if value, _, err := Open(kind, key, sealed); !errors.Is(err, storage.ErrDamaged) {
			t.Fatalf("bit %d turned: %q, %v; want ErrDamaged", bit, value, err)
		}
	})
}
