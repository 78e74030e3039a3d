package introspect_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// Tokens of an issuer, verified with its published keys and nothing else.
func Example() {
	// What an issuer does; here, to have a token.
	encode := base64.RawURLEncoding.EncodeToString
	public, private, _ := ed25519.GenerateKey(nil)
	jwks := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026-01","x":%q}]}`, encode(public))
	now := time.Now().Unix()
	signed := encode([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"2026-01"}`)) + "." + encode(fmt.Appendf(nil,
		`{"iss":"https://auth.example.com","aud":"https://api.example.com/orders","sub":"alice","client_id":"shop",`+
			`"scope":"orders:read","jti":"1","iat":%d,"exp":%d}`, now, now+300))
	token := signed + "." + encode(ed25519.Sign(private, []byte(signed)))

	// What an API does.
	keys, err := introspect.ParseKeySet([]byte(jwks))
	if err != nil {
		panic(err)
	}
	set, err := introspect.NewStaticKeySet(keys...)
	if err != nil {
		panic(err)
	}
	verifier, err := introspect.NewJWT(introspect.JWTConfig{Issuer: "https://auth.example.com", Keys: set})
	if err != nil {
		panic(err)
	}
	tokens := introspect.NewCache(verifier, 10_000)

	facts, err := tokens.Introspect(context.Background(), token)
	switch {
	case errors.Is(err, introspect.ErrUnavailable):
		fmt.Println("503")
	case err != nil:
		fmt.Println("401", introspect.Challenge{Error: "invalid_token", ErrorDescription: "the token is not active"})
	case !facts.HasAudience("https://api.example.com/orders"):
		fmt.Println("401 for another API")
	case !facts.HasScope("orders:write"):
		fmt.Println("403", introspect.Challenge{Error: "insufficient_scope", Scope: "orders:write"})
	default:
		fmt.Println("200", facts.Subject)
	}
	// Output: 403 Bearer error="insufficient_scope", scope="orders:write"
}
