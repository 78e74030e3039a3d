package pages

import (
	"net/http"
	"slices"
)

// Error is shown where an error cannot go to a client: the client or its redirect URI is not proven (RFC 6749 §4.1.2.1), or the
// person came without one. It has a part for the person, and one for the client's developer.
type Error struct {
	Kind        ErrorKind
	Title       Text // in place of the kind's own; may be nil
	Description Text // in place of the kind's own; may be nil

	Code          string // for the developer, such as "invalid_request"; may be empty
	Detail        string // for the developer, in English: what was wrong with which parameter; may be empty
	CorrelationID string // stands in the log beside the cause; may be empty

	LanguageURL string // see Login.LanguageURL
}

// ErrorKind chooses title and description. An unknown kind is shown as ErrorInternal.
type ErrorKind string

// What can have gone wrong.
const (
	ErrorRequest     ErrorKind = "request"     // a parameter is missing, repeated or malformed
	ErrorClient      ErrorKind = "client"      // the client is unknown or disabled
	ErrorRedirect    ErrorKind = "redirect"    // the redirect URI is not registered
	ErrorExpired     ErrorKind = "expired"     // the page, code or link is too old
	ErrorUsed        ErrorKind = "used"        // the form or link has been used
	ErrorForgery     ErrorKind = "forgery"     // the form did not come from our page, or cookies are off
	ErrorForbidden   ErrorKind = "forbidden"   // the person may not see this
	ErrorNotFound    ErrorKind = "not-found"   // no such page
	ErrorMethod      ErrorKind = "method"      // method not allowed
	ErrorThrottled   ErrorKind = "throttled"   // too many requests
	ErrorUpstream    ErrorKind = "upstream"    // the identity provider failed
	ErrorUnavailable ErrorKind = "unavailable" // storage down, shutting down
	ErrorInternal    ErrorKind = "internal"    // the cause is in the log alone
)

var errorKinds = []ErrorKind{
	ErrorRequest, ErrorClient, ErrorRedirect, ErrorExpired, ErrorUsed, ErrorForgery, ErrorForbidden, ErrorNotFound, ErrorMethod,
	ErrorThrottled, ErrorUpstream, ErrorUnavailable, ErrorInternal,
}

// Error renders an error.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, status int, d Error) {
	if !slices.Contains(errorKinds, d.Kind) {
		d.Kind = ErrorInternal
	}
	p.render(w, r, page{template: "error.html", status: status, data: d, languageURL: d.LanguageURL})
}
