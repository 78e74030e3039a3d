package issuer

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// pageError is a refusal that a person sees, because there is no client to tell
// it to, or none that is proven.
type pageError struct {
	status int
	kind   pages.ErrorKind
	code   oauth.ErrorCode
	detail string // for the client's developer
	cause  error
}

func (e *pageError) Error() string {
	text := string(e.kind) + ": " + e.detail
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *pageError) Unwrap() error { return e.cause }

// asPageError turns any error into the page to show.
func asPageError(err error) *pageError {
	var page *pageError
	if errors.As(err, &page) {
		return page
	}
	e := oauth.AsError(err)
	page = &pageError{status: e.Status(), kind: pages.ErrorRequest, code: e.Code, detail: e.Description, cause: err}
	switch e.Code {
	case oauth.ServerError:
		page.kind = pages.ErrorInternal
	case oauth.TemporarilyUnavailable:
		page.kind = pages.ErrorUnavailable
	}
	if e.Status() == http.StatusMethodNotAllowed {
		page.kind = pages.ErrorMethod
	}
	return page
}

// showError answers with an error page. Its correlation id is in the log too.
func (i *Issuer) showError(w http.ResponseWriter, r *http.Request, err error) {
	page := asPageError(err)
	id := record.RandomText(6)
	level := slog.LevelDebug
	if page.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	i.config.Logger.LogAttrs(r.Context(), level, "page refused", slog.String("endpoint", r.URL.Path),
		slog.String("kind", string(page.kind)), slog.String("correlation_id", id), slog.Any("cause", page.cause))
	if page.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	i.pages.Error(w, r, page.status, pages.Error{
		Kind: page.kind, Code: string(page.code), Detail: page.detail, CorrelationID: id,
	})
}

// page is a handler of a page: what it cannot do, it returns.
type page func(http.ResponseWriter, *http.Request) error

// show makes an http.HandlerFunc of a page.
func (i *Issuer) show(p page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := p(w, r); err != nil {
			i.showError(w, r, err)
		}
	}
}
