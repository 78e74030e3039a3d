package issuer

import (
	"log/slog"
	"net/http"
	"net/url"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// deviceResponse is that of RFC 8628 §3.2. interval is always there: some clients
// fail without it.
type deviceResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"`
	Interval                int64  `json:"interval"`
}

// serveDeviceAuthorization is the device authorization endpoint (RFC 8628 §3.1).
func (i *Issuer) serveDeviceAuthorization(w http.ResponseWriter, r *http.Request) {
	response, err := i.deviceAuthorization(w, r)
	if err != nil {
		i.refusals.Write(w, r, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, response)
}

func (i *Issuer) deviceAuthorization(w http.ResponseWriter, r *http.Request) (*deviceResponse, error) {
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return nil, err
	}
	client, err := i.authenticate(r.Context(), r, f)
	if err != nil {
		return nil, err
	}
	if !client.MayUse(oauth.GrantDeviceCode) {
		return nil, oauth.Refuse(oauth.UnauthorizedClient, "this client is not registered for the grant type %s", oauth.GrantDeviceCode)
	}
	q := device.Request{
		ID: record.RandomText(16), ClientID: client.ID, Address: i.config.ClientIP(r),
		Requested: record.Now(), Expiry: record.Now().Add(device.Lifetime),
	}
	if q.Scope, err = client.GrantableScope(f.Get("scope")); err != nil {
		return nil, err
	}
	if q.Audience, err = i.resources.Personal(f.All("resource"), client, q.Scope); err != nil {
		return nil, err
	}
	if err := i.awaitPerson(&q); err != nil {
		return nil, err
	}
	code, err := i.realm.seal.Seal("device code", q)
	if err != nil {
		return nil, err
	}
	i.trail.Record(r, audit.DeviceRequested, slog.String("client_id", client.ID), slog.String("scope", q.Scope.String()), slog.Any("resource", q.Audience))
	verification := i.config.URL + "/device"
	return &deviceResponse{
		DeviceCode: code, UserCode: device.DisplayUserCode(q.UserCode),
		VerificationURI:         verification,
		VerificationURIComplete: verification + "?user_code=" + url.QueryEscape(device.DisplayUserCode(q.UserCode)),
		ExpiresIn:               seconds(device.Lifetime), Interval: seconds(device.Interval),
	}, nil
}

// awaitPerson gives the request a user code and lets it wait.
func (i *Issuer) awaitPerson(q *device.Request) error {
	for range 10 { // a code that is in use is one in millions
		q.UserCode = device.NewUserCode()
		switch free, err := i.realm.devices.Add(*q); {
		case err != nil:
			return oauth.Refuse(oauth.TemporarilyUnavailable, "too many device requests are waiting; try again in some minutes").Because(err)
		case free:
			return nil
		}
	}
	return oauth.Refuse(oauth.TemporarilyUnavailable, "no free user code was found; try again")
}
