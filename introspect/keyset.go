package introspect

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Key is a public key that verifies signatures.
type Key struct {
	// ID is the kid by which tokens name the key. It is never empty.
	ID string

	// Algorithm is the one algorithm the key is used with: ES256, ES384,
	// ES512, EdDSA, RS256, RS384, RS512, PS256, PS384 or PS512.
	Algorithm string

	// Public is an *ecdsa.PublicKey, an *rsa.PublicKey or an ed25519.PublicKey.
	Public crypto.PublicKey
}

// KeySet finds the keys of one issuer.
type KeySet interface {
	// Key returns the key whose ID is kid. The error is ErrUnknownKey
	// (errors.Is) when the issuer has no such key, and ErrUnavailable when that
	// cannot be told now. The Key is shared and must not be changed.
	Key(ctx context.Context, kid string) (*Key, error)
}

// ErrUnknownKey is what errors.Is finds when an issuer has no key of that kid.
var ErrUnknownKey = errors.New("the issuer has no such key")

// Bounds of a key set. They are far above what issuers publish.
const (
	maxKeySetBytes = 512 << 10
	maxKeys        = 100
	maxKidLength   = 256
	minRSABits     = 2048 // RFC 7518 §3.3
	maxRSABits     = 8192 // above, one verification takes a millisecond and more
)

// ParseKeySet reads a JWK set (RFC 7517 §5) and returns the keys in it that
// verify signatures, in the order of the set. It returns an error when the text
// is not a key set, when it holds more than 100 keys or 512 KiB, and when no
// usable key is in it.
//
// Left out, as RFC 7517 §5 asks, are keys that are not for this purpose (use
// other than sig, key_ops without verify, an alg that is unknown or does not fit
// the key) and keys that nobody should trust: symmetric ones, ones published
// with private members, RSA under 2048 or over 8192 bits, with an unfit
// exponent or of a generator whose keys can be factored (CVE-2017-15361), points
// not on their curve, Ed25519 keys of small order. A key without a kid cannot be
// named by a token and is left out too; and so are all keys that share one kid,
// because which of them is meant would be a guess.
//
// A key without alg gets the one its curve calls for, and RS256 if it is RSA:
// an issuer that signs with another RSA algorithm has to say so in its key set.
func ParseKeySet(jwksJSON []byte) ([]Key, error) {
	if len(jwksJSON) > maxKeySetBytes {
		return nil, errors.New("key set: more than 512 KiB")
	}
	set, err := parseObject(jwksJSON)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	elements, ok := set["keys"].array()
	if !ok {
		return nil, errors.New("key set: keys is not an array")
	}
	if len(elements) > maxKeys {
		return nil, fmt.Errorf("key set: more than %d keys", maxKeys)
	}
	var keys []Key
	seen := make(map[string]int, len(elements))
	for _, element := range elements {
		if key, ok := parseKey(element); ok {
			keys = append(keys, key)
			seen[key.ID]++
		}
	}
	keys = slices.DeleteFunc(keys, func(key Key) bool { return seen[key.ID] > 1 })
	if len(keys) == 0 {
		return nil, errors.New("key set: no usable key")
	}
	return keys, nil
}

// parseKey reads one JWK; ok is false for a key that is to be left out.
func parseKey(element jsonValue) (key Key, ok bool) {
	jwk, ok := element.object()
	if !ok || !forVerification(jwk) {
		return Key{}, false
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, published := jwk[private]; published {
			return Key{}, false // whoever reads the set can sign with it
		}
	}
	if key.ID, ok = jwk["kid"].str(); !ok || key.ID == "" || len(key.ID) > maxKidLength {
		return Key{}, false
	}
	var usual string
	switch kty, _ := jwk["kty"].str(); kty {
	case "EC":
		key.Public, usual = parseEC(jwk)
	case "OKP":
		key.Public, usual = parseOKP(jwk)
	case "RSA":
		key.Public, usual = parseRSA(jwk)
	}
	if key.Public == nil {
		return Key{}, false
	}
	key.Algorithm = usual
	if alg, stated := jwk["alg"]; stated {
		key.Algorithm, _ = alg.str()
	}
	algorithm := algorithmNamed(key.Algorithm)
	return key, algorithm != nil && algorithm.fits(key.Public)
}

// forVerification tells whether the key is meant to verify signatures (RFC 7517
// §4.2, §4.3).
func forVerification(jwk jsonObject) bool {
	if use, stated := jwk["use"]; stated {
		if use, ok := use.str(); !ok || use != "sig" {
			return false
		}
	}
	if operations, stated := jwk["key_ops"]; stated {
		operations, ok := operations.strings()
		return ok && slices.Contains(operations, "verify")
	}
	return true
}

// parseEC reads the coordinates of RFC 7518 §6.2.1, each exactly as long as the
// field of its curve.
func parseEC(jwk jsonObject) (crypto.PublicKey, string) {
	name, _ := jwk["crv"].str()
	for _, known := range []struct {
		curve     elliptic.Curve
		algorithm string
	}{
		{elliptic.P256(), "ES256"}, {elliptic.P384(), "ES384"}, {elliptic.P521(), "ES512"},
	} {
		params := known.curve.Params()
		if params.Name != name {
			continue
		}
		size := (params.BitSize + 7) / 8
		x, y := jwk["x"].bytes(), jwk["y"].bytes()
		if len(x) != size || len(y) != size {
			return nil, ""
		}
		// It also checks that the point is on the curve.
		public, err := ecdsa.ParseUncompressedPublicKey(known.curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, ""
		}
		return public, known.algorithm
	}
	return nil, ""
}

// parseOKP reads an Ed25519 key (RFC 8037 §2).
func parseOKP(jwk jsonObject) (crypto.PublicKey, string) {
	x := jwk["x"].bytes()
	if crv, _ := jwk["crv"].str(); crv != "Ed25519" || !soundEd25519(x) {
		return nil, ""
	}
	return ed25519.PublicKey(x), "EdDSA"
}

// soundEd25519 tells whether point is the canonical encoding of a point that is
// not of small order. Under a key of small order one signature fits many
// messages, and anybody can make it.
func soundEd25519(point []byte) bool {
	if len(point) != ed25519.PublicKeySize {
		return false
	}
	y := slices.Clone(point)
	y[31] &= 0x7f // the sign of x
	slices.Reverse(y)
	n := new(big.Int).SetBytes(y)
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	if n.Cmp(prime) >= 0 {
		return false
	}
	// The y coordinates of the eight points whose order divides the cofactor.
	for _, small := range []string{
		"0", // order 4
		"1", // order 1
		"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec", // order 2
		"05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", // order 8
		"7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", // order 8
	} {
		if order, _ := new(big.Int).SetString(small, 16); n.Cmp(order) == 0 {
			return false
		}
	}
	return true
}

// parseRSA reads the modulus and the exponent of RFC 7518 §6.3.1.
func parseRSA(jwk jsonObject) (crypto.PublicKey, string) {
	n := new(big.Int).SetBytes(jwk["n"].bytes())
	e := new(big.Int).SetBytes(jwk["e"].bytes())
	if n.BitLen() < minRSABits || n.BitLen() > maxRSABits || n.Bit(0) == 0 {
		return nil, ""
	}
	// With e = 1 every message is its own signature.
	if e.BitLen() < 2 || e.BitLen() > 31 || e.Bit(0) == 0 {
		return nil, ""
	}
	if weakGenerator(n) {
		return nil, ""
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, "RS256"
}

// StaticKeySet is a set of keys that never changes: its own issuer's keys in a
// test, or the file that an issuer handed over.
type StaticKeySet struct {
	keys map[string]*Key
}

// NewStaticKeySet returns a set of keys. Every key needs an ID of its own and a
// public key that fits its algorithm.
func NewStaticKeySet(keys ...Key) (*StaticKeySet, error) {
	set := &StaticKeySet{keys: make(map[string]*Key, len(keys))}
	for _, key := range keys {
		algorithm := algorithmNamed(key.Algorithm)
		if algorithm == nil || !algorithm.fits(key.Public) {
			return nil, fmt.Errorf("key %q: not a key for the algorithm %q", key.ID, key.Algorithm)
		}
		if key.ID == "" || set.keys[key.ID] != nil {
			return nil, fmt.Errorf("key %q: the ID is empty or repeated", key.ID)
		}
		set.keys[key.ID] = &key
	}
	return set, nil
}

// Key implements KeySet.
func (s *StaticKeySet) Key(_ context.Context, kid string) (*Key, error) {
	if key := s.keys[kid]; key != nil {
		return key, nil
	}
	return nil, ErrUnknownKey
}
