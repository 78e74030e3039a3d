package clients

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// PKCE, RFC 7636, with S256 only: a plain challenge shows the verifier to
// whoever sees the request (RFC 9700 §2.1.1).

const (
	minVerifier      = 43 // RFC 7636 §4.1
	minShortVerifier = 32 // a random UUID without dashes, for clients registered so
	maxVerifier      = 128
)

// CheckChallenge judges the challenge of an authorization request.
func (c *Client) CheckChallenge(challenge, method string) error {
	if challenge == "" && method == "" {
		if c.Type == Public || !c.PKCEOptional {
			return oauth.Refuse(oauth.InvalidRequest, "code_challenge is missing; this client must use PKCE with S256 (RFC 7636)")
		}
		return nil
	}
	if method != "S256" {
		return oauth.Refuse(oauth.InvalidRequest, "code_challenge_method must be S256; it is plain when left out, which is not accepted (RFC 7636)")
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if err != nil || len(sum) != sha256.Size || len(challenge) != 43 {
		return oauth.Refuse(oauth.InvalidRequest, "code_challenge is not the unpadded base64url SHA-256 of a verifier (RFC 7636 section 4.2)")
	}
	return nil
}

// CheckVerifier judges the verifier of a token request against the challenge
// that the code was given for. One without the other is refused, so that neither
// side can be talked out of it (RFC 9700 §4.8.2).
func (c *Client) CheckVerifier(challenge, verifier string) error {
	switch {
	case challenge == "" && verifier == "":
		return nil
	case challenge == "":
		return oauth.Refuse(oauth.InvalidGrant, "code_verifier was sent, but the authorization request had no code_challenge")
	case verifier == "":
		return oauth.Refuse(oauth.InvalidGrant, "code_verifier is missing; the authorization request had a code_challenge")
	}
	shortest := minVerifier
	if c.ShortCodeVerifier {
		shortest = minShortVerifier
	}
	if len(verifier) < shortest || len(verifier) > maxVerifier || !isUnreserved(verifier) {
		return oauth.Refuse(oauth.InvalidGrant, "code_verifier must be %d to %d characters of A-Z a-z 0-9 - . _ ~ (RFC 7636 section 4.1); this one has %d characters",
			shortest, maxVerifier, len(verifier))
	}
	sum := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) != 1 {
		return oauth.Refuse(oauth.InvalidGrant, "code_verifier does not belong to the code_challenge of the authorization request")
	}
	return nil
}

func isUnreserved(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}
