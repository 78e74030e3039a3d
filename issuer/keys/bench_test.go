package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
)

// BenchmarkSign shows what a token costs above the bare signature.
func BenchmarkSign(b *testing.B) {
	claims := accessTokenClaims()
	for _, algorithm := range Algorithms() {
		policy := testPolicy()
		policy.Algorithm = algorithm
		ring := openRing(b, openStorage(b, b.TempDir()), policy)
		b.Run(string(algorithm)+"/Ring", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ring.Sign("at+jwt", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
		private := ring.current.Load().keys[0].private
		b.Run(string(algorithm)+"/bare", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bareSign(algorithm, private, claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func bareSign(algorithm Algorithm, private crypto.Signer, message []byte) (err error) {
	sum := sha256.Sum256(message)
	switch algorithm {
	case ES256:
		_, err = ecdsa.SignASN1(rand.Reader, private.(*ecdsa.PrivateKey), sum[:])
	case EdDSA:
		ed25519.Sign(private.(ed25519.PrivateKey), message)
	case RS256:
		_, err = rsa.SignPKCS1v15(rand.Reader, private.(*rsa.PrivateKey), crypto.SHA256, sum[:])
	case PS256:
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		_, err = rsa.SignPSS(rand.Reader, private.(*rsa.PrivateKey), crypto.SHA256, sum[:], options)
	}
	return err
}
