package keys

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// thumbprint is the RFC 7638 thumbprint of a public key, base64url.
func thumbprint(public crypto.PublicKey) (string, error) {
	key, err := jwk.FromRaw(public)
	if err != nil {
		return "", fmt.Errorf("name a signing key: %w", err)
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name a signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// marshalJWKS writes the JWK Set of the given keys (RFC 7517 §5): public parts
// only, each with kid, use and alg, so that no verifier has to guess.
func marshalJWKS(keys []*key) ([]byte, error) {
	set := struct {
		Keys []jwk.Key `json:"keys"`
	}{Keys: make([]jwk.Key, 0, len(keys))}
	for _, k := range keys {
		public, err := jwk.FromRaw(k.public)
		if err != nil {
			return nil, fmt.Errorf("publish key %s: %w", k.ID, err)
		}
		for name, value := range map[string]any{
			jwk.KeyIDKey: k.ID, jwk.KeyUsageKey: "sig", jwk.AlgorithmKey: string(k.Algorithm),
		} {
			if err := public.Set(name, value); err != nil {
				return nil, fmt.Errorf("publish key %s: %w", k.ID, err)
			}
		}
		set.Keys = append(set.Keys, public)
	}
	return json.Marshal(set)
}
