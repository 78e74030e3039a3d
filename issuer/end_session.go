package issuer

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
)

// logoutRequest is a request to sign out (OpenID Connect RP-Initiated Logout §2).
type logoutRequest struct {
	client    *clients.Client
	subject   string // of the hint; empty without one
	returnURI string // registered with the client; empty: none
}

// serveEndSession signs people out. Without proof that the client's user and the
// person here are the same, they are asked first: any page could link here.
func (i *Issuer) serveEndSession(w http.ResponseWriter, r *http.Request) error {
	f, err := i.logoutForm(w, r)
	if err != nil {
		return err
	}
	s, err := i.session(r)
	if err != nil {
		return err
	}
	q, err := i.parseLogout(r, f)
	if err != nil {
		return err
	}
	confirmed := r.Method == http.MethodPost && f.Get(pages.FieldCSRF) != ""
	if confirmed {
		if err := i.checkForm(r, f, "logout", s); err != nil {
			return err
		}
		if f.Get(pages.FieldAction) == pages.ActionStay {
			redirect(w, i.path("/account"))
			return nil
		}
	}
	switch {
	case s == nil:
		return i.afterLogout(w, r, q)
	case confirmed, q.subject == s.Subject && navigated(r):
		if err := i.endSession(r.Context(), s.Subject, s.key); err != nil {
			return err
		}
		i.signedOut(w, r, s)
		return i.afterLogout(w, r, q)
	}
	return i.confirmLogout(w, r, s, q, f)
}

// logoutForm reads the parameters of GET and of POST.
func (i *Issuer) logoutForm(w http.ResponseWriter, r *http.Request) (oauth.Form, error) {
	if r.Method == http.MethodPost {
		f, err := oauth.ReadForm(w, r)
		if err != nil {
			return nil, err
		}
		if sealed := f.Get(pages.FieldTransaction); sealed != "" {
			var query string
			if err := i.realm.seal.Unseal("logout", sealed, &query); err != nil {
				return nil, errForged
			}
			original, err := oauth.ParseForm(query)
			if err != nil {
				return nil, err
			}
			for _, name := range []string{pages.FieldCSRF, pages.FieldAction} {
				original[name] = f[name]
			}
			return original, nil
		}
		return f, nil
	}
	return oauth.ParseForm(r.URL.RawQuery)
}

// parseLogout checks what a client asks for. It may be sent back to only where
// it is registered with (§3).
func (i *Issuer) parseLogout(r *http.Request, f oauth.Form) (*logoutRequest, error) {
	q := new(logoutRequest)
	clientID := f.Get("client_id")
	if hint := f.Get("id_token_hint"); hint != "" {
		subject, audience, err := i.hintedSubject(hint)
		if err != nil {
			return nil, oauth.Refuse(oauth.InvalidRequest, "id_token_hint is not an ID token of this issuer").Because(err)
		}
		if clientID != "" && clientID != audience {
			return nil, oauth.Refuse(oauth.InvalidRequest, "client_id is not the audience of id_token_hint")
		}
		q.subject, clientID = subject, audience
	}
	if clientID != "" {
		client, err := i.Client(r.Context(), clientID)
		if err != nil || client.Disabled {
			return nil, oauth.Refuse(oauth.InvalidRequest, "client_id names no client of this server").Because(err)
		}
		q.client = client
	}
	if uri := f.Get("post_logout_redirect_uri"); uri != "" {
		if q.client == nil || !slices.Contains(q.client.PostLogoutRedirectURIs, uri) {
			return nil, oauth.Refuse(oauth.InvalidRequest, "post_logout_redirect_uri is not registered with the client, or the client is not named by client_id or id_token_hint")
		}
		q.returnURI = uri
		if state := f.Get("state"); state != "" {
			separator := "?"
			if strings.Contains(uri, "?") {
				separator = "&"
			}
			q.returnURI += separator + url.Values{"state": {state}}.Encode()
		}
	}
	return q, nil
}

// navigated tells whether a person's browser goes to the page, rather than
// loading it as an image or ahead of time.
func navigated(r *http.Request) bool {
	if r.Method == http.MethodHead || r.Header.Get("Purpose") == "prefetch" || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		return false
	}
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode == "" || mode == "navigate"
}

// confirmLogout asks whether to sign out.
func (i *Issuer) confirmLogout(w http.ResponseWriter, r *http.Request, s *session, q *logoutRequest, f oauth.Form) error {
	delete(f, pages.FieldCSRF)
	delete(f, pages.FieldAction)
	sealed, err := i.realm.seal.Seal("logout", url.Values(f).Encode())
	if err != nil {
		return err
	}
	page := pages.Logout{
		Action: i.path("/end-session"), CSRF: i.csrf("logout", i.browser(w, r), s), Transaction: sealed, User: s.user.Username,
	}
	if q.client != nil {
		page.Client = q.client.DisplayName()
	}
	if q.returnURI != "" {
		page.FormTargets = []string{q.returnURI}
	}
	i.pages.Logout(w, r, http.StatusOK, page)
	return nil
}

// signedOut removes the cookie of a session that has ended.
func (i *Issuer) signedOut(w http.ResponseWriter, r *http.Request, s *session) {
	i.setCookie(w, "session", "")
	i.trail.Record(r, "logout", slog.String("subject", s.Subject))
}

// afterLogout sends the browser back, or says that it is done.
func (i *Issuer) afterLogout(w http.ResponseWriter, r *http.Request, q *logoutRequest) error {
	if q.returnURI != "" {
		redirect(w, q.returnURI)
		return nil
	}
	page := pages.LoggedOut{LoginURL: i.path("/account"), LanguageURL: i.path("/account")}
	if q.client != nil {
		page.Client = q.client.DisplayName()
	}
	i.pages.LoggedOut(w, r, http.StatusOK, page)
	return nil
}
