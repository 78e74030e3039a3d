package signin

import (
	"net/http"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// kindSpent is the storage kind of forms that were answered: issuer, transaction.
const kindSpent = "spent"

// transactionLifetime is how long a person may take to sign in and decide.
const transactionLifetime = time.Hour

// transaction is an unfinished piece of business with a person: an authorization
// request, a visit to the account page. It is not stored: sealed, it stands in
// the forms and addresses of our pages, and only the browser that began it can
// go on with it.
type transaction struct {
	ID      string    `json:"id"` // spent once a code was given
	Purpose string    `json:"for"`
	Query   string    `json:"query,omitempty"` // the authorization request as it came
	Browser string    `json:"browser"`
	Started time.Time `json:"started"`

	// Shown is a digest of what the page that asks showed: that, and nothing that
	// the client or the configuration became meanwhile, is what is agreed to.
	Shown string `json:"shown,omitempty"`

	// SignedIn is the key of the session that was begun for it, if one was: that
	// sign-in is late enough for everything. Its time does not tell, since the clock
	// of another node may be ahead of ours.
	SignedIn string `json:"signed_in,omitempty"`
}

// What a transaction is for.
const (
	forAuthorization = "authorization"
	forAccount       = "account"
	forDevice        = "device"       // its Query is the user code
	ForApplications  = "applications" // an operator answers; its Query is a reference, or empty
)

func (h *Handler) newTransaction(purpose, query, browser string) *transaction {
	return &transaction{ID: record.RandomText(16), Purpose: purpose, Query: query, Browser: browser, Started: time.Now().UTC()}
}

// sealed is the transaction as it travels.
func (h *Handler) sealed(t *transaction) string {
	text, err := h.config.Sealer.Seal("transaction", t)
	if err != nil { // strings and a time
		panic(err)
	}
	return text
}

// resume opens the transaction that a browser came back with.
func (h *Handler) resume(r *http.Request, sealed string) (*transaction, error) {
	t := new(transaction)
	if err := h.config.Sealer.Unseal("transaction", sealed, t); err != nil {
		return nil, &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorExpired, Cause: err,
			Detail: "The transaction was not begun here. Start again at the application."}
	}
	if browser := h.cookie(r, "browser"); browser == "" || browser != t.Browser {
		return nil, &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorForgery,
			Detail: "The transaction was begun in another browser, or the browser does not keep cookies."}
	}
	if time.Since(t.Started) > transactionLifetime {
		return nil, &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorExpired,
			Detail: "The transaction is too old. Start again at the application."}
	}
	return t, nil
}
