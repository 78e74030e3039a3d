package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Every error of Begin and Finish is one of these (errors.Is). The text after
// it is for the operator's log: it may quote the provider, shortened and
// without control characters, and never holds a token, a code, or a secret.
var (
	// ErrDenied: the person declined, or the provider did not let them in
	// (Core §3.1.2.6). Nothing is wrong; the person may try again.
	ErrDenied = errors.New("the provider did not sign the person in")

	// ErrMismatch: the answer does not belong to the request that this browser
	// began: another state, nonce or issuer. It is an attack, a second tab, or
	// a page that was kept too long. The person may begin again; the answer
	// must not be tried again.
	ErrMismatch = errors.New("the answer does not belong to this sign-in")

	// ErrUnavailable: the provider could not be asked: network, timeout, or an
	// answer of 429, 5xx or a web page. The status to answer is 503, and a
	// later attempt may succeed.
	ErrUnavailable = errors.New("the provider cannot be reached")

	// ErrNotAllowed: the person is who they say, and the configuration does not
	// let them in (RequireVerifiedEmail, AllowedDomains).
	ErrNotAllowed = errors.New("the account is not allowed here")

	// ErrRefused: what the provider said failed a check, or the provider
	// refused this client. It takes an operator, here or there, to mend it.
	ErrRefused = errors.New("the provider's answer is not acceptable")
)

// Why an exchange with the provider failed that did reach it.
var (
	errRedirect = errors.New("the answer is a redirect that is not followed")
	errTooLarge = errors.New("the answer is larger than 1 MiB")
	errInsecure = errors.New("the URL is not https")
)

// refused makes an ErrRefused of a reason.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// mismatch makes an ErrMismatch of a reason.
func mismatch(reason string) error { return fmt.Errorf("%w: %s", ErrMismatch, reason) }

// exchangeError sorts the error of an HTTP exchange. The URL that net/http puts
// into the text is left out: after a redirect it is the provider's to write.
func exchangeError(endpoint string, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	kind := ErrUnavailable
	for _, reached := range []error{errRedirect, errTooLarge, errInsecure} {
		if errors.Is(err, reached) {
			kind = ErrRefused
		}
	}
	return fmt.Errorf("%w: %s: %w", kind, endpoint, err)
}

// isExchangeError tells whether err is of an exchange that got no whole answer,
// rather than of what was in it.
func isExchangeError(err error) bool {
	_, sent := errors.AsType[*url.Error](err)
	return sent || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// quotable returns what the provider said, fit for a log: short, on one line,
// and not at all where it repeats one of the secrets.
func quotable(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" && strings.Contains(text, secret) {
			return "(a text that repeats a secret)"
		}
	}
	return displayText(text, 200)
}
