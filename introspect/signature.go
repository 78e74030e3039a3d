package introspect

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that signatureAlgorithms names
	_ "crypto/sha512"
	"errors"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// signatureAlgorithm is an entry of RFC 7518 §3.1, or EdDSA of RFC 8037.
type signatureAlgorithm struct {
	name     string
	keyType  string // kty
	curve    string // crv, empty for RSA
	hash     crypto.Hash
	pss      bool
	sigBytes int // length of a signature, 0 where the key decides
}

// signatureAlgorithms are all that this package knows. There is no symmetric
// one among them and no "none", so no setting can let them in (RFC 8725 §3.1,
// §3.2).
var signatureAlgorithms = [...]signatureAlgorithm{
	{name: "ES256", keyType: "EC", curve: "P-256", hash: crypto.SHA256, sigBytes: 64},
	{name: "ES384", keyType: "EC", curve: "P-384", hash: crypto.SHA384, sigBytes: 96},
	{name: "ES512", keyType: "EC", curve: "P-521", hash: crypto.SHA512, sigBytes: 132},
	{name: "EdDSA", keyType: "OKP", curve: "Ed25519", sigBytes: ed25519.SignatureSize},
	{name: "RS256", keyType: "RSA", hash: crypto.SHA256},
	{name: "RS384", keyType: "RSA", hash: crypto.SHA384},
	{name: "RS512", keyType: "RSA", hash: crypto.SHA512},
	{name: "PS256", keyType: "RSA", hash: crypto.SHA256, pss: true},
	{name: "PS384", keyType: "RSA", hash: crypto.SHA384, pss: true},
	{name: "PS512", keyType: "RSA", hash: crypto.SHA512, pss: true},
}

// algorithmNamed returns the algorithm whose name is exactly name, or nil.
func algorithmNamed(name string) *signatureAlgorithm {
	for i := range signatureAlgorithms {
		if signatureAlgorithms[i].name == name {
			return &signatureAlgorithms[i]
		}
	}
	return nil
}

var errSignature = errors.New("signature does not verify")

// verifySignature checks the signature of signed, the first two parts of a JWS
// as they were sent. The key's own algorithm is used, whatever a header says.
//
// An ECDSA signature (r, s) has a twin (r, n-s) that is as valid: a token can so
// have two spellings. Deny lists must go by the claims (iss and jti), never by
// the text of the token.
func verifySignature(key *Key, signed, signature []byte) error {
	algorithm := algorithmNamed(key.Algorithm)
	if algorithm == nil || !algorithm.fits(key.Public) {
		return errSignature
	}
	// RFC 7518 §3.3, §3.4, §3.5: exactly as long as the modulus or the curve says.
	if len(signature) != algorithm.signatureLength(key.Public) {
		return errSignature
	}
	if algorithm.pss {
		return verifyPSS(key.Public.(*rsa.PublicKey), algorithm.hash, signed, signature)
	}
	verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(algorithm.name))
	if err != nil {
		return errSignature
	}
	if verifier.Verify(signed, signature, key.Public) != nil {
		return errSignature
	}
	return nil
}

// verifyPSS stands apart because jwx accepts a salt of any length, and RFC 7518
// §3.5 wants one as long as the hash.
func verifyPSS(key *rsa.PublicKey, hash crypto.Hash, signed, signature []byte) error {
	h := hash.New()
	h.Write(signed)
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	if rsa.VerifyPSS(key, hash, h.Sum(nil), signature, options) != nil {
		return errSignature
	}
	return nil
}

// fits tells whether public is a key for this algorithm.
func (a *signatureAlgorithm) fits(public crypto.PublicKey) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return a.keyType == "EC" && key.Curve != nil && key.Curve.Params().Name == a.curve
	case ed25519.PublicKey:
		return a.keyType == "OKP" && len(key) == ed25519.PublicKeySize
	case *rsa.PublicKey:
		return a.keyType == "RSA" && key.N != nil
	}
	return false
}

func (a *signatureAlgorithm) signatureLength(public crypto.PublicKey) int {
	if key, ok := public.(*rsa.PublicKey); ok {
		return key.Size()
	}
	return a.sigBytes
}
