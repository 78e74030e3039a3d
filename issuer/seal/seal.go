// Package seal protects what the issuer gives out and gets back without keeping
// it: unfinished business in forms and addresses, device codes, the tokens of
// forms.
//
//	seal.go    what is protected, and how
//	secret.go  the secret behind it, as it is stored
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// Sealer protects what the issuer gives to a browser and gets back: nothing an
// anonymous visitor does is a write, so what is known of an unfinished sign-in
// travels in its forms.
type Sealer struct {
	box       cipher.AEAD
	csrf      []byte
	successor []byte
}

func newSealer(secret []byte) (*Sealer, error) {
	derive := func(purpose string) ([]byte, error) { return hkdf.Key(sha256.New, secret, nil, purpose, 32) }
	seal, err1 := derive("seal")
	csrf, err2 := derive("csrf")
	successor, err3 := derive("refresh token successor")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{box: box, csrf: csrf, successor: successor}, nil
}

// Seal encrypts and authenticates v for one purpose.
func (s *Sealer) Seal(purpose string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	// The box makes its nonces itself (cipher.NewGCMWithRandomNonce).
	return base64.RawURLEncoding.EncodeToString(s.box.Seal(nil, nil, plain, []byte(purpose))), nil //nolint:gosec // G407: see above
}

// errUnsealable: the text was not sealed here for that purpose.
var errUnsealable = errors.New("not sealed by this issuer for this purpose")

// Unseal is the reverse of seal.
func (s *Sealer) Unseal(purpose, text string, v any) error {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return errUnsealable
	}
	plain, err := s.box.Open(nil, nil, sealed, []byte(purpose))
	if err != nil {
		return errUnsealable
	}
	return json.Unmarshal(plain, v)
}

// CSRFToken is the token of one form, for one browser and one session.
func (s *Sealer) CSRFToken(form, browser, session string) string {
	return macText(s.csrf, form, browser, session)
}

// SuccessorOf is the refresh token that follows another one. Whoever has both this secret and the earlier token can compute
// it again: that is how a repeated request gets the same answer though only
// hashes are stored. Its time is that of the earlier token's first use.
func (s *Sealer) SuccessorOf(refreshToken string, used time.Time) string {
	mac := hmac.New(sha256.New, s.successor)
	mac.Write([]byte(refreshToken))
	return record.HandleOf(used, mac.Sum(nil)) // of its 256 bits, 240
}

func macText(key []byte, parts ...string) string {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		_, _ = fmt.Fprintf(mac, "%d:%s", len(part), part) // a hash takes everything
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
