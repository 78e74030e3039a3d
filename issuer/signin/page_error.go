package signin

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// PageError is a refusal that a person sees, because there is no client to tell
// it to, or none that is proven.
type PageError struct {
	Status int
	Kind   pages.ErrorKind
	Code   oauth.ErrorCode
	Detail string // for the client's developer
	Cause  error
}

// Error is the kind, the detail and the cause, for the log.
func (e *PageError) Error() string {
	text := string(e.Kind) + ": " + e.Detail
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause, which only logs may show.
func (e *PageError) Unwrap() error { return e.Cause }

// asPageError turns any error into the page to show.
func asPageError(err error) *PageError {
	var page *PageError
	if errors.As(err, &page) {
		return page
	}
	e := oauth.AsError(err)
	page = &PageError{Status: e.Status(), Kind: pages.ErrorRequest, Code: e.Code, Detail: e.Description, Cause: err}
	switch e.Code {
	case oauth.ServerError:
		page.Kind = pages.ErrorInternal
	case oauth.TemporarilyUnavailable:
		page.Kind = pages.ErrorUnavailable
	}
	if e.Status() == http.StatusMethodNotAllowed {
		page.Kind = pages.ErrorMethod
	}
	return page
}

// showError answers with an error page. Its correlation id is in the log too.
func (h *Handler) showError(w http.ResponseWriter, r *http.Request, err error) {
	page := asPageError(err)
	id := record.RandomText(6)
	level := slog.LevelDebug
	if page.Status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.config.Logger.LogAttrs(r.Context(), level, "page refused", slog.String("endpoint", r.URL.Path),
		slog.String("kind", string(page.Kind)), slog.String("correlation_id", id), slog.Any("cause", page.Cause))
	if page.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	h.config.Pages.Error(w, r, page.Status, pages.Error{
		Kind: page.Kind, Code: string(page.Code), Detail: page.Detail, CorrelationID: id,
	})
}

// Page is a handler of a page: what it cannot do, it returns.
type Page func(http.ResponseWriter, *http.Request) error

// Show makes an http.HandlerFunc of a page.
func (h *Handler) Show(p Page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := p(w, r); err != nil {
			h.showError(w, r, err)
		}
	}
}
