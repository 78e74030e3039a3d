package introspect

import (
	"errors"
	"net/http"
	"strings"
)

var (
	// ErrNoToken: the request shows no bearer token. The answer is 401 with a
	// challenge that has no error code (RFC 6750 §3.1).
	ErrNoToken = errors.New("the request has no bearer token")

	// ErrMalformedRequest: the request has several Authorization fields, of
	// which two readers could choose differently. The answer is 400
	// invalid_request (RFC 6750 §3.1).
	ErrMalformedRequest = errors.New("the request has more than one Authorization header field")
)

// FromHeader returns the bearer token in the header of a request (RFC 6750
// §2.1). A token in the query, the body or a cookie is never looked for (RFC
// 9700 §4.3.2).
//
// With bare, a header value that is a token and nothing else, without a scheme,
// is accepted beside "Bearer <token>".
//
// The error is ErrNoToken when there is no Authorization header or one of
// another scheme, ErrMalformedRequest when there are several, and ErrInactive
// when what follows Bearer cannot be a token (401 invalid_token).
func FromHeader(h http.Header, bare bool) (token string, err error) {
	values := h["Authorization"]
	if len(values) == 0 {
		return "", ErrNoToken
	}
	if len(values) > 1 {
		return "", ErrMalformedRequest
	}
	scheme, credentials, spaced := strings.Cut(values[0], " ")
	switch {
	case isBearer(scheme):
		if !isToken(credentials) {
			return "", inactive("what follows Bearer is not a token")
		}
		return credentials, nil
	case bare && !spaced && isToken(scheme):
		return scheme, nil
	}
	return "", ErrNoToken
}

// isBearer compares as RFC 9110 §11.1 says: without regard to case, in ASCII.
func isBearer(scheme string) bool {
	return len(scheme) == len("Bearer") && strings.EqualFold(scheme, "Bearer")
}

// isToken tells whether text is a b64token (RFC 6750 §2.1).
func isToken(text string) bool {
	text = strings.TrimRight(text, "=")
	for i := 0; i < len(text); i++ {
		if !b64token[text[i]] {
			return false
		}
	}
	return text != ""
}

// b64token tells of each byte whether it may stand in a token (RFC 6750 §2.1). A
// table, because every byte of every request's token is looked up.
var b64token = func() (may [256]bool) {
	for c := range may {
		may[c] = isBase64URL(byte(c)) || strings.IndexByte(".~+/", byte(c)) >= 0
	}
	return may
}()

// Challenge is a WWW-Authenticate value of the Bearer scheme (RFC 6750 §3, RFC
// 9728 §5.1). Empty fields are left out.
type Challenge struct {
	Realm            string
	Scope            string // scope names with one space between them
	Error            string // invalid_request, invalid_token or insufficient_scope
	ErrorDescription string // for the client's developer
	ResourceMetadata string // URL of the protected resource's metadata
}

// String formats the challenge. Whatever a field holds, the result is one header
// value: bytes that RFC 6750 §3 does not allow there become '?'.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString("Bearer")
	separator := " "
	for _, parameter := range []struct{ name, value string }{
		{"realm", c.Realm},
		{"error", c.Error},
		{"error_description", c.ErrorDescription},
		{"scope", c.Scope},
		{"resource_metadata", c.ResourceMetadata},
	} {
		if parameter.value == "" {
			continue
		}
		b.WriteString(separator + parameter.name + `="` + quotable(parameter.value) + `"`)
		separator = ", "
	}
	if separator == " " {
		b.WriteString(` realm=""`) // at least one parameter must follow the scheme
	}
	return b.String()
}

// quotable keeps what may stand in each of the quoted values: %x20-21, %x23-5B
// and %x5D-7E, which need no escape.
func quotable(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, value)
}
