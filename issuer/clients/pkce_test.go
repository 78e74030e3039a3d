package clients

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Verifiers of 32 characters, for clients that are registered so.
func TestShortCodeVerifier(t *testing.T) {
	for length, ok := range map[int]bool{31: false, 32: true, 43: true, 128: true, 129: false} {
		verifier := strings.Repeat("v", length)
		client := &Client{Metadata: Metadata{ShortCodeVerifier: true}}
		if err := client.CheckVerifier(challengeOf(verifier), verifier); (err == nil) != ok {
			t.Errorf("%d characters: %v", length, err)
		}
	}
}
