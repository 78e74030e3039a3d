package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Token endpoint authentication methods (RFC 7591 §2).
const (
	clientSecretBasic = "client_secret_basic"
	clientSecretPost  = "client_secret_post"
	noClientAuth      = "none"
)

// credentials are what a request says about the client that sends it.
type credentials struct {
	method   string
	clientID string
	secret   string
}

// errInvalidClient is one answer for every wrong credential: whether the client
// exists, is disabled or has another secret is nobody's business.
func errInvalidClient(cause error) *oauth.Error {
	return oauth.Refuse(oauth.InvalidClient, "client authentication failed: unknown client, wrong secret, or a method this client may not use").Because(cause)
}

// authenticate finds out which client sends the request and proves it (RFC 6749
// §2.3). Every endpoint that clients call directly begins with it. A public
// client only says who it is.
func (i *Issuer) authenticate(ctx context.Context, r *http.Request, f oauth.Form) (*clients.Client, error) {
	given, err := readCredentials(r.Header, f)
	if err != nil {
		return nil, err
	}
	client, err := i.verifyCredentials(ctx, given)
	if err != nil {
		if errors.Is(err, errBadCredentials) {
			i.trail.Record(r, audit.ClientAuthenticationFailed, slog.String("client_id", audit.Loggable(given.clientID)),
				slog.String("method", given.method), slog.String("reason", err.Error()))
			return nil, errInvalidClient(err)
		}
		return nil, err
	}
	return client, nil
}

// authenticateFor is authenticate for the token endpoint. Token exchange knows
// one method more: the client's own access token in the Authorization header, as
// the delegation of an earlier server had it, with or without Bearer.
// That token is returned too; it is nil where another method was used.
func (i *Issuer) authenticateFor(grantType string, r *http.Request, f oauth.Form) (*clients.Client, *introspect.Token, error) {
	token, err := introspect.FromHeader(r.Header, true)
	if grantType != oauth.GrantTokenExchange || err != nil {
		client, err := i.authenticate(r.Context(), r, f)
		return client, nil, err
	}
	if f.Get("client_secret") != "" {
		return nil, nil, oauth.Refuse(oauth.InvalidRequest, "the client authenticates twice, by its token and in the body; use one (RFC 6749 section 2.3)")
	}
	client, facts, err := i.ownToken(r.Context(), token)
	switch {
	case errors.Is(err, errBadCredentials), errors.Is(err, introspect.ErrInactive):
		i.trail.Record(r, audit.ClientAuthenticationFailed, slog.String("method", "access_token"), slog.String("reason", err.Error()))
		return nil, nil, errInvalidClient(err)
	case err != nil:
		return nil, nil, err
	}
	if id := f.Get("client_id"); id != "" && id != client.ID {
		return nil, nil, oauth.Refuse(oauth.InvalidRequest, "client_id differs from the client of the token in the Authorization header")
	}
	return client, facts, nil
}

// ownToken proves a client by an access token that it got for itself, by client
// credentials: not one that speaks for a person, and not one that was exchanged.
func (i *Issuer) ownToken(ctx context.Context, token string) (*clients.Client, *introspect.Token, error) {
	facts, err := i.Introspect(ctx, token)
	if err != nil {
		return nil, nil, err
	}
	if facts.Subject != facts.ClientID || facts.AuthorizationID != "" || facts.Actor != nil {
		return nil, nil, badCredentials("the token is not one that a client got for itself")
	}
	client, err := i.Client(ctx, facts.ClientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil, badCredentials("unknown client")
	case err != nil:
		return nil, nil, err
	case client.Disabled:
		return nil, nil, badCredentials("disabled client")
	}
	return client, facts, nil
}

// errBadCredentials is found in every reason that verifyCredentials gives.
var errBadCredentials = errors.New("bad credentials")

type badCredentials string

func (b badCredentials) Error() string        { return string(b) }
func (b badCredentials) Is(target error) bool { return target == errBadCredentials }

func (i *Issuer) verifyCredentials(ctx context.Context, given credentials) (*clients.Client, error) {
	client, err := i.Client(ctx, given.clientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		// About as much work as for a client in the storage. One that the
		// configuration declares is found sooner, and may be: ids are no secret.
		decoy, err := clients.Decode(decoyClient)
		if err != nil {
			return nil, err
		}
		decoy.HasSecret(given.secret, time.Now())
		return nil, badCredentials("unknown client")
	case err != nil:
		return nil, err
	}
	proven := client.HasSecret(given.secret, time.Now())
	switch {
	case client.Disabled:
		return nil, badCredentials("disabled client")
	case client.Type == clients.Public && given.method != noClientAuth:
		// A secret that a public client sends is in everybody's hands. To let it
		// pass would make people believe that it proves something.
		return nil, badCredentials("a public client sent a secret")
	case client.Type != clients.Public && (given.method == noClientAuth || !proven):
		return nil, badCredentials("wrong or missing secret")
	}
	return client, nil
}

// decoyClient is decoded where no client is found.
var decoyClient = []byte(`{"client_id":"decoy-decoy-decoy-decoy","client_name":"decoy","client_type":"confidential",` +
	`"grant_types":["client_credentials"],"scope":"decoy:read decoy:write","created":"2026-01-01T00:00:00Z",` +
	`"secrets":[{"hash":"sha256:0000000000000000000000000000000000000000000000000000000000000000","created":"2026-01-01T00:00:00Z"}]}`)

// readCredentials finds the one authentication method in use. Two at once are
// refused (RFC 6749 §2.3), but a client_id in the body that equals the Basic one
// is not a second method: lua-resty-openidc and others send it.
func readCredentials(header http.Header, f oauth.Form) (credentials, error) {
	switch authorization := header.Values("Authorization"); {
	case len(authorization) > 1:
		return credentials{}, oauth.Refuse(oauth.InvalidRequest, "there is more than one Authorization header")
	case f.Get("client_assertion") != "" || f.Get("client_assertion_type") != "":
		return credentials{}, oauth.Refuse(oauth.InvalidClient, "client assertions are not supported; use client_secret_basic or client_secret_post")
	case len(authorization) == 1:
		given, err := parseBasic(authorization[0])
		if err != nil {
			return credentials{}, err
		}
		if f.Get("client_secret") != "" {
			return credentials{}, oauth.Refuse(oauth.InvalidRequest, "the client authenticates twice, in the Authorization header and in the body; use one (RFC 6749 section 2.3)")
		}
		if id := f.Get("client_id"); id != "" && id != given.clientID {
			return credentials{}, oauth.Refuse(oauth.InvalidRequest, "client_id differs from that of the Authorization header")
		}
		return given, nil
	}
	given := credentials{method: noClientAuth, clientID: f.Get("client_id"), secret: f.Get("client_secret")}
	if given.secret != "" {
		given.method = clientSecretPost
	}
	if given.clientID == "" {
		return credentials{}, oauth.Refuse(oauth.InvalidClient, "the client is not named: send HTTP Basic credentials, or client_id in the body")
	}
	return given, nil
}

// parseBasic reads client_secret_basic: base64 (RFC 7617) of the form-encoded id
// and secret with a colon between (RFC 6749 §2.3.1). Only canonical base64 is
// read, so that one pair of credentials has one spelling.
func parseBasic(authorization string) (credentials, error) {
	malformed := func(what string) error {
		return oauth.Refuse(oauth.InvalidClient, "the Authorization header is not HTTP Basic with a form-encoded client id and secret (RFC 6749 section 2.3.1): %s", what)
	}
	scheme, encoded, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return credentials{}, malformed("another scheme")
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return credentials{}, malformed("not base64")
	}
	id, secret, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return credentials{}, malformed("no colon")
	}
	clientID, err := url.QueryUnescape(id)
	if err != nil || clientID == "" {
		return credentials{}, malformed("the id")
	}
	clientSecret, err := url.QueryUnescape(secret)
	if err != nil {
		return credentials{}, malformed("the secret")
	}
	given := credentials{method: clientSecretBasic, clientID: clientID, secret: clientSecret}
	if clientSecret == "" {
		// An empty password is how some libraries send a public client's id.
		given.method = noClientAuth
	}
	return given, nil
}
