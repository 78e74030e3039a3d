package signin

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

// ServeDevice is where people enter the code that a device shows (RFC 8628
// §3.3), and decide. Opening a link never decides anything.
func (h *Handler) ServeDevice(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		if sealed := r.URL.Query().Get("transaction"); sealed != "" {
			t, err := h.resume(r, sealed)
			if err != nil {
				return err
			}
			return h.askDevice(w, r, t)
		}
		typed := r.URL.Query().Get("user_code")
		if code, ok := device.NormalizeUserCode(typed); ok {
			typed = device.DisplayUserCode(code)
		}
		return h.showDevice(w, r, http.StatusOK, pages.Device{UserCode: audit.Loggable(typed)})
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	if f.Get(pages.FieldTransaction) != "" {
		return h.decideDevice(w, r, f)
	}
	return h.enterDevice(w, r, f)
}

// showDevice asks for the code.
func (h *Handler) showDevice(w http.ResponseWriter, r *http.Request, status int, page pages.Device) error {
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	page.Action, page.LanguageURL = h.path("/device"), h.path("/device")
	page.CSRF = h.CSRF("device", h.Browser(w, r), s)
	h.config.Pages.Device(w, r, status, page)
	return nil
}

// enterDevice takes the code that a person typed. Guesses are limited by
// address, and a right one gives back itself and no other (RFC 8628 §5.1).
func (h *Handler) enterDevice(w http.ResponseWriter, r *http.Request, f oauth.Form) error {
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	if err := h.CheckForm(r, f, "device", s); err != nil {
		return err
	}
	typed := f.Get(pages.FieldUserCode)
	// Counted before it is judged, or many guesses at once would be one.
	if wait := h.config.Guesses.Take(h.config.ClientIP(r)); wait > 0 {
		w.Header().Set("Retry-After", oauth.RetryAfter(wait))
		return h.showDevice(w, r, http.StatusTooManyRequests, pages.Device{UserCode: audit.Loggable(typed), Error: pages.DeviceThrottled, Wait: wait})
	}
	code, ok := device.NormalizeUserCode(typed)
	if ok {
		_, ok = h.config.Devices.Find(code)
	}
	if !ok {
		h.config.Trail.Record(r, audit.UserCodeUnknown)
		return h.showDevice(w, r, http.StatusBadRequest, pages.Device{UserCode: audit.Loggable(typed), Error: pages.DeviceUnknown})
	}
	h.config.Guesses.GiveBack(h.config.ClientIP(r)) // it was no guess
	return h.askDevice(w, r, h.newTransaction(forDevice, code, h.Browser(w, r)))
}

// askDevice shows what the device asks for to a person who is signed in.
func (h *Handler) askDevice(w http.ResponseWriter, r *http.Request, t *transaction) error {
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	if s == nil {
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	q, client, err := h.waitingDevice(r, t)
	if err != nil {
		return err
	}
	asked := *t
	asked.Shown = shownOf(client, "", q.Scope, q.Audience)
	sealed := h.sealed(&asked)
	page := pages.DeviceConfirm{
		Action: h.path("/device"), CSRF: h.CSRF("device "+t.ID, t.Browser, s), Transaction: sealed,
		Client: client.DisplayName(), User: s.User.Username, UserCode: device.DisplayUserCode(q.UserCode),
		Address: q.Address, Requested: q.Requested,
		LanguageURL: h.path("/device") + "?transaction=" + url.QueryEscape(sealed),
	}
	page.Scopes, page.Resources = h.describeScopes(q.Scope, notAdded), h.otherResources(q.Audience)
	if page.Offline = client.StaysConnected(q.Scope); page.Offline {
		page.OfflineFor = h.config.RefreshTokenIdleLifetime
	}
	h.config.Pages.DeviceConfirm(w, r, http.StatusOK, page)
	return nil
}

// waitingDevice returns the request that a transaction is about, and its client.
func (h *Handler) waitingDevice(r *http.Request, t *transaction) (device.Request, *clients.Client, error) {
	gone := &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorExpired, Detail: "The code has expired or was answered already. Begin again on the device."}
	q, ok := h.config.Devices.Find(t.Query)
	if t.Purpose != forDevice || !ok {
		return q, nil, gone
	}
	client, err := h.config.Client(r.Context(), q.ClientID)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled) {
		return q, nil, gone
	}
	return q, client, err
}

// decideDevice carries out what the person decided.
func (h *Handler) decideDevice(w http.ResponseWriter, r *http.Request, f oauth.Form) error {
	t, err := h.resume(r, f.Get(pages.FieldTransaction))
	if err != nil {
		return err
	}
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	if err := h.CheckForm(r, f, "device "+t.ID, s); err != nil {
		return err
	}
	if s == nil {
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	q, client, err := h.waitingDevice(r, t)
	if err != nil {
		return err
	}
	approved := false
	switch f.Get(pages.FieldAction) {
	case pages.ActionAllow:
		if t.Shown != shownOf(client, "", q.Scope, q.Audience) {
			return h.askDevice(w, r, t) // it is another question now
		}
		approved = true
	case pages.ActionDeny:
	case pages.ActionSwitchUser:
		if err := h.people.endSession(r.Context(), s.Subject, s.Key); err != nil {
			return err
		}
		h.setCookie(w, "session", "")
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	default:
		return oauth.Refuse(oauth.InvalidRequest, "the form has no decision")
	}
	switch err := h.recordDecision(r, q, client, s, approved); {
	case errors.Is(err, errOtherQuestion):
		return h.askDevice(w, r, t)
	case err != nil:
		return err
	}
	h.config.Pages.DeviceResult(w, r, http.StatusOK, pages.DeviceResult{Client: client.DisplayName(), Approved: approved, LanguageURL: h.path("/device")})
	return nil
}

// recordDecision writes the decision, which is final.
func (h *Handler) recordDecision(r *http.Request, q device.Request, client *clients.Client, s *Session, approved bool) error {
	decision := device.Decision{Denied: !approved}
	if approved {
		decision.Authorization = h.authorizationFor(client, q.Scope, q.Audience, "", s, q.Expiry)
	}
	err := h.people.store.Update(r.Context(), func(tx storage.Tx) (err error) {
		switch decided, err := device.IsDecided(tx, h.config.URL, q); {
		case err != nil:
			return err
		case decided:
			return &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorUsed, Detail: "The request of this device was answered already."}
		}
		if _, err := h.people.LoadSession(tx, s.Key); err != nil {
			return err
		}
		if approved {
			if decision.Agreement, err = h.people.agree(tx, s.Subject, client, q.Scope, q.Audience); err != nil {
				return err
			}
		}
		return device.PutDecision(tx, h.config.URL, q, &decision)
	})
	if errors.Is(err, storage.ErrNotFound) {
		return ErrForged
	}
	if err != nil {
		return err
	}
	event := audit.DeviceDenied
	if approved {
		event = audit.DeviceApproved
	}
	h.config.Trail.Record(r, event, slog.String("client_id", client.ID), slog.String("subject", s.Subject), slog.String("scope", q.Scope.String()),
		slog.Any("resource", q.Audience), slog.String("authorization_id", decision.Authorization.ID))
	return nil
}

// Wrong user codes of one address: ten, and then one in a while. Which addresses
// are many does not matter: one code among billions is right for ten minutes.
const (
	FreeGuesses = 10
	GuessRefill = 30 * time.Second
)
