package issuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindRegistrationToken is the storage kind of initial access tokens: issuer,
// handle.
const kindRegistrationToken = "registration_token"

// Bounds of an initial access token.
const (
	maxRegistrationTokenUses     = 1000
	maxRegistrationTokenLifetime = 366 * 24 * time.Hour
)

// ErrRegistrationToken: an initial access token would open nothing, because
// registration is off or open to all. The text is for operators.
var ErrRegistrationToken = errors.New("this issuer does not take registration tokens; write registration token in its block")

// RegistrationToken is an initial access token (RFC 7591 §1.2): it lets its
// holder register a client, a number of times. The token itself is a handle, and
// only its hash is kept.
type RegistrationToken struct {
	// ID names the token for operators. It opens nothing.
	ID string `json:"id"`
	// Uses is how many registrations are left.
	Uses    int       `json:"uses"`
	Created time.Time `json:"created"`
	Expiry  time.Time `json:"expiry"`
}

// CreateRegistrationToken makes an initial access token for that many
// registrations (1 to 1,000) within lifetime (a minute to 366 days). The token
// is returned this once. The error is ErrRegistrationToken if registration is
// not by token, says what is wrong with the numbers, or is the storage's.
func (i *Issuer) CreateRegistrationToken(ctx context.Context, uses int, lifetime time.Duration) (token string, made *RegistrationToken, err error) {
	switch {
	case i.config.Registration.Mode != RegistrationByToken:
		return "", nil, ErrRegistrationToken
	case uses < 1 || uses > maxRegistrationTokenUses:
		return "", nil, fmt.Errorf("uses: want 1 to %d", maxRegistrationTokenUses)
	case lifetime < time.Minute || lifetime > maxRegistrationTokenLifetime:
		return "", nil, fmt.Errorf("lifetime: want %s to %s", time.Minute, maxRegistrationTokenLifetime)
	}
	token = record.NewHandle()
	key, _ := record.HandleKey(i.config.URL, token)
	made = &RegistrationToken{ID: rand.Text()[:12], Uses: uses, Created: record.Now(), Expiry: record.Now().Add(lifetime)}
	err = i.state.Storage.Update(ctx, func(tx storage.Tx) error {
		return record.Put(tx, kindRegistrationToken, key, made, made.Expiry)
	})
	if err != nil {
		return "", nil, err
	}
	i.trail.RecordOperation(ctx, audit.RegistrationTokenCreated, slog.String("registration_token_id", made.ID), slog.Int("uses", made.Uses))
	return token, made, nil
}

// ListRegistrationTokens returns a part of the initial access tokens in force, in no
// particular order, and the After of the next one; it is empty where nothing is
// left.
func (i *Issuer) ListRegistrationTokens(ctx context.Context, part record.Part) (found []*RegistrationToken, next string, err error) {
	err = i.state.Storage.View(ctx, func(tx storage.Tx) (err error) {
		found = found[:0]
		next, err = record.List(tx, kindRegistrationToken, i.config.URL+" ", part, func(_ string, value []byte) error {
			token, err := record.Decode[RegistrationToken](kindRegistrationToken, value)
			found = append(found, token)
			return err
		})
		return err
	})
	return found, next, err
}

// RemoveRegistrationToken ends an initial access token by its ID. It returns an
// error that is storage.ErrNotFound if there is none.
func (i *Issuer) RemoveRegistrationToken(ctx context.Context, id string) error {
	err := i.state.Storage.Update(ctx, func(tx storage.Tx) error {
		found := ""
		err := i.eachRegistrationToken(tx, func(key string, token *RegistrationToken) {
			if token.ID == id {
				found = key
			}
		})
		if err != nil {
			return err
		}
		if found == "" {
			return storage.ErrNotFound
		}
		return tx.Delete(kindRegistrationToken, found)
	})
	if err == nil {
		i.trail.RecordOperation(ctx, audit.RegistrationTokenRemoved, slog.String("registration_token_id", id))
	}
	return err
}

func (i *Issuer) eachRegistrationToken(tx storage.Tx, visit func(key string, token *RegistrationToken)) error {
	return tx.List(kindRegistrationToken, i.config.URL+" ", func(key string, value []byte) error {
		token, err := record.Decode[RegistrationToken](kindRegistrationToken, value)
		if err == nil {
			visit(key, token)
		}
		return err
	})
}

// initialToken returns the storage key of the initial access token that a
// registration needs, "" if it needs none. That the token is good is found out
// here too, so that without one nobody learns what this server makes of a
// request; it is used only later, by useInitialToken.
func (i *Issuer) initialToken(r *http.Request) (key string, err error) {
	if i.config.Registration.Mode != RegistrationByToken {
		return "", nil
	}
	token, err := registrationBearer(r)
	if err != nil {
		return "", err
	}
	key, ok := record.HandleKey(i.config.URL, token)
	if !ok {
		return "", errInitialToken("not an initial access token")
	}
	err = i.state.Storage.View(r.Context(), func(tx storage.Tx) error {
		_, err := record.Get[RegistrationToken](tx, kindRegistrationToken, key)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		err = errInitialToken("unknown, expired or used")
	}
	return key, err
}

// useInitialToken takes one use from an initial access token, in the transaction
// that writes the client: of two registrations with the last use, one is refused.
func (i *Issuer) useInitialToken(tx storage.Tx, key string) error {
	if key == "" {
		return nil
	}
	token, err := record.Get[RegistrationToken](tx, kindRegistrationToken, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return errInitialToken("used meanwhile")
	case err != nil:
		return err
	}
	if token.Uses--; token.Uses <= 0 {
		return tx.Delete(kindRegistrationToken, key)
	}
	return record.Put(tx, kindRegistrationToken, key, token, token.Expiry)
}

// errInitialToken is the answer to every initial access token that is not good.
func errInitialToken(cause string) *oauth.Error {
	return oauth.Refuse(oauth.InvalidToken, "the initial access token is unknown, expired or used up").Because(errors.New(cause))
}

// registrationBearer returns the token of a request: in the header, and with its
// scheme.
func registrationBearer(r *http.Request) (string, error) {
	token, err := introspect.FromHeader(r.Header, false)
	switch {
	case errors.Is(err, introspect.ErrMalformedRequest):
		return "", oauth.Refuse(oauth.InvalidRequest, "there is more than one Authorization header")
	case err != nil:
		return "", oauth.Refuse(oauth.InvalidToken, "send the token as Authorization: Bearer").Because(err)
	}
	return token, nil
}
