package issuer

import (
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// serveRegistered is the client configuration endpoint (RFC 7592 §2), one for
// each client that registered itself: the last part of the path is its id.
func (i *Issuer) serveRegistered(w http.ResponseWriter, r *http.Request) {
	client, accessToken, err := i.authenticateRegistered(r)
	if err == nil {
		switch r.Method {
		case http.MethodPut:
			client, err = i.updateRegistered(w, r, client.ID, accessToken)
		case http.MethodDelete:
			err = i.removeRegistered(r, client.ID)
		}
	}
	if err != nil {
		i.writeRegistrationError(w, r, err)
		return
	}
	if r.Method == http.MethodDelete {
		writeNoContent(w)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, i.describeRegistered(client, "", accessToken))
}

// writeNoContent answers that something is gone (RFC 7592 §2.3).
func writeNoContent(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-cache, no-store")
	header.Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusNoContent)
}

// errRegistrationToken is the one answer to a token that does not go with the
// client of the path, whether or not there is such a client (RFC 7592 §2.1).
func errRegistrationToken(cause string) *oauth.Error {
	return oauth.Refuse(oauth.InvalidToken, "the registration access token is not that of this client, or there is no such client").Because(errors.New(cause))
}

// authenticateRegistered returns the client of the path, if the request has its
// registration access token. The token is kept for the client's life: a new one
// whose answer was lost would leave the client without any.
func (i *Issuer) authenticateRegistered(r *http.Request) (client *clients.Client, accessToken string, err error) {
	if accessToken, err = registrationBearer(r); err != nil {
		return nil, "", err
	}
	client, err = i.Client(r.Context(), path.Base(r.URL.Path))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, "", errRegistrationToken("unknown client")
	case err != nil:
		return nil, "", err
	}
	return client, accessToken, mayManage(client, accessToken)
}

// mayManage tells whether the token is the one that the client was registered
// with. A client that waits for approval may read and remove itself. Clients that
// operators made have none.
func mayManage(c *clients.Client, accessToken string) error {
	given := clients.HashSecret(accessToken)
	switch {
	case c.Registration == nil:
		return errRegistrationToken("a client that did not register itself")
	case subtle.ConstantTimeCompare(given[:], c.Registration.Token[:]) != 1:
		return errRegistrationToken("wrong token")
	case c.Disabled && !c.IsWaiting():
		return errRegistrationToken("disabled client")
	}
	return nil
}

// updateRegistered replaces what the client said about itself (RFC 7592 §2.2).
func (i *Issuer) updateRegistered(w http.ResponseWriter, r *http.Request, id, accessToken string) (client *clients.Client, err error) {
	sent, err := readMetadata(w, r)
	if err != nil {
		return nil, err
	}
	accepted, err := i.acceptMetadata(sent)
	if err != nil {
		return nil, err
	}
	if err := i.spendRegistration(r); err != nil {
		return nil, err
	}
	err = i.state.Storage.Update(r.Context(), func(tx storage.Tx) (err error) {
		client, err = clients.Get(tx, i.config.URL, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return errRegistrationToken("removed meanwhile")
		case err != nil:
			return err
		}
		if err := mayManage(client, accessToken); err != nil {
			return err
		}
		if err := checkUpdate(client, sent, accepted); err != nil {
			return err
		}
		accepted.describe(&client.Metadata)
		client.Registration.AuthMethod, client.Registration.Changed = accepted.authMethod, record.Now()
		if err := client.Validate(i.config.scopeNames()); err != nil {
			return oauth.Refuse(oauth.InvalidClientMetadata, "this server cannot have such a client").Because(err)
		}
		return clients.Put(tx, i.config.URL, client)
	})
	if err != nil {
		return nil, err
	}
	i.trail.Record(r, audit.ClientUpdated, slog.String("client_id", client.ID), slog.String("client_name", client.Name),
		slog.String("scope", client.Scope.String()), slog.Any("redirect_hosts", redirectHosts(client)))
	return client, nil
}

// notInUpdate are members that an update must not have (RFC 7592 §2.2): they are
// the server's.
var notInUpdate = []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}

// checkUpdate: an update names its client, and changes neither the client's
// identity nor its secrets (RFC 7592 §2.2).
func checkUpdate(client *clients.Client, sent sentMetadata, accepted *selfDescription) error {
	if client.Registration.Application != "" {
		// What an operator looks at, or has agreed to, must not turn into something
		// else: neither before the answer nor after it.
		return oauth.Refuse(oauth.InvalidClientMetadata, "a client that is registered by approval cannot be changed; register another one")
	}
	for _, name := range notInUpdate {
		if sent.has(name) {
			return oauth.Refuse(oauth.InvalidClientMetadata, "%s must not be part of an update (RFC 7592 section 2.2)", name)
		}
	}
	id, err := sent.text("client_id")
	if err != nil {
		return err
	}
	if id != client.ID {
		return oauth.Refuse(oauth.InvalidClientMetadata, "client_id must be there and be that of the address (RFC 7592 section 2.2)")
	}
	secret, err := sent.text("client_secret")
	if err != nil {
		return err
	}
	if sent.has("client_secret") && !client.HasSecret(secret, time.Now()) {
		return oauth.Refuse(oauth.InvalidClientMetadata, "client_secret must be the present one, or left out (RFC 7592 section 2.2)")
	}
	if accepted.clientType() != client.Type {
		return oauth.Refuse(oauth.InvalidClientMetadata, "token_endpoint_auth_method: a %s client stays one; register another client", client.Type)
	}
	return nil
}

// removeRegistered forgets the client and ends its tokens (RFC 7592 §2.3).
func (i *Issuer) removeRegistered(r *http.Request, id string) error {
	err := i.removeClient(r.Context(), id)
	if errors.Is(err, storage.ErrNotFound) {
		return errRegistrationToken("removed meanwhile")
	}
	if err == nil {
		i.trail.Record(r, audit.ClientDeregistered, slog.String("client_id", id))
	}
	return err
}
