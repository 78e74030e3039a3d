package issuer

import (
	"errors"
	"net/http"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// userinfoResponse is that of OpenID Connect Core §5.3.2.
type userinfoResponse struct {
	Subject string `json:"sub"`
	personalClaims
}

// serveUserinfo is the userinfo endpoint (OpenID Connect Core §5.3): a protected
// resource, whose refusals are those of RFC 6750.
func (i *Issuer) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	response, err := i.userinfo(w, r)
	if err != nil {
		e := oauth.AsError(err)
		if e.Code == oauth.InvalidToken || e.Code == oauth.InsufficientScope || e.Code == oauth.InvalidRequest {
			challenge := introspect.Challenge{Realm: i.config.URL, Scope: oauth.ScopeOpenID, Error: string(e.Code), ErrorDescription: e.Description}
			if errors.Is(err, introspect.ErrNoToken) {
				challenge.Error, challenge.ErrorDescription = "", ""
			}
			w.Header().Set("WWW-Authenticate", challenge.String())
		}
		i.refusals.Write(w, r, e)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, response)
}

func (i *Issuer) userinfo(w http.ResponseWriter, r *http.Request) (*userinfoResponse, error) {
	token, err := i.userinfoToken(w, r)
	if err != nil {
		return nil, err
	}
	facts, err := i.Introspect(r.Context(), token)
	var inactive *introspect.InactiveError
	switch {
	case errors.As(err, &inactive):
		return nil, oauth.Refuse(oauth.InvalidToken, "%s", inactive.Reason).Because(err)
	case err != nil:
		return nil, oauth.Refuse(oauth.TemporarilyUnavailable, "the token cannot be judged now").Because(err)
	case !facts.HasAudience(i.config.URL):
		return nil, oauth.Refuse(oauth.InvalidToken, "the token is not for this endpoint; ask for the scope openid when a person signs in")
	case !facts.HasScope(oauth.ScopeOpenID):
		return nil, oauth.Refuse(oauth.InsufficientScope, "the token lacks the scope openid")
	}
	user, err := i.realm.users.Get(r.Context(), facts.Subject)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && !i.realm.people.MayAct(user):
		return nil, oauth.Refuse(oauth.InvalidToken, "the account is gone or disabled")
	case err != nil:
		return nil, err
	}
	return &userinfoResponse{user.ID, claimsFor(user, facts.Scope)}, nil
}

// userinfoToken finds the token: in the header, or in the body of a form (RFC
// 6750 §2.2, which OpenID Connect Core §5.3.1 allows here); never in the URL.
func (i *Issuer) userinfoToken(w http.ResponseWriter, r *http.Request) (string, error) {
	token, err := introspect.FromHeader(r.Header, true)
	inBody := ""
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "" && r.ContentLength != 0 {
		f, err := oauth.ReadForm(w, r)
		if err != nil {
			return "", err
		}
		inBody = f.Get("access_token")
	}
	switch {
	case err == nil && inBody != "":
		return "", oauth.Refuse(oauth.InvalidRequest, "the request has two tokens; use the Authorization header alone")
	case err == nil:
		return token, nil
	case errors.Is(err, introspect.ErrNoToken) && inBody != "":
		return inBody, nil
	case errors.Is(err, introspect.ErrMalformedRequest):
		return "", oauth.Refuse(oauth.InvalidRequest, "there is more than one Authorization header")
	}
	return "", oauth.Refuse(oauth.InvalidToken, "send the access token as Authorization: Bearer").Because(err)
}
