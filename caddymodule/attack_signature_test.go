package caddymodule

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

func unsignedToken(algorithm string) attackCode {
	return presentOne(func(a *attempt) string {
		key := issuerKey(a.T, rsaIssuer)
		return b64u(key.header(map[string]any{"alg": algorithm})) + "." + b64u(goodClaims(rsaIssuer, nil)) + "."
	})
}

// confusedToken signs with the public key as the secret of an HMAC (RFC 8725 §2.1).
func confusedToken(material string) attackCode {
	return presentOne(func(a *attempt) string {
		key := issuerKey(a.T, rsaIssuer)
		public := &key.private.(*rsa.PrivateKey).PublicKey
		issuer := rsaIssuer
		var secret []byte
		switch material {
		case "PKCS#1 DER":
			secret = x509.MarshalPKCS1PublicKey(public)
		case "JWK JSON":
			secret = publishedKey(a, key.kid)
		case "modulus n":
			secret = public.N.Bytes()
		case "x||y of EC key":
			issuer, key = ecIssuer, issuerKey(a.T, ecIssuer)
			point, err := key.private.(*ecdsa.PrivateKey).PublicKey.Bytes()
			if err != nil {
				a.Fatal(err)
			}
			secret = point[1:]
		default:
			a.Fatalf("what is %q?", material)
		}
		forged := attackKey{key.kid, "HS256", secret}
		return forged.sign(forged.header(nil), goodClaims(issuer, map[string]any{"sub": "admin"}))
	})
}

// publishedKey is the text of a key as the issuer serves it.
func publishedKey(a *attempt, kid string) []byte {
	var set struct{ Keys []json.RawMessage }
	document := a.toIssuer("GET", "/.well-known/jwks.json", "")
	if err := json.Unmarshal([]byte(document.body), &set); err != nil {
		a.Fatal(err)
	}
	for _, key := range set.Keys {
		if strings.Contains(string(key), kid) {
			return key
		}
	}
	a.Fatalf("the key %s is not published: %s", kid, document.body)
	return nil
}

func weakToken(secret string) attackCode {
	switch secret {
	case "empty key":
		secret = ""
	case "32 zero bytes":
		secret = strings.Repeat("\x00", 32)
	}
	return presentOne(func(a *attempt) string { return symmetric(a, []byte(secret)) })
}

func symmetric(a *attempt, secret []byte) string {
	key := attackKey{issuerKey(a.T, rsaIssuer).kid, "HS256", secret}
	return key.sign(key.header(nil), goodClaims(rsaIssuer, nil))
}

// ecdsaToken has a signature that some verifier once took for good.
func ecdsaToken(title string) attackCode {
	signature := func(key attackKey, signed string) []byte {
		good := key.signature(signed)
		n := key.private.(*ecdsa.PrivateKey).Params().N.Bytes()
		switch {
		case strings.HasPrefix(title, "r=s=0"):
			return make([]byte, 64)
		case strings.HasPrefix(title, "r=n, s=n"):
			return slices.Concat(n, n)
		case title == "r=0,s=1":
			return append(make([]byte, 63), 1)
		case strings.HasPrefix(title, "DER-encoded"):
			der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])})
			if err != nil {
				panic(err)
			}
			return der
		case strings.HasPrefix(title, "96-byte"):
			zeros := make([]byte, 16)
			return slices.Concat(zeros, good[:32], zeros, good[32:])
		case title == "64 random bytes":
			_, _ = rand.Read(good)
			return good
		case title == "empty":
			return nil
		}
		panic("what is " + title)
	}
	return presentOne(func(a *attempt) string {
		key := issuerKey(a.T, ecIssuer)
		signed := b64u(key.header(nil)) + "." + b64u(goodClaims(ecIssuer, nil))
		return signed + "." + b64u(string(signature(key, signed)))
	})
}

// kidToken names a key that is none; it is signed by a stranger and by an empty
// secret.
func kidToken(title string) attackCode {
	kid := strings.Trim(title, `"'`)
	if strings.HasPrefix(title, `"`) {
		kid = strings.Trim(title, `"`)
	}
	kid = wireBytes(strings.ReplaceAll(kid, `\\u`, `\u`))
	if strings.HasPrefix(kid, "AAAA...") {
		kid = strings.Repeat("A", 64<<10)
	}
	return present("/api/a", func(a *attempt) (tokens []string) {
		a.hostile = kid
		for _, key := range []attackKey{{kid, "RS256", a.keys.stranger}, {kid, "HS256", []byte{}}} {
			tokens = append(tokens, key.sign(key.header(nil), goodClaims(rsaIssuer, nil)))
		}
		return tokens
	})
}

func critToken(title string) attackCode {
	list, rest, _ := strings.Cut(title, " with ")
	header := `{"crit":` + list
	if name, value, found := strings.Cut(rest, ":"); found {
		header += `,"` + name + `":` + value
	} else {
		header += `,"b64":true`
	}
	return presentOne(func(a *attempt) string { return a.signed(members(header+"}"), nil) })
}

// typToken is of another kind than an access token (RFC 8725 §3.11).
func typToken(typ string) attackCode {
	return presentOne(func(a *attempt) string {
		header, claims := map[string]any{"typ": typ}, map[string]any(nil)
		switch typ {
		case "absent":
			header["typ"] = nil
		case "id_token":
			header["typ"], claims = "JWT", map[string]any{"aud": "web", "scope": nil, "client_id": nil, "nonce": "n"}
		}
		return a.signed(header, claims)
	})
}

// encrypted is a JWE for the key of the issuer (RFC 7516 §7.1).
func encrypted(a *attempt, plaintext string, zip jose.CompressionAlgorithm) string {
	key := issuerKey(a.T, rsaIssuer)
	recipient := jose.Recipient{Algorithm: jose.RSA_OAEP, Key: &key.private.(*rsa.PrivateKey).PublicKey, KeyID: key.kid}
	if zip != jose.NONE {
		recipient = jose.Recipient{Algorithm: jose.DIRECT, Key: make([]byte, 16), KeyID: key.kid}
	}
	encrypter, err := jose.NewEncrypter(jose.A128GCM, recipient, (&jose.EncrypterOptions{Compression: zip}).WithType("at+jwt"))
	if err != nil {
		a.Fatal(err)
	}
	object, err := encrypter.Encrypt([]byte(plaintext))
	if err != nil {
		a.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		a.Fatal(err)
	}
	return text
}
