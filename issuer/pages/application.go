package pages

import (
	"net/http"
	"time"
)

// ApplicationFields are what an application asks for, as it was typed. Nothing but Name, Description and Contact must be known:
// whoever asks may be unsure of all the rest.
type ApplicationFields struct {
	Name         string   // FieldName
	Description  string   // FieldDescription
	Contact      string   // FieldContact
	ClientType   string   // FieldClientType: "public", "confidential" or "" (not sure)
	GrantTypes   []string // FieldGrantType; empty: not sure
	RedirectURIs string   // FieldRedirectURIs, one a line
	Resources    []string // FieldResource, among Choices.Resources
	Others       string   // FieldResources: resources that are not among them, one a line
	Scopes       []string // FieldScope, among Choices.Scopes
	OtherScopes  string   // FieldScopes: scopes that are not among them

	// Registered is the client_id of a client that registered itself, which ApplicationReview is about then: it has neither
	// description nor contact, and its type is fixed.
	Registered string
}

// ApplicationChoices are what this server can grant.
type ApplicationChoices struct {
	GrantTypes []string // as in RFC 7591 §2; one that has no description here is shown by its name
	Resources  []string
	Scopes     []Scope
}

// FieldError is what is wrong with a field.
type FieldError string

// What can be wrong with a field.
const (
	FieldRequired     FieldError = "required"
	FieldTooLong      FieldError = "too-long"
	FieldBadURI       FieldError = "bad-uri"       // no absolute https URI without a fragment, or one for a native application
	FieldBadContact   FieldError = "bad-contact"   // no email address
	FieldUnknownValue FieldError = "unknown-value" // not among the choices
)

// Application is the form that requests an application.
type Application struct {
	Action string // path that the form is posted to
	CSRF   string

	Fields  ApplicationFields
	Choices ApplicationChoices
	Errors  map[string]FieldError // by name of the field (the Field constants)

	LanguageURL string // see Login.LanguageURL
}

// ApplicationReceived thanks for a request.
type ApplicationReceived struct {
	Name      string // of the application
	Reference string // by which an operator finds it
	Contact   string // where the answer goes

	LanguageURL string // see Login.LanguageURL
}

// ApplicationStatus is where a request stands.
type ApplicationStatus string

// Where a request can stand.
const (
	ApplicationPending  ApplicationStatus = "pending"
	ApplicationApproved ApplicationStatus = "approved"
	ApplicationRejected ApplicationStatus = "rejected"
)

// ApplicationEntry is a line of the operator's list.
type ApplicationEntry struct {
	Name     string
	Contact  string
	Received time.Time
	Status   ApplicationStatus
	URL      string // path of its review
}

// ApplicationList is the operator's list of requests.
type ApplicationList struct {
	Entries     []ApplicationEntry
	NextURL     string // path of the next page; empty: none
	LanguageURL string // see Login.LanguageURL
}

// ApplicationReview shows a request to an operator, who may adjust it and answer with ActionApprove, or with ActionReject and
// FieldReason. The fields are those of Application, beside FieldScopes and FieldResources, which hold the whole lists here.
type ApplicationReview struct {
	Action      string // path that the form is posted to
	CSRF        string
	Transaction string // which request, in the state that is shown

	Reference string
	Received  time.Time
	Address   string // that it was sent from; may be empty
	Status    ApplicationStatus
	Reason    string // of a rejection, as typed

	Fields  ApplicationFields
	Choices ApplicationChoices
	Errors  map[string]FieldError // by name of the field

	// SecretURL is the one-time link to hand to the applicant, present on the answer to an approval alone. It opens SecretReveal.
	SecretURL string

	ListURL     string // path of the list
	LanguageURL string // see Login.LanguageURL
}

// Application renders the form that requests an application.
func (p *Pages) Application(w http.ResponseWriter, r *http.Request, status int, d Application) {
	p.render(w, r, page{template: "application.html", status: status, data: d, languageURL: d.LanguageURL})
}

// ApplicationReceived renders the thanks for a request.
func (p *Pages) ApplicationReceived(w http.ResponseWriter, r *http.Request, status int, d ApplicationReceived) {
	p.render(w, r, page{template: "application_received.html", status: status, data: d, languageURL: d.LanguageURL})
}

// ApplicationList renders the operator's list.
func (p *Pages) ApplicationList(w http.ResponseWriter, r *http.Request, status int, d ApplicationList) {
	p.render(w, r, page{template: "application_list.html", status: status, data: d, languageURL: d.LanguageURL})
}

// ApplicationReview renders a request for an operator.
func (p *Pages) ApplicationReview(w http.ResponseWriter, r *http.Request, status int, d ApplicationReview) {
	p.render(w, r, page{template: "application_review.html", status: status, data: d, languageURL: d.LanguageURL})
}
