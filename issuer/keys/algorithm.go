package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// Algorithm is a JWS algorithm an issuer can sign with, by its registered name.
type Algorithm string

// The algorithms of this package. ES256 is the default: short signatures, and
// every client library knows it.
const (
	ES256 Algorithm = "ES256"
	EdDSA Algorithm = "EdDSA"
	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
)

// Algorithms lists every Algorithm, the default first.
func Algorithms() []Algorithm { return []Algorithm{ES256, EdDSA, RS256, PS256} }

// rsaBits is the least that NIST SP 800-131A allows for signatures; a key lives
// for months, not decades, and verifiers pay for every bit more.
const rsaBits = 2048

// generate makes a private key for the algorithm. It fails only when the
// system's randomness does, or the algorithm is not one of ours.
func (a Algorithm) generate() (crypto.Signer, error) {
	switch a {
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case RS256, PS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, a.Validate()
}

// fits tells whether the algorithm can be used with a key (RFC 7518 §3.1).
func (a Algorithm) fits(public crypto.PublicKey) bool {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		return a == ES256 && public.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return a == EdDSA
	case *rsa.PublicKey:
		return (a == RS256 || a == PS256) && public.N.BitLen() >= rsaBits
	}
	return false
}

// Validate tells whether a is one of Algorithms.
func (a Algorithm) Validate() error {
	switch a {
	case ES256, EdDSA, RS256, PS256:
		return nil
	}
	return fmt.Errorf("signing algorithm %q is not one of %v", string(a), Algorithms())
}

// signer returns jwx's implementation. jwx is asked for the signature alone: the
// header and the serialization are two fixed strings a key, made once.
func (a Algorithm) signer() (jws.Signer, error) {
	return jws.NewSigner(jwa.SignatureAlgorithm(a))
}
