package issuer

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// applicationsPerPage is how many requests the operator's list shows at once.
const applicationsPerPage = 50

var errNotOperator = &signin.PageError{Status: http.StatusForbidden, Kind: pages.ErrorForbidden,
	Detail: "Applications are answered by people with the operator role (caddy oauth user add --operator)."}

var errNoApplication = &signin.PageError{Status: http.StatusNotFound, Kind: pages.ErrorNotFound,
	Detail: "There is no request with this reference, or it is too old."}

// operator returns the session of an operator. Without one it answers with the
// sign-in page, which leads back here, and returns nil; whoever is signed in and
// no operator is refused.
func (i *Issuer) operator(w http.ResponseWriter, r *http.Request, reference string) (*signin.Session, error) {
	s, err := i.signin.Session(r)
	switch {
	case err != nil:
		return nil, err
	case s == nil && r.Method == http.MethodPost:
		return nil, signin.ErrForged
	case s == nil:
		return nil, i.signin.AskToSignIn(w, r, signin.ForApplications, reference)
	case !s.User.Operator:
		return nil, errNotOperator
	}
	return s, nil
}

// serveApplications is the operator's list of requests.
func (i *Issuer) serveApplications(w http.ResponseWriter, r *http.Request) error {
	s, err := i.operator(w, r, "")
	if s == nil || err != nil {
		return err
	}
	all, err := i.Applications(r.Context())
	if err != nil {
		return err
	}
	page, _ := strconv.ParseUint(r.URL.Query().Get("page"), 10, 16)
	from := min(int(page)*applicationsPerPage, len(all))
	to := min(from+applicationsPerPage, len(all))
	list := pages.ApplicationList{LanguageURL: i.signin.ApplicationPath("")}
	for _, a := range all[from:to] {
		list.Entries = append(list.Entries, pages.ApplicationEntry{
			Name: a.Name, Contact: a.Contact, Received: a.Received, Status: a.Status.page(), URL: i.signin.ApplicationPath(a.Reference),
		})
	}
	if to < len(all) {
		list.NextURL = i.signin.ApplicationPath("") + "?page=" + strconv.FormatUint(page+1, 10)
	}
	i.pages.ApplicationList(w, r, http.StatusOK, list)
	return nil
}

// serveApplicationReview shows a request to an operator (GET) and takes the
// answer (POST).
func (i *Issuer) serveApplicationReview(w http.ResponseWriter, r *http.Request) error {
	reference := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, i.signin.ApplicationPath("")+"/"), "/")
	if !validReference(reference) {
		return errNoApplication
	}
	s, err := i.operator(w, r, reference)
	if s == nil || err != nil {
		return err
	}
	a, err := i.Application(r.Context(), reference)
	if errors.Is(err, storage.ErrNotFound) {
		return errNoApplication
	}
	if err != nil {
		return err
	}
	if r.Method != http.MethodPost {
		i.showReview(w, r, http.StatusOK, s, i.review(a))
		return nil
	}
	f, err := oauth.ReadFormWith(w, r, repeatableInApplication)
	if err != nil {
		return err
	}
	if err := i.signin.CheckForm(r, f, "application "+reference, s); err != nil {
		return err
	}
	switch f.Get(pages.FieldAction) {
	case pages.ActionApprove:
		return i.approveOnPage(w, r, s, a, f)
	case pages.ActionReject:
		return i.rejectOnPage(w, r, s, a, f)
	}
	return oauth.Refuse(oauth.InvalidRequest, "the form asks for nothing")
}

// review is the page of a request as it was made.
func (i *Issuer) review(a *Application) pages.ApplicationReview {
	return pages.ApplicationReview{
		Transaction: a.Reference, Reference: a.Reference, Received: a.Received, Address: a.Address,
		Status: a.Status.page(), Reason: a.Reason, Choices: i.applicationChoices(),
		Fields: pages.ApplicationFields{
			Name: a.Name, Description: a.Description, Contact: a.Contact, ClientType: a.ClientType, GrantTypes: a.GrantTypes,
			RedirectURIs: strings.Join(a.RedirectURIs, "\n"), Others: strings.Join(a.Resources, "\n"), OtherScopes: strings.Join(a.Scopes, "\n"),
			Registered: registeredID(a),
		},
	}
}

// registeredID is the id of the client that registered itself, if that is what
// the request is about.
func registeredID(a *Application) string {
	if !a.Registered {
		return ""
	}
	return a.ClientID
}

func (i *Issuer) showReview(w http.ResponseWriter, r *http.Request, status int, s *signin.Session, review pages.ApplicationReview) {
	review.Action, review.ListURL = i.signin.ApplicationPath(review.Reference), i.signin.ApplicationPath("")
	review.CSRF = i.signin.CSRF("application "+review.Reference, i.signin.Browser(w, r), s)
	if review.SecretURL == "" { // a page that is shown once has no other language
		review.LanguageURL = review.Action
	}
	i.pages.ApplicationReview(w, r, status, review)
}

// approveOnPage makes or enables the client as the operator adjusted it. The link
// to its secret, if there is one, stands on this answer and nowhere else.
func (i *Issuer) approveOnPage(w http.ResponseWriter, r *http.Request, s *signin.Session, a *Application, f oauth.Form) error {
	typed := typedApplication(f)
	metadata, problems := i.adjusted(typed)
	if len(problems) > 0 {
		review := i.review(a)
		typed.Registered = review.Fields.Registered
		review.Fields, review.Errors = typed, problems
		i.showReview(w, r, http.StatusBadRequest, s, review)
		return nil
	}
	metadata.ID = registeredID(a)
	approval, err := i.approveApplication(r.Context(), a.Reference, metadata, s)
	if err != nil {
		return pageOfAnswer(err)
	}
	i.auditOperator(r, approval.Application)
	review := i.review(approval.Application)
	review.SecretURL = approval.SecretURL
	i.showReview(w, r, http.StatusOK, s, review)
	return nil
}

func (i *Issuer) rejectOnPage(w http.ResponseWriter, r *http.Request, s *signin.Session, a *Application, f oauth.Form) error {
	reason := f.Get(pages.FieldReason)
	var problem pages.FieldError
	switch clean := cleanText(reason); {
	case clean == "":
		problem = pages.FieldRequired
	case utf8.RuneCountInString(clean) > maxApplicationReason:
		problem = pages.FieldTooLong
	}
	if problem != "" {
		review := i.review(a)
		review.Reason, review.Errors = reason, map[string]pages.FieldError{pages.FieldReason: problem}
		i.showReview(w, r, http.StatusBadRequest, s, review)
		return nil
	}
	rejected, err := i.rejectApplication(r.Context(), a.Reference, reason, s)
	if err != nil {
		return pageOfAnswer(err)
	}
	i.auditOperator(r, rejected)
	signin.Redirect(w, i.signin.ApplicationPath(a.Reference))
	return nil
}

// auditOperator writes the line about an answer that was given on a page.
func (i *Issuer) auditOperator(r *http.Request, a *Application) {
	event, attrs := answerEvent(a)
	i.trail.Record(r, event, attrs...)
}

// pageOfAnswer is the page for an answer that could not be given.
func pageOfAnswer(err error) error {
	if errors.Is(err, ErrApplicationAnswered) {
		return &signin.PageError{Status: http.StatusConflict, Kind: pages.ErrorUsed, Detail: "The request was approved or rejected already.", Cause: err}
	}
	var wrong *clientError
	if errors.As(err, &wrong) {
		return &signin.PageError{Status: http.StatusBadRequest, Kind: pages.ErrorRequest, Detail: wrong.Error(), Cause: err}
	}
	return err
}

// adjusted is the client as it stands in the operator's form. Whatever could be
// wrong with it is found here, by field; the reasons are those of AddClient.
func (i *Issuer) adjusted(typed pages.ApplicationFields) (clients.Metadata, map[string]pages.FieldError) {
	m := clients.Metadata{
		Name: cleanLine(typed.Name), Type: typed.ClientType, GrantTypes: unique(typed.GrantTypes),
		RedirectURIs: cleanLines(typed.RedirectURIs), Resources: cleanLines(typed.Others),
		Scope: unique(strings.Fields(cleanText(typed.OtherScopes))),
	}
	problems := make(map[string]pages.FieldError)
	i.checkChoices(pages.ApplicationFields{ClientType: m.Type, GrantTypes: m.GrantTypes}, problems)
	checkRedirects(m.RedirectURIs, problems)
	for _, resource := range m.Resources {
		if clients.ValidateResource(resource) != nil {
			problems[pages.FieldResources] = pages.FieldBadURI
		}
	}
	for _, scope := range m.Scope {
		if !i.config.HasScope(scope) {
			problems[pages.FieldScopes] = pages.FieldUnknownValue
		}
	}
	for _, grantType := range m.GrantTypes {
		if m.Type == clients.Public && oauth.ConfidentialOnly(grantType) {
			problems[pages.FieldGrantType] = pages.FieldUnknownValue
		}
	}
	for field, missing := range map[string]bool{
		pages.FieldName: m.Name == "", pages.FieldClientType: m.Type == "", pages.FieldGrantType: len(m.GrantTypes) == 0,
		pages.FieldRedirectURIs: m.MayUse(oauth.GrantAuthorizationCode) && len(m.RedirectURIs) == 0,
	} {
		if missing {
			problems[field] = pages.FieldRequired
		}
	}
	if utf8.RuneCountInString(m.Name) > maxApplicationName {
		problems[pages.FieldName] = pages.FieldTooLong
	}
	return m, problems
}
