package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
)

// serveApplicationForm is where anybody requests an application. What is typed
// costs nothing until it is complete, within its bounds, and within what one
// address may send.
func (i *Issuer) serveApplicationForm(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		if sealed := r.URL.Query().Get("received"); sealed != "" {
			return i.thankApplicant(w, r, sealed)
		}
		return i.showApplicationForm(w, r, http.StatusOK, pages.ApplicationFields{}, nil)
	}
	f, err := oauth.ReadFormWith(w, r, repeatableInApplication)
	if err != nil {
		return err
	}
	s, err := i.signin.Session(r)
	if err != nil {
		return err
	}
	if err := i.signin.CheckForm(r, f, "application", s); err != nil {
		return err
	}
	fields := typedApplication(f)
	a, problems := i.readApplication(fields)
	if len(problems) > 0 {
		return i.showApplicationForm(w, r, http.StatusBadRequest, fields, problems)
	}
	return i.receiveApplication(w, r, a)
}

// repeatableInApplication are the checkboxes of the two forms.
var repeatableInApplication = map[string]bool{
	pages.FieldGrantType: true, pages.FieldResource: true, pages.FieldScope: true,
}

// receiveApplication stores a request and thanks for it, by a redirect: loading
// that page again does not send the request again.
func (i *Issuer) receiveApplication(w http.ResponseWriter, r *http.Request, a *Application) error {
	a.Address = i.config.ClientIP(r)
	if wait := i.realm.requests.Take(a.Address); wait > 0 {
		w.Header().Set("Retry-After", oauth.RetryAfter(wait))
		return &signin.PageError{Status: http.StatusTooManyRequests, Kind: pages.ErrorThrottled, Detail: "Too many requests for applications came from this address."}
	}
	err := i.addApplication(r.Context(), a)
	if errors.Is(err, errApplicationsFull) {
		i.trail.Record(r, audit.ApplicationRefused, slog.String("reason", "too many are pending"))
		return i.showApplicationsFull(w, r)
	}
	if err != nil {
		return err
	}
	i.announceApplication(r, a)
	sealed, err := i.realm.seal.Seal("application received", receivedApplication{a.Reference, a.Name, a.Contact})
	if err != nil {
		return err
	}
	signin.Redirect(w, i.path("/applications/new")+"?received="+url.QueryEscape(sealed))
	return nil
}

// announceApplication tells the operators of a request that is stored.
func (i *Issuer) announceApplication(r *http.Request, a *Application) {
	i.trail.Record(r, audit.ApplicationRequested, slog.String("reference", a.Reference), slog.String("name", audit.Loggable(a.Name)))
	if i.config.OnApplication != nil {
		i.config.OnApplication(r.Context(), *a)
	}
}

// receivedApplication is what the thanks say.
type receivedApplication struct{ Reference, Name, Contact string }

func (i *Issuer) thankApplicant(w http.ResponseWriter, r *http.Request, sealed string) error {
	var received receivedApplication
	if err := i.realm.seal.Unseal("application received", sealed, &received); err != nil {
		return &signin.PageError{Status: http.StatusBadRequest, Kind: pages.ErrorRequest, Cause: err, Detail: "The address of this page is not complete."}
	}
	i.pages.ApplicationReceived(w, r, http.StatusOK, pages.ApplicationReceived{
		Name: received.Name, Reference: received.Reference, Contact: received.Contact,
		LanguageURL: i.path("/applications/new") + "?received=" + url.QueryEscape(sealed),
	})
	return nil
}

// showApplicationsFull says that no requests are taken now, and nothing of how
// many there are.
func (i *Issuer) showApplicationsFull(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Retry-After", "86400")
	i.pages.Error(w, r, http.StatusServiceUnavailable, pages.Error{
		Kind:  pages.ErrorUnavailable,
		Title: pages.Text{"": "No requests are accepted now", "fr": "Aucune demande n’est acceptée actuellement"},
		Description: pages.Text{
			"":   "Too many requests wait for an answer already. Yours was not stored; please try again in a few days, or contact the operators.",
			"fr": "Trop de demandes attendent déjà une réponse. La vôtre n’a pas été enregistrée ; réessayez dans quelques jours ou contactez les exploitants.",
		},
		LanguageURL: i.path("/applications/new"),
	})
	return nil
}

func (i *Issuer) showApplicationForm(w http.ResponseWriter, r *http.Request, status int, fields pages.ApplicationFields, problems map[string]pages.FieldError) error {
	s, err := i.signin.Session(r)
	if err != nil {
		return err
	}
	i.pages.Application(w, r, status, pages.Application{
		Action: i.path("/applications/new"), CSRF: i.signin.CSRF("application", i.signin.Browser(w, r), s),
		Fields: fields, Choices: i.applicationChoices(), Errors: problems, LanguageURL: i.path("/applications/new"),
	})
	return nil
}

// applicationChoices are what clients of this issuer can have.
func (i *Issuer) applicationChoices() pages.ApplicationChoices {
	choices := pages.ApplicationChoices{GrantTypes: oauth.GrantTypes(), Resources: i.knownResources()}
	for _, name := range i.config.scopeNames() {
		choices.Scopes = append(choices.Scopes, i.signin.DescribeScope(name, false))
	}
	return choices
}

// knownResources are the APIs that this issuer has tokens for.
func (i *Issuer) knownResources() []string {
	all := slices.Clone(i.config.Resources())
	if fallback := i.config.DefaultResource; fallback != "" && !slices.Contains(all, fallback) {
		all = append(all, fallback)
	}
	return all
}

// typedApplication is what stands in the form.
func typedApplication(f oauth.Form) pages.ApplicationFields {
	return pages.ApplicationFields{
		Name: f.Get(pages.FieldName), Description: f.Get(pages.FieldDescription), Contact: f.Get(pages.FieldContact),
		ClientType: f.Get(pages.FieldClientType), GrantTypes: f.All(pages.FieldGrantType), RedirectURIs: f.Get(pages.FieldRedirectURIs),
		Resources: f.All(pages.FieldResource), Others: f.Get(pages.FieldResources),
		Scopes: f.All(pages.FieldScope), OtherScopes: f.Get(pages.FieldScopes),
	}
}

// readApplication makes a request of what was typed, or says what is wrong with
// which field. Name, description and contact must be known, and nothing else.
func (i *Issuer) readApplication(typed pages.ApplicationFields) (*Application, map[string]pages.FieldError) {
	a := &Application{
		Name: cleanLine(typed.Name), Description: cleanText(typed.Description), Contact: cleanLine(typed.Contact),
		ClientType: typed.ClientType, GrantTypes: unique(typed.GrantTypes), RedirectURIs: cleanLines(typed.RedirectURIs),
		Resources: unique(append(slices.Clone(typed.Resources), cleanLines(typed.Others)...)),
		Scopes:    unique(append(slices.Clone(typed.Scopes), strings.Fields(cleanLine(typed.OtherScopes))...)),
	}
	problems := make(map[string]pages.FieldError)
	i.checkChoices(typed, problems)
	checkRedirects(a.RedirectURIs, problems)
	if address, err := mail.ParseAddress(a.Contact); err != nil || address.Address != a.Contact {
		problems[pages.FieldContact] = pages.FieldBadContact
	}
	for _, bounded := range []struct {
		field, text string
		most        int
	}{
		{pages.FieldName, a.Name, maxApplicationName},
		{pages.FieldDescription, a.Description, maxApplicationDescription},
		{pages.FieldContact, a.Contact, maxApplicationContact},
		{pages.FieldRedirectURIs, typed.RedirectURIs, maxApplicationLines},
		{pages.FieldResources, typed.Others, maxApplicationLines},
		{pages.FieldScopes, typed.OtherScopes, maxApplicationScopes},
	} {
		if utf8.RuneCountInString(bounded.text) > bounded.most {
			problems[bounded.field] = pages.FieldTooLong
		}
	}
	for field, text := range map[string]string{pages.FieldName: a.Name, pages.FieldDescription: a.Description, pages.FieldContact: a.Contact} {
		if text == "" {
			problems[field] = pages.FieldRequired
		}
	}
	return a, problems
}

// checkChoices: what was chosen must have been offered. A browser sends nothing
// else, but others do.
func (i *Issuer) checkChoices(typed pages.ApplicationFields, problems map[string]pages.FieldError) {
	switch typed.ClientType {
	case "", clients.Confidential, clients.Public:
	default:
		problems[pages.FieldClientType] = pages.FieldUnknownValue
	}
	for field, chosen := range map[string]struct{ values, offered []string }{
		pages.FieldGrantType: {typed.GrantTypes, oauth.GrantTypes()},
		pages.FieldResource:  {typed.Resources, i.knownResources()},
		pages.FieldScope:     {typed.Scopes, i.config.scopeNames()},
	} {
		for _, value := range chosen.values {
			if !slices.Contains(chosen.offered, value) {
				problems[field] = pages.FieldUnknownValue
			}
		}
	}
}

func checkRedirects(uris []string, problems map[string]pages.FieldError) {
	for _, uri := range uris {
		if clients.ValidateRedirectURI(uri) != nil {
			problems[pages.FieldRedirectURIs] = pages.FieldBadURI
		}
	}
}

// unique returns each value once, in order; nil where there is none.
func unique(values []string) (once []string) {
	for _, value := range values {
		if !slices.Contains(once, value) {
			once = append(once, value)
		}
	}
	return once
}
