package signin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// Storage kinds of sessions.
const (
	kindSession   = "session"    // issuer, handle
	kindSessionOf = "session_of" // issuer, subject, session key: an index
)

// Session is a browser in which a person has signed in. One sign-in serves all
// clients; signing out ends it for all.
type Session struct {
	Subject string `json:"sub"`

	// AuthTime is when the person authenticated; zero where somebody else has
	// authenticated them and does not say when. Started is when the session began.
	AuthTime time.Time `json:"auth_time,omitzero"`
	Started  time.Time `json:"started"`

	AMR []string `json:"amr,omitempty"`
	ACR string   `json:"acr,omitempty"`

	Browser string    `json:"browser,omitempty"` // User-Agent, shortened
	Address string    `json:"address,omitempty"`
	Expiry  time.Time `json:"expiry"`

	Key  string      `json:"-"` // of the record
	User *users.User `json:"-"` // who it is, as of now
}

// id is what forms are bound to; empty without a session.
func (s *Session) id() string {
	if s == nil {
		return ""
	}
	return s.Key
}

func sessionOfKey(issuer, subject, key string) string { return issuer + " " + subject + " " + key }

// Session returns the session of a request, or nil if nobody is signed in: no
// cookie, one that is malformed, expired or ended, or a person who was removed,
// disabled, could not sign in any more, or has a new password since.
func (h *Handler) Session(r *http.Request) (*Session, error) {
	key, ok := record.HandleKey(h.config.URL, h.cookie(r, "session"))
	if !ok {
		return nil, nil
	}
	var s *Session
	err := h.people.store.View(r.Context(), func(tx storage.Tx) (err error) {
		s, err = h.people.LoadSession(tx, key)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return s, err
}

// LoadSession returns a session that is in force, or storage.ErrNotFound.
func (p *People) LoadSession(tx storage.Tx, key string) (*Session, error) {
	s, err := record.Get[Session](tx, kindSession, key)
	if err != nil {
		return nil, err
	}
	user, err := users.Get(tx, p.issuer, s.Subject)
	if err != nil {
		return nil, err
	}
	if !p.MayAct(user) || user.PasswordChanged.After(s.AuthTime) {
		return nil, storage.ErrNotFound
	}
	s.Key, s.User = key, user
	if s.Started.IsZero() { // of before the two times were told apart
		s.Started = s.AuthTime
	}
	return s, nil
}

// Authentication is how a person has proven who they are (OpenID Connect Core §2).
type Authentication struct {
	Time time.Time // zero: not known
	AMR  []string
	ACR  string
}

// ByPassword is authentication by a password that was checked here and now.
func ByPassword() Authentication {
	return Authentication{Time: time.Now().UTC(), AMR: []string{amrPassword}, ACR: ACRPassword}
}

// SignIn makes a session and gives the browser its cookie: always a new one, so
// that a cookie planted before is worth nothing. A session that the browser had
// is ended, and whatever the browser had begun must go on under browser, its new
// name. The error is users.ErrWrongPassword or storage.ErrNotFound if the person
// has another password, may not act or is gone since they were authenticated.
func (h *Handler) SignIn(w http.ResponseWriter, r *http.Request, user *users.User, by Authentication) (s *Session, browser string, err error) {
	handle := record.NewHandle()
	key, _ := record.HandleKey(h.config.URL, handle)
	s = &Session{
		Subject: user.ID, AuthTime: by.Time, AMR: by.AMR, ACR: by.ACR, Started: time.Now().UTC(),
		Browser: audit.Loggable(r.UserAgent()), Address: h.config.ClientIP(r),
		Expiry: record.Now().Add(h.config.SessionLifetime), Key: key, User: user,
	}
	previous, had := record.HandleKey(h.config.URL, h.cookie(r, "session"))
	var ended []ledger.Revocation
	err = h.people.store.Update(r.Context(), func(tx storage.Tx) (err error) {
		// The password was proven some time ago, as hashing takes it.
		if fresh, err := users.Get(tx, h.config.URL, user.ID); err != nil {
			return err
		} else if !h.people.MayAct(fresh) || fresh.Password != user.Password {
			return users.ErrWrongPassword
		}
		if had {
			if ended, err = h.people.replaceSession(tx, previous, s); err != nil {
				return err
			}
		}
		if err := record.Put(tx, kindSession, key, s, s.Expiry); err != nil {
			return err
		}
		return tx.Put(kindSessionOf, sessionOfKey(h.config.URL, s.Subject, key), nil, s.Expiry)
	})
	if err != nil {
		return nil, "", err
	}
	h.people.ledger.Enforce(ended...)
	browser = record.NewHandle()
	h.setCookie(w, "session", handle)
	h.setCookie(w, "browser", browser)
	return s, browser, nil
}

// replaceSession deletes the session with that key. What was granted in it goes
// over to the new one, if it is the same person who signed in again; if it is
// another one, the first has signed out.
func (p *People) replaceSession(tx storage.Tx, previous string, next *Session) (ended []ledger.Revocation, err error) {
	old, err := record.Get[Session](tx, kindSession, previous)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := p.ledger.Of(tx, old.Subject)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		switch {
		case a.Session != previous:
		case old.Subject == next.Subject:
			a.Session = next.Key
			err = errors.Join(err, p.ledger.Put(tx, a))
		case !a.Offline:
			r, failed := p.ledger.End(tx, a)
			ended, err = append(ended, r), errors.Join(err, failed)
		}
	}
	return ended, errors.Join(err, p.deleteSession(tx, previous))
}

// deleteSession deletes the session with that key, if there is one.
func (p *People) deleteSession(tx storage.Tx, key string) error {
	s, err := record.Get[Session](tx, kindSession, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(tx.Delete(kindSession, key), tx.Delete(kindSessionOf, sessionOfKey(p.issuer, s.Subject, key)))
}

// endSession ends a session, and with it what was granted in it for no longer
// than it lasts: everything but offline access.
func (p *People) endSession(ctx context.Context, subject, key string) error {
	return p.ledger.EndMatching(ctx, subject,
		func(a *ledger.Authorization) bool { return a.Session == key && !a.Offline },
		func(tx storage.Tx) error { return p.deleteSession(tx, key) })
}

// sessionsOf returns the sessions of a person that are in force.
func (p *People) sessionsOf(ctx context.Context, subject string) ([]*Session, error) {
	var all []*Session
	err := p.store.View(ctx, func(tx storage.Tx) error {
		all = all[:0]
		var keys []string
		prefix := sessionOfKey(p.issuer, subject, "")
		err := tx.List(kindSessionOf, prefix, func(key string, _ []byte) error {
			keys = append(keys, key[len(prefix):])
			return nil
		})
		for _, key := range keys {
			switch s, err := p.LoadSession(tx, key); {
			case err == nil:
				all = append(all, s)
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
		}
		return err
	})
	return all, err
}

// CheckGrantor refuses what was granted by a person who is no longer there, or has
// taken all access back by setting a new password, and what was granted to a
// client that is another one by now, or was disabled since. Every grant that a
// person stands behind asks it.
func (p *People) CheckGrantor(tx storage.Tx, a *ledger.Authorization, client *clients.Client) error {
	if a.Created.Before(client.Created) {
		return oauth.Refuse(oauth.InvalidGrant, "this was granted to an earlier client of the same id")
	}
	if !client.LastDisabled.IsZero() && !a.Created.After(client.LastDisabled) {
		return oauth.Refuse(oauth.InvalidGrant, "this was granted before the client was disabled, which has ended it")
	}
	switch inForce, err := client.IsInForce(tx, p.issuer); {
	case err != nil:
		return err
	case !inForce:
		return oauth.Refuse(oauth.InvalidGrant, "the client was removed or disabled meanwhile")
	}
	user, err := users.Get(tx, p.issuer, a.Subject)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return oauth.Refuse(oauth.InvalidGrant, "the account that granted this is gone or disabled")
	case err != nil:
		return err
	case !p.MayAct(user):
		return oauth.Refuse(oauth.InvalidGrant, "the account that granted this is gone or disabled, or nobody can sign in to it any more")
	case user.PasswordChanged.After(a.AuthTime):
		return oauth.Refuse(oauth.InvalidGrant, "the person who granted this has set a new password since; ask them to sign in again")
	}
	return nil
}

// CheckStillGranted refuses what a person has taken back before it was redeemed:
// they have signed out, or disconnected the client. Neither could find an
// authorization that was not written yet. That they have agreed anew since gives
// nothing back: agreement is the one that the authorization rests on. Codes and
// device codes ask it.
func (p *People) CheckStillGranted(tx storage.Tx, a *ledger.Authorization, agreement string, client *clients.Client) error {
	if err := p.CheckGrantor(tx, a, client); err != nil {
		return err
	}
	takenBack := oauth.Refuse(oauth.InvalidGrant, "the person has signed out or disconnected this client since")
	switch _, err := p.LoadSession(tx, a.Session); {
	case errors.Is(err, storage.ErrNotFound):
		return takenBack
	case err != nil:
		return err
	}
	agreed, err := record.Get[consent](tx, kindConsent, consentKey(p.issuer, a.Subject, client.ID))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return takenBack
	case err != nil:
		return err
	case agreed.ID != agreement, !agreed.covers(a.Scope, a.Audience):
		return takenBack
	}
	return nil
}
