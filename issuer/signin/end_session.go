package signin

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
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

// ServeEndSession signs people out. Without proof that the client's user and the
// person here are the same, they are asked first: any page could link here.
func (h *Handler) ServeEndSession(w http.ResponseWriter, r *http.Request) error {
	f, err := h.logoutForm(w, r)
	if err != nil {
		return err
	}
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	if s == nil && r.Method == http.MethodPost && f.Get(pages.FieldCSRF) == "" {
		return redirectToGet(w, h.path("/end-session"), f)
	}
	q, err := h.parseLogout(r, f)
	if err != nil {
		return err
	}
	confirmed := r.Method == http.MethodPost && f.Get(pages.FieldCSRF) != ""
	if confirmed {
		if err := h.CheckForm(r, f, "logout", s); err != nil {
			return err
		}
		if f.Get(pages.FieldAction) == pages.ActionStay {
			Redirect(w, h.path("/account"))
			return nil
		}
	}
	switch {
	case s == nil:
		return h.afterLogout(w, r, q)
	case confirmed, q.subject == s.Subject && navigated(r):
		if err := h.people.endSession(r.Context(), s.Subject, s.Key); err != nil {
			return err
		}
		h.signedOut(w, r, s)
		return h.afterLogout(w, r, q)
	}
	return h.confirmLogout(w, r, s, q, f)
}

// logoutForm reads the parameters of GET and of POST.
func (h *Handler) logoutForm(w http.ResponseWriter, r *http.Request) (oauth.Form, error) {
	if r.Method == http.MethodPost {
		f, err := oauth.ReadForm(w, r)
		if err != nil {
			return nil, err
		}
		if sealed := f.Get(pages.FieldTransaction); sealed != "" {
			var query string
			if err := h.config.Sealer.Unseal("logout", sealed, &query); err != nil {
				return nil, ErrForged
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
func (h *Handler) parseLogout(r *http.Request, f oauth.Form) (*logoutRequest, error) {
	q := new(logoutRequest)
	clientID := f.Get("client_id")
	if hint := f.Get("id_token_hint"); hint != "" {
		subject, audience, err := h.config.HintedSubject(hint)
		if err != nil {
			return nil, oauth.Refuse(oauth.InvalidRequest, "id_token_hint is not an ID token of this issuer").Because(err)
		}
		if clientID != "" && clientID != audience {
			return nil, oauth.Refuse(oauth.InvalidRequest, "client_id is not the audience of id_token_hint")
		}
		q.subject, clientID = subject, audience
	}
	if clientID != "" {
		client, err := h.config.Client(r.Context(), clientID)
		if err != nil || client.Disabled {
			return nil, oauth.Refuse(oauth.InvalidRequest, "client_id names no client of this server").Because(err)
		}
		q.client = client
	}
	if uri := f.Get("post_logout_redirect_uri"); uri != "" {
		if q.client == nil || q.client.IsUnused() || !slices.Contains(q.client.PostLogoutRedirectURIs, uri) {
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
func (h *Handler) confirmLogout(w http.ResponseWriter, r *http.Request, s *Session, q *logoutRequest, f oauth.Form) error {
	delete(f, pages.FieldCSRF)
	delete(f, pages.FieldAction)
	sealed, err := h.config.Sealer.Seal("logout", url.Values(f).Encode())
	if err != nil {
		return err
	}
	page := pages.Logout{
		Action: h.path("/end-session"), CSRF: h.CSRF("logout", h.Browser(w, r), s), Transaction: sealed, User: s.User.Username,
	}
	if q.client != nil {
		page.Client = q.client.DisplayName()
	}
	if q.returnURI != "" {
		page.FormTargets = []string{q.returnURI}
	}
	h.config.Pages.Logout(w, r, http.StatusOK, page)
	return nil
}

// signedOut removes the cookie of a session that has ended.
func (h *Handler) signedOut(w http.ResponseWriter, r *http.Request, s *Session) {
	h.setCookie(w, "session", "")
	h.config.Trail.Record(r, audit.Logout, slog.String("subject", s.Subject))
}

// afterLogout sends the browser back, or says that it is done.
func (h *Handler) afterLogout(w http.ResponseWriter, r *http.Request, q *logoutRequest) error {
	if q.returnURI != "" {
		Redirect(w, q.returnURI)
		return nil
	}
	page := pages.LoggedOut{LoginURL: h.path("/account"), LanguageURL: h.path("/account")}
	if q.client != nil {
		page.Client = q.client.DisplayName()
	}
	h.config.Pages.LoggedOut(w, r, http.StatusOK, page)
	return nil
}
