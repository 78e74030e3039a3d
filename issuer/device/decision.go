package device

import (
	"errors"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Decision is what a person decided about a device.
type Decision struct {
	Denied        bool                 `json:"denied,omitempty"`
	Authorization ledger.Authorization `json:"authorization"`
	Redeemed      bool                 `json:"redeemed,omitempty"`

	// Agreement is the consent that the authorization rests on.
	Agreement string `json:"agreement,omitempty"`
}

// kindDecision is the storage kind of decisions: issuer, request id.
const kindDecision = "device"

func decisionKey(issuer, id string) string { return issuer + " " + id }

// lasts is how long the decision about a request must be remembered.
func (q *Request) lasts() time.Time { return q.Expiry.Add(time.Minute) }

// GetDecision returns what was decided about a request. The error is
// storage.ErrNotFound if nothing was.
func GetDecision(tx storage.Tx, issuer string, q Request) (*Decision, error) {
	return record.Get[Decision](tx, kindDecision, decisionKey(issuer, q.ID))
}

// PutDecision writes what was decided about a request.
func PutDecision(tx storage.Tx, issuer string, q Request, decision *Decision) error {
	return record.Put(tx, kindDecision, decisionKey(issuer, q.ID), decision, q.lasts())
}

// IsDecided tells whether a request was answered already.
func IsDecided(tx storage.Tx, issuer string, q Request) (bool, error) {
	_, err := tx.Get(kindDecision, decisionKey(issuer, q.ID))
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
