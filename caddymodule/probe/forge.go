package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// forger makes tokens as a stranger could who has seen a good one and knows the
// issuer's public keys.
type forger struct {
	good    string
	parts   [3]string // of the good token, as they are
	header  map[string]any
	claims  map[string]any
	jwks    []byte
	public  crypto.PublicKey // that verifies the good token
	foreign crypto.Signer    // another key of the same kind
}

func newForger(good string, jwks []byte) (*forger, error) {
	f := &forger{good: good, jwks: jwks}
	parts := strings.Split(good, ".")
	if len(parts) != len(f.parts) {
		return nil, fmt.Errorf("the good token has %d parts", len(parts))
	}
	copy(f.parts[:], parts)
	for n, into := range []*map[string]any{&f.header, &f.claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, into); err != nil {
			return nil, err
		}
	}
	keys, err := introspect.ParseKeySet(jwks)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key.ID == f.header["kid"] {
			f.public = key.Public
		}
	}
	f.foreign, err = keyLike(f.public)
	return f, err
}

// keyLike makes a key of the same kind.
func keyLike(public crypto.PublicKey) (crypto.Signer, error) {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ed25519.PublicKey:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case *rsa.PublicKey:
		return rsa.GenerateKey(rand.Reader, max(2048, public.N.BitLen()))
	}
	return nil, fmt.Errorf("keys of the kind %T cannot be forged here", public)
}

// with lays changes over members; nil takes one away.
func with(members, changes map[string]any) map[string]any {
	changed := maps.Clone(members)
	maps.Copy(changed, changes)
	maps.DeleteFunc(changed, func(_ string, value any) bool { return value == nil })
	return changed
}

// part encodes a header or claims.
func part(members map[string]any) string {
	text, err := json.Marshal(members)
	if err != nil {
		return "" // not of what was JSON before
	}
	return encodedPart(text)
}

func encodedPart(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// signed is a token with the claims of the good one that the foreign key signs.
func (f *forger) signed(header map[string]any) string {
	input := part(with(f.header, header)) + "." + f.parts[1]
	signature, err := signAs(fmt.Sprint(f.header["alg"]), f.foreign, input)
	if err != nil {
		return input + "."
	}
	return input + "." + encodedPart(signature)
}

// signAs signs as RFC 7518 §3 and RFC 8037 §3.1 have it.
func signAs(algorithm string, key crypto.Signer, input string) ([]byte, error) {
	digest := sha256.Sum256([]byte(input))
	switch private := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature, nil
	case *rsa.PrivateKey:
		if algorithm == "PS256" {
			return rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	}
	return key.Sign(rand.Reader, []byte(input), crypto.Hash(0))
}

// hmacSigned is a token that takes secret for the key of an HMAC.
func (f *forger) hmacSigned(secret []byte, header map[string]any) string {
	changed := with(f.header, header)
	changed["alg"] = "HS256"
	input := part(changed) + "." + f.parts[1]
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encodedPart(mac.Sum(nil))
}

// publicTexts are the public key in the forms in which a verifier may hold it, and
// may take for a secret.
func (f *forger) publicTexts() map[string][]byte {
	texts := map[string][]byte{"the JWKS": f.jwks}
	if der, err := x509.MarshalPKIXPublicKey(f.public); err == nil {
		texts["DER"] = der
		texts["PEM"] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		texts["PEM without its last line feed"] = []byte(strings.TrimSpace(string(texts["PEM"])))
	}
	if key, ok := f.public.(ed25519.PublicKey); ok {
		texts["the bare key"] = key
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(f.jwks, &set) == nil {
		for n, key := range set.Keys {
			texts[fmt.Sprint("JWK ", n)] = key
		}
	}
	return texts
}

// altered has other claims under the signature of the good token.
func (f *forger) altered(claims map[string]any) string {
	return f.parts[0] + "." + part(with(f.claims, claims)) + "." + f.parts[2]
}

// unsigned says that it needs no signature.
func (f *forger) unsigned(algorithm, signature string) string {
	return part(with(f.header, map[string]any{"alg": algorithm})) + "." + f.parts[1] + "." + signature
}
