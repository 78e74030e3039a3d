package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// ErrorCode is an error code of RFC 6749 §5.2 or of an extension of it.
type ErrorCode string

// The error codes of the endpoints that answer JSON.
const (
	InvalidRequest         ErrorCode = "invalid_request"         // RFC 6749 §5.2
	InvalidClient          ErrorCode = "invalid_client"          // RFC 6749 §5.2
	InvalidGrant           ErrorCode = "invalid_grant"           // RFC 6749 §5.2
	UnauthorizedClient     ErrorCode = "unauthorized_client"     // RFC 6749 §5.2
	UnsupportedGrantType   ErrorCode = "unsupported_grant_type"  // RFC 6749 §5.2
	InvalidScope           ErrorCode = "invalid_scope"           // RFC 6749 §5.2
	InvalidTarget          ErrorCode = "invalid_target"          // RFC 8707 §2
	InvalidToken           ErrorCode = "invalid_token"           // RFC 6750 §3.1
	InsufficientScope      ErrorCode = "insufficient_scope"      // RFC 6750 §3.1
	UnsupportedTokenType   ErrorCode = "unsupported_token_type"  // RFC 7009 §2.2.1
	ServerError            ErrorCode = "server_error"            // RFC 6749 §4.1.2.1
	TemporarilyUnavailable ErrorCode = "temporarily_unavailable" // RFC 6749 §4.1.2.1
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

	// status is set only where the code does not decide it: 405, 413 and 415.
	status int
	// retryAfter is set where a client should wait longer than a moment.
	retryAfter time.Duration
	cause      error
}

func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Description
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause, which only logs may show.
func (e *Error) Unwrap() error { return e.cause }

// refuse makes an Error of a code and a description.
func refuse(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Description: fmt.Sprintf(format, args...)}
}

// because adds the cause, for the log.
func (e *Error) because(cause error) *Error {
	e.cause = cause
	return e
}

// asError turns any error into the one to answer with. Whatever is not known is
// server_error; a storage that cannot tell is temporarily_unavailable.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, storage.ErrBusy), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrDamaged),
		errors.Is(err, keys.ErrNoKey), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(TemporarilyUnavailable, "the server cannot answer now; try again later").because(err)
	}
	return refuse(ServerError, "the server failed to answer this request").because(err)
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

// writeError answers with the error (RFC 6749 §5.2) and logs it: what a client
// did wrong at debug level, what failed here at error level.
func (i *Issuer) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	level := slog.LevelDebug
	if e.Status() >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	i.config.Logger.LogAttrs(r.Context(), level, "request refused",
		slog.String("endpoint", loggable(r.URL.Path)), slog.String("error", string(e.Code)),
		slog.String("description", e.Description), slog.Any("cause", e.cause))

	header := w.Header()
	switch e.Code {
	case InvalidClient: // RFC 6749 §5.2: with the scheme the client used; Basic is the one we offer
		header.Set("WWW-Authenticate", `Basic realm="`+i.config.URL+`", charset="UTF-8"`)
	case TemporarilyUnavailable:
		header.Set("Retry-After", retryAfter(max(e.retryAfter, 2*time.Second)))
	}
	writeJSON(w, e.Status(), struct {
		Error       ErrorCode `json:"error"`
		Description string    `json:"error_description,omitempty"`
	}{e.Code, descriptionText(e.Description)})
}

// descriptionText keeps to the characters of RFC 6749 §5.2: %x20-21 / %x23-5B /
// %x5D-7E.
func descriptionText(s string) string {
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

// writeJSON answers with a JSON object that must not be kept by anyone on the
// way (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, body any) {
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
