package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// authorizationRequest is a request to the authorization endpoint that has been
// checked (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1).
type authorizationRequest struct {
	client      *clients.Client
	redirectURI string // proven to be the client's
	formPost    bool   // response_mode=form_post
	state       string

	scope         oauth.Scope // what may be granted of what was asked for
	audience      []string
	codeChallenge string
	nonce         string

	promptNone, promptLogin, promptConsent bool

	maxAge      time.Duration // negative: none
	loginHint   string
	idTokenHint string // the subject that the client expects; empty: any
}

// redirectError is a refusal that goes to the client, by way of the browser.
type redirectError struct {
	request *authorizationRequest
	err     *oauth.Error
}

func (e *redirectError) Error() string { return e.err.Error() }
func (e *redirectError) Unwrap() error { return e.err }

// parseAuthorizationRequest checks an authorization request. Until client and
// redirect URI are proven, errors are pages (RFC 6749 §4.1.2.1): sending them on
// would make the server a relay to anywhere. From then on they are
// *redirectError.
func (h *Handler) parseAuthorizationRequest(ctx context.Context, query string) (*authorizationRequest, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, oauth.Refuse(oauth.InvalidRequest, "the parameters are not well-formed").Because(err)
	}
	request, err := h.proveClient(ctx, values)
	if err != nil {
		return nil, err
	}
	f, err := oauth.ParseForm(query)
	if err == nil {
		err = h.fillRequest(request, f)
	}
	if err != nil {
		return nil, &redirectError{request, oauth.AsError(err)}
	}
	return request, nil
}

// proveClient finds the client and proves the redirect URI. Both must be there
// once: of two, an attacker's could be the one that is used.
func (h *Handler) proveClient(ctx context.Context, values url.Values) (*authorizationRequest, error) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(values[name]) > 1 {
			return nil, &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorRequest, Code: oauth.InvalidRequest, Detail: name + " is repeated."}
		}
	}
	client, err := h.config.Client(ctx, values.Get("client_id"))
	switch {
	case errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled):
		return nil, &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorClient, Code: oauth.InvalidRequest,
			Detail: "client_id is missing, or names no client of this server."}
	case err != nil:
		return nil, err
	}
	openID := slices.Contains(strings.Fields(values.Get("scope")), oauth.ScopeOpenID)
	redirectURI, err := client.ProvenRedirectURI(values.Get("redirect_uri"), openID)
	if err != nil {
		return nil, &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorRedirect, Code: oauth.InvalidRequest, Cause: err,
			Detail: "redirect_uri is missing, or is not one that the client is registered with, character for character."}
	}
	return &authorizationRequest{
		client: client, redirectURI: redirectURI, maxAge: -1,
		// Wherever the answer goes, it goes with the state of the request.
		state: values.Get("state"), formPost: values.Get("response_mode") == "form_post" && len(values["response_mode"]) == 1,
	}, nil
}

// fillRequest checks the parameters that are not about who asks.
func (h *Handler) fillRequest(q *authorizationRequest, f oauth.Form) error {
	if err := checkResponse(q.client, f); err != nil {
		return err
	}
	if err := q.client.CheckChallenge(f.Get("code_challenge"), f.Get("code_challenge_method")); err != nil {
		return err
	}
	q.codeChallenge, q.nonce, q.loginHint = f.Get("code_challenge"), f.Get("nonce"), f.Get("login_hint")
	if len(q.nonce) > 1024 || len(q.state) > 8192 {
		return oauth.Refuse(oauth.InvalidRequest, "state or nonce is too long")
	}
	var err error
	if q.scope, err = q.client.GrantableScope(f.Get("scope")); err != nil {
		return err
	}
	if q.audience, err = h.config.Resources.Personal(f.All("resource"), q.client, q.scope); err != nil {
		return err
	}
	if err := q.parsePrompt(f); err != nil {
		return err
	}
	if hint := f.Get("id_token_hint"); hint != "" {
		if q.idTokenHint, _, err = h.config.HintedSubject(hint); err != nil {
			return oauth.Refuse(oauth.InvalidRequest, "id_token_hint is not an ID token of this issuer").Because(err)
		}
	}
	return nil
}

// checkResponse: the code flow, and nothing from the requests that this server
// does not read (OpenID Connect Core §6.1).
func checkResponse(client *clients.Client, f oauth.Form) error {
	unsupported := map[string]oauth.ErrorCode{
		"request": oauth.RequestNotSupported, "request_uri": oauth.RequestURINotSupported, "registration": oauth.RegistrationNotSupported,
	}
	for name, code := range unsupported {
		if f.Get(name) != "" {
			return oauth.Refuse(code, "the parameter %s is not supported", name)
		}
	}
	if !client.MayUse(oauth.GrantAuthorizationCode) {
		return oauth.Refuse(oauth.UnauthorizedClient, "this client is not registered for the grant type authorization_code")
	}
	switch f.Get("response_type") {
	case "code":
	case "":
		return oauth.Refuse(oauth.InvalidRequest, "response_type is missing; it must be code")
	default:
		return oauth.Refuse(oauth.UnsupportedResponseType, "response_type must be code")
	}
	switch f.Get("response_mode") {
	case "", "query", "form_post":
		return nil
	}
	return oauth.Refuse(oauth.InvalidRequest, "response_mode must be query or form_post")
}

// parsePrompt reads prompt and max_age (OpenID Connect Core §3.1.2.1).
func (q *authorizationRequest) parsePrompt(f oauth.Form) error {
	prompts := strings.Fields(f.Get("prompt"))
	for _, prompt := range prompts {
		switch prompt {
		case "none":
			q.promptNone = true
		case "login", "select_account":
			q.promptLogin = true
		case "consent":
			q.promptConsent = true
		default:
			return oauth.Refuse(oauth.InvalidRequest, "prompt must be of none, login, consent and select_account")
		}
	}
	if q.promptNone && len(prompts) > 1 {
		return oauth.Refuse(oauth.InvalidRequest, "prompt=none excludes every other prompt")
	}
	if maxAge := f.Get("max_age"); maxAge != "" {
		seconds, err := strconv.ParseUint(maxAge, 10, 31)
		if err != nil {
			return oauth.Refuse(oauth.InvalidRequest, "max_age must be a number of seconds")
		}
		q.maxAge = time.Duration(seconds) * time.Second
	}
	return nil
}

// needsSignIn tells whether the person must sign in, though perhaps they have:
// nobody has, or somebody else than the client expects, or not lately enough. A
// sign-in for this very request is late enough for everything.
func (q *authorizationRequest) needsSignIn(s *Session, t *transaction) bool {
	switch {
	case s == nil, q.idTokenHint != "" && q.idTokenHint != s.Subject:
		return true
	case s.Key == t.SignedIn:
		return false
	}
	// Of another node, whose clock may be ahead; of a sign-in at another provider that
	// does not say when, older than everything.
	age := max(0, time.Since(s.AuthTime))
	return q.promptLogin || (q.maxAge >= 0 && age >= q.maxAge)
}
