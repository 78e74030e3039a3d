package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// registrationResponse is the client information response (RFC 7591 §3.2.1, RFC
// 7592 §3): what the client is registered with, which can be less than it asked
// for. The secret is there only when it was just made; the server has its hash.
type registrationResponse struct {
	ID              string      `json:"client_id"`
	Secret          string      `json:"client_secret,omitempty"`
	IssuedAt        int64       `json:"client_id_issued_at"`
	SecretExpiresAt *int64      `json:"client_secret_expires_at,omitempty"` // with a secret; 0 is never
	AccessToken     string      `json:"registration_access_token"`
	URI             string      `json:"registration_client_uri"`
	Name            string      `json:"client_name,omitempty"`
	AuthMethod      string      `json:"token_endpoint_auth_method"`
	GrantTypes      []string    `json:"grant_types"`
	ResponseTypes   []string    `json:"response_types"`
	RedirectURIs    []string    `json:"redirect_uris,omitempty"`
	PostLogoutURIs  []string    `json:"post_logout_redirect_uris,omitempty"`
	Scope           oauth.Scope `json:"scope"`

	// IDTokenAlgorithm is the issuer's, whatever the client asked for. Left out it
	// would mean RS256 (OpenID Connect Dynamic Client Registration §2), and
	// clients believe that.
	IDTokenAlgorithm keys.Algorithm `json:"id_token_signed_response_alg,omitempty"`
}

func (i *Issuer) describeRegistered(client *clients.Client, secret, accessToken string) *registrationResponse {
	response := &registrationResponse{
		ID: client.ID, Secret: secret, IssuedAt: client.Created.Unix(),
		AccessToken: accessToken, URI: i.config.URL + "/register/" + client.ID,
		Name: client.Name, AuthMethod: client.Registration.AuthMethod, GrantTypes: client.GrantTypes,
		ResponseTypes: []string{}, RedirectURIs: client.RedirectURIs, PostLogoutURIs: client.PostLogoutRedirectURIs, Scope: client.Scope,
	}
	if client.Scope.Has(oauth.ScopeOpenID) {
		response.IDTokenAlgorithm = i.config.SigningAlgorithm
	}
	if secret != "" {
		response.SecretExpiresAt = new(int64)
	}
	if slices.Contains(client.GrantTypes, oauth.GrantAuthorizationCode) {
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
	oauth.WriteJSON(w, http.StatusCreated, response)
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
		return i.putRegistered(tx, client, limit.Site(i.config.ClientIP(r)))
	})
	if err != nil {
		return nil, err
	}
	i.trail.Record(r, audit.ClientRegistered, slog.String("client_id", client.ID), slog.String("client_name", client.Name),
		slog.String("client_type", client.Type), slog.String("scope", client.Scope.String()), slog.Any("redirect_hosts", redirectHosts(client)))
	if request != nil {
		i.announceApplication(r, request)
	}
	return i.describeRegistered(client, secret, accessToken), nil
}

// newRegistered makes a client of a description. Its id and secrets are ours to
// choose (RFC 7591 §3.2.1).
func (i *Issuer) newRegistered(accepted *selfDescription) (client *clients.Client, secret, accessToken string, err error) {
	accessToken = clients.NewSecret()
	client = &clients.Client{
		Metadata: clients.Metadata{ID: record.RandomText(16), Type: accepted.clientType(), Resources: i.config.Registration.Resources},
		Created:  record.Now(),
		Registration: &clients.Registration{
			Token: clients.HashSecret(accessToken), AuthMethod: accepted.authMethod, UnusedUntil: record.Now().Add(unusedLifetime),
		},
	}
	accepted.describe(&client.Metadata)
	if client.Type == clients.Confidential {
		secret = clients.NewSecret()
		client.Secrets = []clients.Secret{{Hash: clients.HashSecret(secret), Created: client.Created}}
	}
	if err := client.Validate(i.config.scopeNames()); err != nil {
		return nil, "", "", oauth.Refuse(oauth.InvalidClientMetadata, "this server cannot have such a client").Because(err)
	}
	return client, secret, accessToken, nil
}

// putRegistered writes a new client, if there is room for one more that nobody
// uses: in all, and of those that come from one place.
func (i *Issuer) putRegistered(tx storage.Tx, client *clients.Client, from string) error {
	unused, fromThere, err := clients.CountUnused(tx, i.config.URL, from)
	if err != nil {
		return err
	}
	if most := i.config.Registration.Unused; unused >= most || fromThere >= shareOf(most) {
		return tooMany("too many clients have registered that nobody uses; try again later", time.Hour)
	}
	return clients.PutUnused(tx, i.config.URL, client, from)
}

// shareOf is how many of the places in a queue that strangers fill one of them may
// have: a quarter, so that it takes several to leave no room for others; and never
// fewer than somebody who tries things out needs.
func shareOf(places int) int { return max(places/4, min(places, 20)) }

// spendRegistration takes one registration, or one update, from the budget of
// the address that the request came from.
func (i *Issuer) spendRegistration(r *http.Request) error {
	address := i.config.ClientIP(r)
	if wait := i.registered.Take(address); wait > 0 {
		return tooMany("too many registrations from this address; try again later", wait)
	}
	return nil
}

// tooMany is 429 (RFC 6585 §4), which says when to come back.
func tooMany(description string, wait time.Duration) *oauth.Error {
	return oauth.Refuse(oauth.TemporarilyUnavailable, "%s", description).WithStatus(http.StatusTooManyRequests).After(wait)
}

// redirectHosts are what an operator may know a client by.
func redirectHosts(client *clients.Client) []string {
	hosts := make([]string, 0, len(client.RedirectURIs))
	for _, uri := range client.RedirectURIs {
		if host := audit.Loggable(clients.RedirectHost(uri)); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// writeRegistrationError answers with the error, and with the challenge that goes
// with a missing or bad token (RFC 6750 §3).
func (i *Issuer) writeRegistrationError(w http.ResponseWriter, r *http.Request, err error) {
	e := oauth.AsError(err)
	if e.Code == oauth.InvalidToken {
		challenge := introspect.Challenge{Realm: i.config.URL, Error: string(e.Code), ErrorDescription: e.Description}
		if errors.Is(err, introspect.ErrNoToken) {
			challenge.Error, challenge.ErrorDescription = "", ""
		}
		w.Header().Set("WWW-Authenticate", challenge.String())
	}
	if e.Status() == http.StatusUnauthorized || e.Status() == http.StatusTooManyRequests {
		i.trail.Record(r, audit.RegistrationRefused, slog.String("endpoint", audit.Loggable(r.URL.Path)), slog.String("reason", e.Description))
	}
	i.refusals.Write(w, r, e)
}
