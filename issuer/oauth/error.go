package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Error is a refusal. It speaks to three readers: Code to the program,
// Description to the developer of the client, the cause to the operator's log.
// None of them ever holds a secret, a token, or text of the request that was
// not checked before.
type Error struct {
	Code ErrorCode

	// Description says what was wrong and what would be right, in the
	// characters that RFC 6749 §5.2 allows.
	Description string

	// status is set only where the code does not decide it: 404, 405, 413, 415, 425, 429.
	status int
	// retryAfter is set where a client should wait longer than a moment.
	retryAfter time.Duration
	cause      error
}

// Error is code, description and cause, for the log.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Description
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause, which only logs may show.
func (e *Error) Unwrap() error { return e.cause }

// Refuse makes an Error of a code and a description.
func Refuse(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Description: fmt.Sprintf(format, args...)}
}

// Because adds the cause, for the log.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// WithStatus sets the HTTP status, where the code does not decide it.
func (e *Error) WithStatus(status int) *Error {
	e.status = status
	return e
}

// After says when to come back, where that is longer than a moment.
func (e *Error) After(wait time.Duration) *Error {
	e.retryAfter = wait
	return e
}

// AsError turns any error into the one to answer with. Whatever is not known is
// server_error; a storage that cannot tell is temporarily_unavailable.
func AsError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, storage.ErrBusy), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrDamaged),
		errors.Is(err, keys.ErrNoKey), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Refuse(TemporarilyUnavailable, "the server cannot answer now; try again later").Because(err)
	}
	return Refuse(ServerError, "the server failed to answer this request").Because(err)
}

// Status is the HTTP status that goes with the error, in this one place for
// every endpoint.
func (e *Error) Status() int {
	if e.status != 0 {
		return e.status
	}
	switch e.Code {
	case InvalidClient, InvalidToken:
		return http.StatusUnauthorized
	case InsufficientScope:
		return http.StatusForbidden
	case ServerError:
		return http.StatusInternalServerError
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// Refusals is how an issuer's endpoints refuse requests of programs.
type Refusals struct {
	Logger *slog.Logger
	Realm  string // of challenges: the issuer's URL
}

// Write answers with the error (RFC 6749 §5.2) and logs it: what a client did
// wrong at debug level, what failed here at error level.
func (x Refusals) Write(w http.ResponseWriter, r *http.Request, err error) {
	e := AsError(err)
	level := slog.LevelDebug
	if e.Status() >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	x.Logger.LogAttrs(r.Context(), level, "request refused",
		slog.String("endpoint", audit.Loggable(r.URL.Path)), slog.String("error", string(e.Code)),
		slog.String("description", e.Description), slog.Any("cause", e.cause))

	header := w.Header()
	switch e.Code {
	case InvalidClient: // RFC 6749 §5.2: with the scheme the client used; Basic is the one we offer
		header.Set("WWW-Authenticate", `Basic realm="`+x.Realm+`", charset="UTF-8"`)
	case TemporarilyUnavailable:
		header.Set("Retry-After", RetryAfter(max(e.retryAfter, 2*time.Second)))
	}
	WriteJSON(w, e.Status(), struct {
		Error       ErrorCode `json:"error"`
		Description string    `json:"error_description,omitempty"`
	}{e.Code, DescriptionText(e.Description)})
}

// DescriptionText keeps to the characters of RFC 6749 §5.2: %x20-21 / %x23-5B /
// %x5D-7E.
func DescriptionText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < 0x20 || r > 0x7e || r == '\\':
			return '?'
		}
		return r
	}, s)
}

// WriteJSON answers with a JSON object that must not be kept by anyone on the
// way (RFC 6749 §5.1).
func WriteJSON(w http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil { // only values of this package get here
		panic(fmt.Sprintf("issuer: unencodable answer %T: %v", body, err))
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-cache, no-store")
	header.Set("Pragma", "no-cache")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(encoded) // a client that went away needs no answer
}

// RetryAfter is a wait in whole seconds, rounded up.
func RetryAfter(wait time.Duration) string {
	return strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
}
