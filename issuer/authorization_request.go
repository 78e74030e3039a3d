package issuer

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Error codes of the authorization endpoint that the others do not have.
const (
	AccessDenied             ErrorCode = "access_denied"              // RFC 6749 §4.1.2.1
	UnsupportedResponseType  ErrorCode = "unsupported_response_type"  // RFC 6749 §4.1.2.1
	LoginRequired            ErrorCode = "login_required"             // OpenID Connect Core §3.1.2.6
	ConsentRequired          ErrorCode = "consent_required"           // OpenID Connect Core §3.1.2.6
	RequestNotSupported      ErrorCode = "request_not_supported"      // OpenID Connect Core §3.1.2.6
	RequestURINotSupported   ErrorCode = "request_uri_not_supported"  // OpenID Connect Core §3.1.2.6
	RegistrationNotSupported ErrorCode = "registration_not_supported" // OpenID Connect Core §3.1.2.6
)

// authorizationRequest is a request to the authorization endpoint that has been
// checked (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1).
type authorizationRequest struct {
	client      *Client
	redirectURI string // proven to be the client's
	formPost    bool   // response_mode=form_post
	state       string

	scope         Scope // what may be granted of what was asked for
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
	err     *Error
}

func (e *redirectError) Error() string { return e.err.Error() }
func (e *redirectError) Unwrap() error { return e.err }

// parseAuthorizationRequest checks an authorization request. Until client and
// redirect URI are proven, errors are pages (RFC 6749 §4.1.2.1): sending them on
// would make the server a relay to anywhere. From then on they are
// *redirectError.
func (i *Issuer) parseAuthorizationRequest(ctx context.Context, query string) (*authorizationRequest, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, refuse(InvalidRequest, "the parameters are not well-formed").because(err)
	}
	request, err := i.proveClient(ctx, values)
	if err != nil {
		return nil, err
	}
	f, err := parseForm(query)
	if err == nil {
		err = i.fillRequest(request, f)
	}
	if err != nil {
		return nil, &redirectError{request, asError(err)}
	}
	return request, nil
}

// proveClient finds the client and proves the redirect URI. Both must be there
// once: of two, an attacker's could be the one that is used.
func (i *Issuer) proveClient(ctx context.Context, values url.Values) (*authorizationRequest, error) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(values[name]) > 1 {
			return nil, &pageError{status: http.StatusBadRequest, kind: pages.ErrorRequest, code: InvalidRequest, detail: name + " is repeated."}
		}
	}
	client, err := i.Client(ctx, values.Get("client_id"))
	switch {
	case errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled):
		return nil, &pageError{status: http.StatusBadRequest, kind: pages.ErrorClient, code: InvalidRequest,
			detail: "client_id is missing, or names no client of this server."}
	case err != nil:
		return nil, err
	}
	openID := slices.Contains(strings.Fields(values.Get("scope")), scopeOpenID)
	redirectURI, err := provenRedirectURI(client, values.Get("redirect_uri"), openID)
	if err != nil {
		return nil, &pageError{status: http.StatusBadRequest, kind: pages.ErrorRedirect, code: InvalidRequest, cause: err,
			detail: "redirect_uri is missing, or is not one that the client is registered with, character for character."}
	}
	return &authorizationRequest{
		client: client, redirectURI: redirectURI, maxAge: -1,
		// Wherever the answer goes, it goes with the state of the request.
		state: values.Get("state"), formPost: values.Get("response_mode") == "form_post" && len(values["response_mode"]) == 1,
	}, nil
}

// fillRequest checks the parameters that are not about who asks.
func (i *Issuer) fillRequest(q *authorizationRequest, f form) error {
	if err := checkResponse(q.client, f); err != nil {
		return err
	}
	if err := checkChallenge(q.client, f.get("code_challenge"), f.get("code_challenge_method")); err != nil {
		return err
	}
	q.codeChallenge, q.nonce, q.loginHint = f.get("code_challenge"), f.get("nonce"), f.get("login_hint")
	if len(q.nonce) > 1024 || len(q.state) > 8192 {
		return refuse(InvalidRequest, "state or nonce is too long")
	}
	var err error
	if q.scope, err = grantableScope(f.get("scope"), q.client); err != nil {
		return err
	}
	if q.audience, err = i.personalAudience(f.all("resource"), q.client, q.scope); err != nil {
		return err
	}
	if err := q.parsePrompt(f); err != nil {
		return err
	}
	if hint := f.get("id_token_hint"); hint != "" {
		if q.idTokenHint, _, err = i.hintedSubject(hint); err != nil {
			return refuse(InvalidRequest, "id_token_hint is not an ID token of this issuer").because(err)
		}
	}
	return nil
}

// checkResponse: the code flow, and nothing from the requests that this server
// does not read (OpenID Connect Core §6.1).
func checkResponse(client *Client, f form) error {
	unsupported := map[string]ErrorCode{
		"request": RequestNotSupported, "request_uri": RequestURINotSupported, "registration": RegistrationNotSupported,
	}
	for name, code := range unsupported {
		if f.get(name) != "" {
			return refuse(code, "the parameter %s is not supported", name)
		}
	}
	if !client.MayUse(grantTypeAuthorizationCode) {
		return refuse(UnauthorizedClient, "this client is not registered for the grant type authorization_code")
	}
	switch f.get("response_type") {
	case "code":
	case "":
		return refuse(InvalidRequest, "response_type is missing; it must be code")
	default:
		return refuse(UnsupportedResponseType, "response_type must be code")
	}
	switch f.get("response_mode") {
	case "", "query", "form_post":
		return nil
	}
	return refuse(InvalidRequest, "response_mode must be query or form_post")
}

// grantableScope is what may be granted of what was asked for: scopes that are
// unknown or not the client's are left out, and the token's answer says what was
// granted. A request without scope gets the client's, but for offline_access,
// which has to be asked for (OpenID Connect Core §11).
func grantableScope(parameter string, client *Client) (Scope, error) {
	asked, ok := ParseScope(parameter)
	if !ok {
		return nil, errScopeSyntax
	}
	may := client.Scope
	if !client.MayUse(grantTypeRefreshToken) || len(asked) == 0 {
		may = slices.DeleteFunc(slices.Clone(may), func(s string) bool { return s == scopeOfflineAccess })
	}
	if len(asked) == 0 {
		return may, nil
	}
	granted := asked.Intersect(may)
	if len(granted) == 0 {
		return nil, refuse(InvalidScope, "none of the scopes asked for can be granted to this client, which may have: %s", may)
	}
	return granted, nil
}

// personalAudience is the audience of tokens that speak for a person: the APIs
// that were asked for and, with openid, this issuer's own userinfo.
func (i *Issuer) personalAudience(asked []string, client *Client, scope Scope) ([]string, error) {
	audience, err := i.requestedAudience(asked, client)
	if !scope.Has(scopeOpenID) {
		return audience, err
	}
	if err != nil && len(asked) == 0 {
		return []string{i.config.URL}, nil // signing in is all it is for
	}
	if err != nil || slices.Contains(audience, i.config.URL) {
		return audience, err
	}
	return append(slices.Clone(audience), i.config.URL), nil
}

// parsePrompt reads prompt and max_age (OpenID Connect Core §3.1.2.1).
func (q *authorizationRequest) parsePrompt(f form) error {
	prompts := strings.Fields(f.get("prompt"))
	for _, prompt := range prompts {
		switch prompt {
		case "none":
			q.promptNone = true
		case "login", "select_account":
			q.promptLogin = true
		case "consent":
			q.promptConsent = true
		default:
			return refuse(InvalidRequest, "prompt must be of none, login, consent and select_account")
		}
	}
	if q.promptNone && len(prompts) > 1 {
		return refuse(InvalidRequest, "prompt=none excludes every other prompt")
	}
	if maxAge := f.get("max_age"); maxAge != "" {
		seconds, err := strconv.ParseUint(maxAge, 10, 31)
		if err != nil {
			return refuse(InvalidRequest, "max_age must be a number of seconds")
		}
		q.maxAge = time.Duration(seconds) * time.Second
	}
	return nil
}

// needsSignIn tells whether the person must sign in, though perhaps they have:
// nobody has, or somebody else than the client expects, or not lately enough. A
// sign-in since the request began is late enough for everything.
func (q *authorizationRequest) needsSignIn(s *session, begun time.Time) bool {
	switch {
	case s == nil, q.idTokenHint != "" && q.idTokenHint != s.Subject:
		return true
	case s.AuthTime.After(begun):
		return false
	}
	return q.promptLogin || (q.maxAge >= 0 && time.Since(s.AuthTime) > q.maxAge)
}
