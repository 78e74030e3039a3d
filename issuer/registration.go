package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindUnused is the storage kind of an index: the clients that registered
// themselves and that nobody has consented to yet. An entry and its client expire
// together.
const kindUnused = "unused_client"

// Registration is what is kept of a client that registered itself (RFC 7591),
// beside its metadata.
type Registration struct {
	// Token is the hash of the registration access token (RFC 7592 §1.2).
	Token SecretHash `json:"token"`

	AuthMethod string `json:"token_endpoint_auth_method"`

	// UnusedUntil is when the client is forgotten, unless somebody consents to it
	// before; zero: somebody has, or an operator has approved it.
	UnusedUntil time.Time `json:"unused_until,omitzero"`

	// Changed is when the client last changed its metadata; what people agreed to
	// before that, they agreed to for another description.
	Changed time.Time `json:"changed,omitzero"`

	// Application is the reference of the request in which an operator decides
	// about the client, and Approved when it was; see RegistrationByApproval.
	Application string    `json:"application,omitempty"`
	Approved    time.Time `json:"approved,omitzero"`
}

// expiry is when the record of a client goes; zero: never.
func (c *Client) expiry() time.Time {
	if c.Registration == nil {
		return time.Time{}
	}
	return c.Registration.UnusedUntil
}

// changedSince tells whether the client has changed its own metadata at t or
// later.
func (c *Client) changedSince(t time.Time) bool {
	return c.Registration != nil && !c.Registration.Changed.IsZero() && !t.After(c.Registration.Changed)
}

// keepClient makes a client that registered itself last: somebody has consented
// to it. It belongs to the transaction that writes the consent.
func keepClient(tx storage.Tx, issuer, id string) error {
	key := clientKey(issuer, id)
	switch _, err := tx.Get(kindUnused, key); {
	case errors.Is(err, storage.ErrNotFound):
		return nil // any other client, or used before
	case err != nil:
		return err
	}
	client, err := getClient(tx, issuer, id)
	if err != nil {
		return err
	}
	if client.Registration != nil {
		client.Registration.UnusedUntil = time.Time{}
	}
	return errors.Join(tx.Delete(kindUnused, key), putClient(tx, issuer, client))
}

// registrationResponse is the client information response (RFC 7591 §3.2.1, RFC
// 7592 §3): what the client is registered with, which can be less than it asked
// for. The secret is there only when it was just made; the server has its hash.
type registrationResponse struct {
	ID              string   `json:"client_id"`
	Secret          string   `json:"client_secret,omitempty"`
	IssuedAt        int64    `json:"client_id_issued_at"`
	SecretExpiresAt *int64   `json:"client_secret_expires_at,omitempty"` // with a secret; 0 is never
	AccessToken     string   `json:"registration_access_token"`
	URI             string   `json:"registration_client_uri"`
	Name            string   `json:"client_name,omitempty"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	RedirectURIs    []string `json:"redirect_uris,omitempty"`
	Scope           Scope    `json:"scope"`
}

func (i *Issuer) describeRegistered(client *Client, secret, accessToken string) *registrationResponse {
	response := &registrationResponse{
		ID: client.ID, Secret: secret, IssuedAt: client.Created.Unix(),
		AccessToken: accessToken, URI: i.config.URL + "/register/" + client.ID,
		Name: client.Name, AuthMethod: client.Registration.AuthMethod, GrantTypes: client.GrantTypes,
		ResponseTypes: []string{}, RedirectURIs: client.RedirectURIs, Scope: client.Scope,
	}
	if secret != "" {
		response.SecretExpiresAt = new(int64)
	}
	if slices.Contains(client.GrantTypes, grantTypeAuthorizationCode) {
		response.ResponseTypes = append(response.ResponseTypes, "code")
	}
	return response
}

// registrationEndpoint is where clients register; empty: nowhere.
func (i *Issuer) registrationEndpoint() string {
	if i.config.Registration.Mode == RegistrationOff {
		return ""
	}
	return i.config.URL + "/register"
}

// serveRegistration is the client registration endpoint (RFC 7591 §3).
func (i *Issuer) serveRegistration(w http.ResponseWriter, r *http.Request) {
	response, err := i.register(w, r)
	if err != nil {
		i.writeRegistrationError(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, response)
}

// register is the whole of a registration.
func (i *Issuer) register(w http.ResponseWriter, r *http.Request) (*registrationResponse, error) {
	// 1. May this request register anything?
	initial, err := i.initialToken(r)
	if err != nil {
		return nil, err
	}
	// 2. What?
	sent, err := readMetadata(w, r)
	if err != nil {
		return nil, err
	}
	accepted, err := i.acceptMetadata(sent)
	if err != nil {
		return nil, err
	}
	client, secret, accessToken, err := i.newRegistered(accepted)
	if err != nil {
		return nil, err
	}
	// 3. Is it too much?
	if err := i.spendRegistration(r); err != nil {
		return nil, err
	}
	// 4. Write it down, and count the initial access token.
	var request *Application
	if i.config.Registration.Mode == RegistrationByApproval {
		request = i.awaitApproval(r, client)
	}
	err = i.state.Storage.Update(r.Context(), func(tx storage.Tx) error {
		if err := i.useInitialToken(tx, initial); err != nil {
			return err
		}
		if err := i.putRequestOf(tx, request); err != nil {
			return err
		}
		return i.putRegistered(tx, client)
	})
	if err != nil {
		return nil, err
	}
	i.audit(r, "client_registered", slog.String("client_id", client.ID), slog.String("client_name", client.Name),
		slog.String("client_type", client.Type), slog.String("scope", client.Scope.String()), slog.Any("redirect_hosts", redirectHosts(client)))
	if request != nil {
		i.announceApplication(r, request)
	}
	return i.describeRegistered(client, secret, accessToken), nil
}

// newRegistered makes a client of a description. Its id and secrets are ours to
// choose (RFC 7591 §3.2.1).
func (i *Issuer) newRegistered(accepted *selfDescription) (client *Client, secret, accessToken string, err error) {
	accessToken = NewSecret()
	client = &Client{
		ClientMetadata: ClientMetadata{ID: record.RandomText(16), Type: accepted.clientType(), Resources: i.config.Registration.Resources},
		Created:        record.Now(),
		Registration: &Registration{
			Token: HashSecret(accessToken), AuthMethod: accepted.authMethod, UnusedUntil: record.Now().Add(unusedLifetime),
		},
	}
	accepted.describe(&client.ClientMetadata)
	if client.Type == Confidential {
		secret = NewSecret()
		client.Secrets = []ClientSecret{{Hash: HashSecret(secret), Created: client.Created}}
	}
	if err := client.validate(&i.config); err != nil {
		return nil, "", "", refuse(InvalidClientMetadata, "this server cannot have such a client").because(err)
	}
	return client, secret, accessToken, nil
}

// putRegistered writes a new client, if there is room for one more that nobody
// uses.
func (i *Issuer) putRegistered(tx storage.Tx, client *Client) error {
	unused := 0
	err := tx.List(kindUnused, clientKey(i.config.URL, ""), func(string, []byte) error { unused++; return nil })
	if err != nil {
		return err
	}
	if unused >= i.config.Registration.Unused {
		return tooMany("too many clients have registered that nobody uses; try again later", time.Hour)
	}
	return errors.Join(
		tx.Put(kindUnused, clientKey(i.config.URL, client.ID), nil, client.Registration.UnusedUntil),
		putClient(tx, i.config.URL, client),
	)
}

// spendRegistration takes one registration, or one update, from the budget of
// the address that the request came from.
func (i *Issuer) spendRegistration(r *http.Request) error {
	address := i.config.ClientIP(r)
	if wait := i.registered.take(address); wait > 0 {
		return tooMany("too many registrations from this address; try again later", wait)
	}
	return nil
}

// tooMany is 429 (RFC 6585 §4), which says when to come back.
func tooMany(description string, wait time.Duration) *Error {
	e := refuse(TemporarilyUnavailable, "%s", description)
	e.status, e.retryAfter = http.StatusTooManyRequests, wait
	return e
}

// redirectHosts are what an operator may know a client by.
func redirectHosts(client *Client) []string {
	hosts := make([]string, 0, len(client.RedirectURIs))
	for _, uri := range client.RedirectURIs {
		if host := loggable(redirectHost(uri)); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// writeRegistrationError answers with the error, and with the challenge that goes
// with a missing or bad token (RFC 6750 §3).
func (i *Issuer) writeRegistrationError(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	if e.Code == InvalidToken {
		challenge := introspect.Challenge{Realm: i.config.URL, Error: string(e.Code), ErrorDescription: e.Description}
		if errors.Is(err, introspect.ErrNoToken) {
			challenge.Error, challenge.ErrorDescription = "", ""
		}
		w.Header().Set("WWW-Authenticate", challenge.String())
	}
	if e.Status() == http.StatusUnauthorized || e.Status() == http.StatusTooManyRequests {
		i.audit(r, "registration_refused", slog.String("endpoint", loggable(r.URL.Path)), slog.String("reason", e.Description))
	}
	i.writeError(w, r, e)
}
