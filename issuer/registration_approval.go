package issuer

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// awaitApproval disables a new client and makes the request in which an operator
// decides about it. RFC 7591 has no answer that means "later", so the client gets
// its credentials at once, and they open nothing yet. The two expire together.
func (i *Issuer) awaitApproval(r *http.Request, client *clients.Client) *Application {
	a := &Application{
		Name: client.DisplayName(), ClientType: client.Type, GrantTypes: client.GrantTypes, RedirectURIs: client.RedirectURIs,
		Resources: client.Resources, Scopes: client.Scope,
		Address: i.config.ClientIP(r), Registered: true, ClientID: client.ID,
	}
	a.begin()
	client.Disabled = true
	client.Registration.Application, client.Registration.UnusedUntil = a.Reference, a.Expiry
	return a
}

// putRequestOf puts the request of a client that registers itself into the queue
// of all requests; a may be nil.
func (i *Issuer) putRequestOf(tx storage.Tx, a *Application) error {
	if a == nil {
		return nil
	}
	err := i.putNewApplication(tx, a)
	if errors.Is(err, errApplicationsFull) {
		return tooMany("too many requests wait for an operator; try again later", time.Hour).Because(err)
	}
	return err
}

// waitingClient returns the client that a pending request is about. Without one
// the error is storage.ErrNotFound.
func (i *Issuer) waitingClient(tx storage.Tx, a *Application) (*clients.Client, error) {
	client, err := clients.Get(tx, i.config.URL, a.ClientID)
	if err == nil && (!client.IsWaiting() || client.Registration.Application != a.Reference) {
		return nil, storage.ErrNotFound
	}
	return client, err
}

// enableRegistered turns the client of a request into what the operator decided.
// It keeps its credentials, hence its id and its type, and lasts: that nobody has
// consented to it yet counts no more once an operator has.
func (i *Issuer) enableRegistered(tx storage.Tx, a *Application, decided clients.Metadata) (*clients.Client, error) {
	client, err := i.waitingClient(tx, a)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, &clientError{errors.New("the client that registered itself is gone: reject the request")}
	case err != nil:
		return nil, err
	case decided.ID != client.ID || decided.Type != client.Type:
		return nil, &clientError{errors.New("the client registered itself and has its credentials: its client_id and client type stay")}
	}
	// What a request does not show nobody has decided about.
	decided.PostLogoutRedirectURIs = besideRedirects(client.PostLogoutRedirectURIs, decided.RedirectURIs)
	decided.RefreshTokenAlways = client.RefreshTokenAlways && decided.MayUse(oauth.GrantRefreshToken)
	client.Metadata = decided
	client.Registration.Approved = record.Now()
	return client, clients.PutLasting(tx, i.config.URL, client)
}

// besideRedirects returns those of the addresses that are of an origin to which a
// redirect URI leads anyway.
func besideRedirects(addresses, redirectURIs []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(address string) bool {
		at, err := url.Parse(address)
		return err != nil || !slices.ContainsFunc(redirectURIs, func(redirectURI string) bool {
			to, err := url.Parse(redirectURI)
			return err == nil && sameOrigin(at, to)
		})
	})
}

// rejectRegistered forgets the client of a request. It was never enabled, so that
// there is no token to revoke. That it is gone already is no obstacle.
func (i *Issuer) rejectRegistered(tx storage.Tx, a *Application) error {
	switch _, err := i.waitingClient(tx, a); {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil && !errors.Is(err, storage.ErrDamaged):
		return err
	}
	return clients.Delete(tx, i.config.URL, a.ClientID)
}

// withdrawApplication takes the request of a client that waits out of the queue:
// the client is being removed.
func (i *Issuer) withdrawApplication(tx storage.Tx, client *clients.Client) error {
	key := applicationKey(i.config.URL, client.Registration.Application)
	return errors.Join(tx.Delete(kindApplication, key), tx.Delete(kindApplicationPending, key))
}
