package caddymodule

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// attackKey signs whatever it is given: headers and claims that are JSON or not.
type attackKey struct {
	kid, algorithm string
	private        any // crypto.Signer, or []byte for HS256
}

// issuerKey takes the signing key of an issuer out of the storage of the running
// server.
func issuerKey(t testing.TB, issuer string) attackKey {
	t.Helper()
	var record struct {
		ID         string `json:"kid"`
		Algorithm  string `json:"alg"`
		PrivateKey []byte `json:"private_key"`
	}
	err := activeApp(t).vault.opened.Load().store.View(context.Background(), func(tx storage.Tx) error {
		return tx.List("key", issuer+" ", func(_ string, value []byte) error { return json.Unmarshal(value, &record) })
	})
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(record.PrivateKey)
	if err != nil {
		t.Fatalf("the key of %s: %v", issuer, err)
	}
	return attackKey{record.ID, record.Algorithm, private}
}

// header is that of a good access token, with changes; nil takes a member away.
func (k attackKey) header(changes map[string]any) string {
	return changed(map[string]any{"alg": k.algorithm, "typ": "at+jwt", "kid": k.kid}, changes)
}

// sign makes a JWS of any header and any payload.
func (k attackKey) sign(header, payload string) string {
	signed := b64u(header) + "." + b64u(payload)
	return signed + "." + b64u(string(k.signature(signed)))
}

// signature signs as the key does, whatever the header says.
func (k attackKey) signature(signed string) []byte {
	digest := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	switch private := k.private.(type) {
	case []byte:
		mac := hmac.New(sha256.New, private)
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, []byte(signed))
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, private, digest[:])
		if err = failed; err == nil {
			signature = make([]byte, 64)
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
		}
	default:
		panic("a key of no known kind")
	}
	if err != nil {
		panic(err)
	}
	return signature
}

// goodClaims are those of a token of issuer that the gate lets pass, with changes;
// nil takes a claim away.
func goodClaims(issuer string, changes map[string]any) string {
	now := time.Now().Unix()
	return changed(map[string]any{
		"iss": issuer, "sub": "alice", "aud": "https://api.test", "client_id": "web", "scope": "read",
		"iat": now - 10, "exp": now + 300, "jti": "attack-" + rand.Text(),
	}, changes)
}

func changed(members, changes map[string]any) string {
	maps.Copy(members, changes)
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func b64u(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
