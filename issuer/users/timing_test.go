package users

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/timingtest"
)

// cheap is as cheap as argon2 can be.
var cheap = argon2Parameters{memory: 8, passes: 1, threads: 1}

// TestTiming: what surrounds the hash does not tell either whether somebody has a
// name. A real hash takes 40 ms and varies by more than all that surrounds it, so
// here hashes are cheap.
func TestTiming(t *testing.T) {
	if os.Getenv("OAUTH_TEST_ALL") == "" {
		return // ./xcaddy.sh test --all
	}
	u := newUsers(t)
	u.hasher = newHasher(cheap)
	const people = 100
	for n := range people {
		person := User{Username: fmt.Sprintf("somebody%03d", n), Name: "Somebody Else", Email: "somebody@mail.example", EmailVerified: true}
		if _, err := u.Add(t.Context(), person, good); err != nil {
			t.Fatal(err)
		}
	}
	name := func(format string) func() string {
		asked := 0
		return func() string { asked++; return fmt.Sprintf(format, asked%people) }
	}
	const allowed = 4 * time.Microsecond // a ten thousandth of a real hash
	timingtest.CheckWithin(t, allowed, 100_000, name("somebody%03d"), name("no1there%03d"), func(name string) {
		u.throttle = newThrottle() // no attempt is put off
		if _, err := u.Authenticate(t.Context(), name, another, home); !errors.Is(err, ErrWrongPassword) {
			t.Errorf("%s: %v", name, err)
		}
	})
}

// The decoy is what people's records are, or to decode it would prove nothing.
func TestDecoyRecord(t *testing.T) {
	decoy, err := decode(decoyRecord)
	if err != nil {
		t.Fatal(err)
	}
	real := newID()
	if hash, err := parsePasswordHash(decoy.Password); err != nil || hash.argon2Parameters != current ||
		len(hash.salt) != saltSize || len(hash.sum) != sumSize || len(decoy.ID) != len(real) {
		t.Errorf("%+v, %v", decoy, err)
	}
}
