package issuer

import (
	"errors"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// proveDeviceCode is the device code grant (RFC 8628 §3.4). A device polls until
// the person has decided: most polls are answered from memory and a read, and
// only the one that redeems an approval writes.
func (i *Issuer) proveDeviceCode(r *tokenRequest) (*approval, error) {
	if r.Get("device_code") == "" {
		return nil, oauth.Refuse(oauth.InvalidRequest, "device_code is missing")
	}
	var q device.Request
	if err := i.realm.seal.Unseal("device code", r.Get("device_code"), &q); err != nil {
		return nil, errDeviceCode(err.Error())
	}
	switch {
	case q.ClientID != r.client.ID:
		return nil, errDeviceCode("given to client " + audit.Loggable(q.ClientID))
	case !time.Now().Before(q.Expiry):
		return nil, oauth.Refuse(oauth.ExpiredToken, "the device code has expired; begin again")
	case i.realm.devices.Poll(q):
		return nil, oauth.Refuse(oauth.SlowDown, "polled too soon; wait %d seconds longer between polls from now on", seconds(device.Interval))
	}
	decision, err := i.decisionOn(r, q)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, oauth.Refuse(oauth.AuthorizationPending, "the person has not decided yet; poll again after the interval")
	case err != nil:
		return nil, err
	case decision.Redeemed:
		i.realm.devices.Remove(q) // the poll took it in again
		return nil, errDeviceCode("redeemed already")
	case decision.Denied:
		i.realm.devices.Remove(q)
		return nil, oauth.Refuse(oauth.AccessDenied, "the person did not agree")
	}
	return i.redeemDevice(r, q)
}

func errDeviceCode(cause string) *oauth.Error {
	return oauth.Refuse(oauth.InvalidGrant, "the device code is unknown, used already, or was given to another client").Because(errors.New(cause))
}

func (i *Issuer) decisionOn(r *tokenRequest, q device.Request) (decision *device.Decision, err error) {
	err = i.state.Storage.View(r.Context(), func(tx storage.Tx) error {
		decision, err = device.GetDecision(tx, i.config.URL, q)
		return err
	})
	return decision, err
}

// redeemDevice exchanges an approval for tokens, once.
func (i *Issuer) redeemDevice(r *tokenRequest, q device.Request) (*approval, error) {
	var (
		granted      *ledger.Authorization
		audience     []string
		refreshToken string
	)
	err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) error {
		decision, err := device.GetDecision(tx, i.config.URL, q)
		if err != nil {
			return err
		}
		if decision.Redeemed || decision.Denied {
			return errDeviceCode("redeemed already")
		}
		granted = &decision.Authorization
		if err := i.realm.people.CheckStillGranted(tx, granted, decision.Agreement, r.client); err != nil {
			return err
		}
		if audience, err = i.stillOpen(r, granted); err != nil {
			return err
		}
		decision.Redeemed = true
		granted.Created = record.Now()
		if refreshToken = ""; i.givesRefreshToken(r.client, granted) {
			refreshToken = record.NewHandle()
			if err := i.putRefreshToken(tx, refreshToken, granted); err != nil {
				return err
			}
		}
		return errors.Join(
			device.PutDecision(tx, i.config.URL, q, decision),
			i.realm.ledger.Put(tx, granted))
	})
	if err != nil {
		return nil, err
	}
	i.realm.devices.Remove(q)
	return &approval{
		subject: granted.Subject, scope: granted.Scope.Intersect(r.client.Scope), audience: audience, authorizationID: granted.ID,
		refreshToken: refreshToken, authenticated: granted,
	}, nil
}
