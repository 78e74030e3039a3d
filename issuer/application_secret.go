package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const (
	// secretLinkLifetime is how long an applicant has to read the secret.
	secretLinkLifetime = 7 * 24 * time.Hour

	secretLinkPath      = "/applications/secret"
	secretLinkParameter = "link"
)

// secretLink is the one-time link at which an applicant reads the credentials of
// their client. A used one is remembered until it would have expired: whoever
// comes second must be told, since the first may have been somebody else.
type secretLink struct {
	Reference string `json:"reference"`
	ClientID  string `json:"client_id"`
	// ClientCreated tells the client from a later one with the same id.
	ClientCreated time.Time `json:"client_created"`
	Used          time.Time `json:"used,omitzero"`
	Expiry        time.Time `json:"expiry"`
}

func (i *Issuer) putSecretLink(tx storage.Tx, link string, found *secretLink) error {
	key, _ := record.HandleKey(i.config.URL, link)
	return record.Put(tx, kindApplicationSecret, key, found, found.Expiry)
}

// serveApplicationSecret asks before it shows the credentials (GET), since mail
// scanners and previews open links too, and shows them once (POST).
func (i *Issuer) serveApplicationSecret(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return i.askToReveal(w, r, r.URL.Query().Get(secretLinkParameter))
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	if err := i.signin.CheckForm(r, f, "application secret", nil); err != nil {
		return err
	}
	if f.Get(pages.FieldAction) != pages.ActionReveal {
		return oauth.Refuse(oauth.InvalidRequest, "the form asks for nothing")
	}
	return i.reveal(w, r, f.Get(pages.FieldTransaction))
}

func (i *Issuer) askToReveal(w http.ResponseWriter, r *http.Request, link string) error {
	var found *secretLink
	var client *clients.Client
	err := i.state.Storage.View(r.Context(), func(tx storage.Tx) (err error) {
		found, client, err = i.followSecretLink(tx, link)
		return err
	})
	if err != nil {
		return i.secretLinkRefused(r, found, err)
	}
	i.pages.SecretReveal(w, r, http.StatusOK, pages.SecretReveal{
		Action: i.path(secretLinkPath), CSRF: i.signin.CSRF("application secret", i.signin.Browser(w, r), nil), Transaction: link,
		Client: client.DisplayName(), Expires: found.Expiry,
		LanguageURL: i.path(secretLinkPath) + "?" + url.Values{secretLinkParameter: {link}}.Encode(),
	})
	return nil
}

// reveal makes the secret, in place of any that the client has, in the
// transaction that uses the link up: of two who press the button at once, one
// gets it.
func (i *Issuer) reveal(w http.ResponseWriter, r *http.Request, link string) error {
	var found *secretLink
	var client *clients.Client
	var secret string
	err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) (err error) {
		if found, client, err = i.followSecretLink(tx, link); err != nil {
			return err
		}
		if secret = ""; client.Type == clients.Confidential {
			secret = client.ReplaceSecrets()
			if err := clients.Put(tx, i.config.URL, client); err != nil {
				return err
			}
		}
		used := *found
		used.Used = record.Now()
		return i.putSecretLink(tx, link, &used)
	})
	if err != nil {
		return i.secretLinkRefused(r, found, err)
	}
	i.trail.Record(r, audit.ApplicationSecretRevealed, slog.String("reference", found.Reference), slog.String("client_id", client.ID))
	page := pages.Secret{Client: client.DisplayName(), ClientID: client.ID, ClientSecret: secret, TokenURL: i.config.URL + "/token"}
	if i.config.Welcome {
		page.WelcomeURL = i.path("/")
	}
	i.pages.Secret(w, r, http.StatusOK, page)
	return nil
}

var (
	errSecretLinkUsed = errors.New("the link was used already")
	errSecretLinkGone = errors.New("the client of the link is gone")
)

// followSecretLink returns an unused link and its client. found is set with
// errSecretLinkUsed too.
func (i *Issuer) followSecretLink(tx storage.Tx, link string) (found *secretLink, client *clients.Client, err error) {
	key, ok := record.HandleKey(i.config.URL, link)
	if !ok {
		return nil, nil, storage.ErrNotFound
	}
	if found, err = record.Get[secretLink](tx, kindApplicationSecret, key); err != nil {
		return nil, nil, err
	}
	if !found.Used.IsZero() {
		return found, nil, errSecretLinkUsed
	}
	client, err = clients.Get(tx, i.config.URL, found.ClientID)
	// A client has no secret until the link is followed; if it has one, an operator
	// made it.
	if errors.Is(err, storage.ErrNotFound) ||
		err == nil && (!client.Created.Equal(found.ClientCreated) || len(client.Secrets) > 0 || client.Disabled) {
		return nil, nil, errSecretLinkGone
	}
	return found, client, err
}

// secretLinkRefused is the page for a link that shows nothing.
func (i *Issuer) secretLinkRefused(r *http.Request, found *secretLink, err error) error {
	switch {
	case errors.Is(err, errSecretLinkUsed):
		i.trail.Record(r, audit.ApplicationSecretReused, slog.String("reference", found.Reference), slog.String("client_id", found.ClientID))
		return &signin.PageError{Status: http.StatusGone, Kind: pages.ErrorUsed, Cause: err,
			Detail: "The secret was shown before. If it was not you who saw it, tell the operators at once: they can replace it."}
	case errors.Is(err, errSecretLinkGone):
		return &signin.PageError{Status: http.StatusGone, Kind: pages.ErrorExpired, Detail: "The application was removed since it was approved, or an operator has given it a secret.", Cause: err}
	case errors.Is(err, storage.ErrNotFound):
		return &signin.PageError{Status: http.StatusNotFound, Kind: pages.ErrorExpired, Detail: "The link is not complete, or older than seven days. Ask the operators for another.", Cause: err}
	}
	return err
}
