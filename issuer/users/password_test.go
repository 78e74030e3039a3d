package users

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const validHash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// The hash of "password" with the salt "somesalt", from the test of the
// reference implementation of argon2 (argon2id, v=19, m=2^16, t=2, p=1).
const referenceHash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func TestReferenceHash(t *testing.T) {
	hash, err := parsePasswordHash(referenceHash)
	if err != nil {
		t.Fatal(err)
	}
	h := newHasher(current)
	if ok, err := h.matches(t.Context(), "password", hash); err != nil || !ok {
		t.Errorf("right password: %v, %v", ok, err)
	}
	if ok, err := h.matches(t.Context(), "Password", hash); err != nil || ok {
		t.Errorf("wrong password: %v, %v", ok, err)
	}
}

func TestPasswordHashIsParsedStrictly(t *testing.T) {
	if _, err := parsePasswordHash(validHash); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(validHash, old) {
			t.Fatalf("%q is not in the valid hash", old)
		}
		return strings.Replace(validHash, old, new, 1)
	}
	for why, text := range map[string]string{
		"empty":                             "",
		"text before it":                    " " + validHash,
		"text after it":                     validHash + "\n",
		"one part more":                     validHash + "$",
		"algorithm without memory hardness": replace("argon2id", "argon2i"),
		"another version":                   replace("v=19", "v=16"),
		"no version":                        replace("v=19$", ""),
		"gigabytes":                         replace("m=19456", "m=4194304"),
		"one KiB too many":                  replace("m=19456", "m=131073"),
		"memory beyond 32 bits":             replace("m=19456", "m=4294986752"),
		"less than 8 KiB a thread":          replace("m=19456", "m=7"),
		"no passes":                         replace("t=2", "t=0"),
		"too many passes":                   replace("t=2", "t=11"),
		"no threads":                        replace("p=1", "p=0"),
		"too many threads":                  replace("p=1", "p=9"),
		"threads beyond 8 bits":             replace("p=1", "p=257"),
		"leading zero":                      replace("t=2", "t=02"),
		"sign":                              replace("t=2", "t=+2"),
		"negative":                          replace("t=2", "t=-2"),
		"another order":                     replace("m=19456,t=2", "t=2,m=19456"),
		"a parameter more":                  replace("p=1", "p=1,keyid=AA"),
		"space":                             replace("m=19456,", "m=19456, "),
		"short salt":                        replace("c29tZXNhbHRzb21lc2FsdA", "c2FsdA"),
		"long salt":                         replace("c29tZXNhbHRzb21lc2FsdA", strings.Repeat("AAAA", 22)),
		"no salt":                           replace("c29tZXNhbHRzb21lc2FsdA", ""),
		"padding":                           replace("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHRzb21lc2FsdA=="),
		"spare bits":                        replace("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHRzb21lc2FsdB"),
		"line break in the salt":            replace("c29tZX", "c29t\nZX"),
		"no sum":                            replace(strings.Repeat("A", 43), ""),
		"short sum":                         replace(strings.Repeat("A", 43), "AAAA"),
		"huge":                              validHash + strings.Repeat("A", 1<<20),
	} {
		if _, err := parsePasswordHash(text); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v", why, err)
		} else if err.Error() != "storage: damaged: a password's hash" {
			t.Errorf("%s: the error says more than that: %v", why, err)
		}
	}
}

func FuzzPasswordHash(f *testing.F) {
	f.Add(validHash)
	f.Add(referenceHash)
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parsePasswordHash(text)
		if err != nil {
			return
		}
		if h.String() != text || !h.withinBounds() {
			t.Errorf("%q was read as %q", text, h)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h := newHasher(current)
	for b.Loop() {
		if _, err := h.hash(b.Context(), good); err != nil {
			b.Fatal(err)
		}
	}
}
