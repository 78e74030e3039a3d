package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// forDevice is the purpose of a transaction in which a person decides about a
// device; its Query is the user code.
const forDevice = "device"

// serveDevice is where people enter the code that a device shows (RFC 8628
// §3.3), and decide. Opening a link never decides anything.
func (i *Issuer) serveDevice(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		if sealed := r.URL.Query().Get("transaction"); sealed != "" {
			t, err := i.resume(r, sealed)
			if err != nil {
				return err
			}
			return i.askDevice(w, r, t)
		}
		typed := r.URL.Query().Get("user_code")
		if code, ok := device.NormalizeUserCode(typed); ok {
			typed = device.DisplayUserCode(code)
		}
		return i.showDevice(w, r, http.StatusOK, pages.Device{UserCode: audit.Loggable(typed)})
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	if f.Get(pages.FieldTransaction) != "" {
		return i.decideDevice(w, r, f)
	}
	return i.enterDevice(w, r, f)
}

// showDevice asks for the code.
func (i *Issuer) showDevice(w http.ResponseWriter, r *http.Request, status int, page pages.Device) error {
	s, err := i.session(r)
	if err != nil {
		return err
	}
	page.Action, page.LanguageURL = i.path("/device"), i.path("/device")
	page.CSRF = i.csrf("device", i.browser(w, r), s)
	i.pages.Device(w, r, status, page)
	return nil
}

// enterDevice takes the code that a person typed. Guesses are limited by
// address, and a right one gives back itself and no other (RFC 8628 §5.1).
func (i *Issuer) enterDevice(w http.ResponseWriter, r *http.Request, f oauth.Form) error {
	s, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, f, "device", s); err != nil {
		return err
	}
	typed := f.Get(pages.FieldUserCode)
	// Counted before it is judged, or many guesses at once would be one.
	if wait := i.realm.guesses.Take(i.config.ClientIP(r)); wait > 0 {
		w.Header().Set("Retry-After", oauth.RetryAfter(wait))
		return i.showDevice(w, r, http.StatusTooManyRequests, pages.Device{UserCode: audit.Loggable(typed), Error: pages.DeviceThrottled, Wait: wait})
	}
	code, ok := device.NormalizeUserCode(typed)
	if ok {
		_, ok = i.realm.devices.Find(code)
	}
	if !ok {
		i.trail.Record(r, "user_code_unknown")
		return i.showDevice(w, r, http.StatusBadRequest, pages.Device{UserCode: audit.Loggable(typed), Error: pages.DeviceUnknown})
	}
	i.realm.guesses.GiveBack(i.config.ClientIP(r)) // it was no guess
	return i.askDevice(w, r, i.newTransaction(forDevice, code, i.browser(w, r)))
}

// askDevice shows what the device asks for to a person who is signed in.
func (i *Issuer) askDevice(w http.ResponseWriter, r *http.Request, t *transaction) error {
	s, err := i.session(r)
	if err != nil {
		return err
	}
	if s == nil {
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	q, client, err := i.waitingDevice(r, t)
	if err != nil {
		return err
	}
	sealed := i.sealed(t)
	page := pages.DeviceConfirm{
		Action: i.path("/device"), CSRF: i.csrf("device "+t.ID, t.Browser, s), Transaction: sealed,
		Client: client.DisplayName(), User: s.user.Username, UserCode: device.DisplayUserCode(q.UserCode),
		Address: q.Address, Requested: q.Requested,
		LanguageURL: i.path("/device") + "?transaction=" + url.QueryEscape(sealed),
	}
	page.Scopes, page.Resources = i.describeScopes(q.Scope, notAdded), i.otherResources(q.Audience)
	if page.Offline = q.Scope.Has(oauth.ScopeOfflineAccess); page.Offline {
		page.OfflineFor = i.config.RefreshTokenIdleLifetime
	}
	i.pages.DeviceConfirm(w, r, http.StatusOK, page)
	return nil
}

// waitingDevice returns the request that a transaction is about, and its client.
func (i *Issuer) waitingDevice(r *http.Request, t *transaction) (device.Request, *clients.Client, error) {
	gone := &pageError{status: http.StatusBadRequest, kind: pages.ErrorExpired, detail: "The code has expired or was answered already. Begin again on the device."}
	q, ok := i.realm.devices.Find(t.Query)
	if t.Purpose != forDevice || !ok {
		return q, nil, gone
	}
	client, err := i.Client(r.Context(), q.ClientID)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled) {
		return q, nil, gone
	}
	return q, client, err
}

// decideDevice carries out what the person decided.
func (i *Issuer) decideDevice(w http.ResponseWriter, r *http.Request, f oauth.Form) error {
	t, err := i.resume(r, f.Get(pages.FieldTransaction))
	if err != nil {
		return err
	}
	s, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, f, "device "+t.ID, s); err != nil {
		return err
	}
	if s == nil {
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	q, client, err := i.waitingDevice(r, t)
	if err != nil {
		return err
	}
	approved := false
	switch f.Get(pages.FieldAction) {
	case pages.ActionAllow:
		approved = true
	case pages.ActionDeny:
	case pages.ActionSwitchUser:
		if err := i.endSession(r.Context(), s.Subject, s.key); err != nil {
			return err
		}
		i.setCookie(w, "session", "")
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	default:
		return oauth.Refuse(oauth.InvalidRequest, "the form has no decision")
	}
	if err := i.recordDecision(r, q, client, s, approved); err != nil {
		return err
	}
	i.pages.DeviceResult(w, r, http.StatusOK, pages.DeviceResult{Client: client.DisplayName(), Approved: approved, LanguageURL: i.path("/device")})
	return nil
}

// recordDecision writes the decision, which is final.
func (i *Issuer) recordDecision(r *http.Request, q device.Request, client *clients.Client, s *session, approved bool) error {
	decision := device.Decision{Denied: !approved}
	request := &authorizationRequest{client: client, scope: q.Scope, audience: q.Audience}
	if approved {
		decision.Authorization = i.authorizationFor(request, s)
	}
	err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) error {
		switch decided, err := device.IsDecided(tx, i.config.URL, q); {
		case err != nil:
			return err
		case decided:
			return &pageError{status: http.StatusBadRequest, kind: pages.ErrorUsed, detail: "The request of this device was answered already."}
		}
		if _, err := i.loadSession(tx, s.key); err != nil {
			return err
		}
		if approved {
			if err := i.agree(tx, s.Subject, request); err != nil {
				return err
			}
		}
		return device.PutDecision(tx, i.config.URL, q, &decision)
	})
	if errors.Is(err, storage.ErrNotFound) {
		return errForged
	}
	if err != nil {
		return err
	}
	event := "device_denied"
	if approved {
		event = "device_approved"
	}
	i.trail.Record(r, event, slog.String("client_id", client.ID), slog.String("subject", s.Subject), slog.String("scope", q.Scope.String()))
	return nil
}

// Wrong user codes of one address: ten, and then one in a while. Which addresses
// are many does not matter: one code among billions is right for ten minutes.
const (
	freeGuesses = 10
	guessRefill = 30 * time.Second
)
