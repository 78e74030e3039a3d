package issuer

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Storage kinds of what people's sign-ins leave behind. Each kind of handle has
// its own, so that a code is never found as a refresh token.
const (
	kindAuthorization = "authorization" // issuer, authorization id
	kindAuthorizedBy  = "authorized_by" // issuer, subject, authorization id: an index
	kindCode          = "code"          // issuer, handle
	kindRefreshToken  = "refresh_token" // issuer, handle
	kindSession       = "session"       // issuer, handle
	kindSessionOf     = "session_of"    // issuer, subject, session key: an index
	kindConsent       = "consent"       // issuer, subject, client id
	kindSpent         = "spent"         // issuer, transaction: a form that was answered

	kindApplication        = "application"         // issuer, reference
	kindApplicationPending = "application_pending" // issuer, reference: an index of those to answer
	kindApplicationSecret  = "application_secret"  // issuer, handle
)

// getRecord reads and decodes a record. The error is storage.ErrNotFound or
// storage.ErrDamaged.
func getRecord[T any](tx storage.Tx, kind, key string) (*T, error) {
	value, err := tx.Get(kind, key)
	if err != nil {
		return nil, err
	}
	return decodeRecord[T](kind, value)
}

func decodeRecord[T any](kind string, value []byte) (*T, error) {
	record := new(T)
	if err := json.Unmarshal(value, record); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", storage.ErrDamaged, kind, err)
	}
	return record, nil
}

// putRecord encodes and writes a record.
func putRecord(tx storage.Tx, kind, key string, record any, expiry time.Time) error {
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return tx.Put(kind, key, value, expiry)
}
