package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxFormBytes bounds the body of every request to the issuer.
	maxFormBytes = 64 << 10
	// formTimeout is how long a client may take to send it.
	formTimeout = 15 * time.Second
)

// repeatable are the parameters that may occur more than once: resource (RFC
// 8707 §2), audience (RFC 8693 §2.1). Every other one must not (RFC 6749 §3.2).
var repeatable = map[string]bool{"resource": true, "audience": true}

// Form holds the parameters of a request. A parameter without a value counts as
// left out (RFC 6749 §3.2), unknown ones are ignored.
type Form url.Values

// Get returns the parameter, or "" if it was left out.
func (f Form) Get(name string) string {
	if values := f[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// All returns every value of a repeatable parameter.
func (f Form) All(name string) []string { return f[name] }

// ReadForm reads the parameters of a POST from its body, and only from there:
// what stands in a URL ends in logs and histories (RFC 6749 §2.3.1).
func ReadForm(w http.ResponseWriter, r *http.Request) (Form, error) {
	return ReadFormWith(w, r, repeatable)
}

// ReadFormWith is ReadForm with other parameters that may occur more than once:
// checkboxes of our own pages do.
func ReadFormWith(w http.ResponseWriter, r *http.Request, repeatable map[string]bool) (Form, error) {
	if err := CheckMediaType(r.Header, "application/x-www-form-urlencoded"); err != nil {
		return nil, err
	}
	body, err := ReadBody(w, r)
	if err != nil {
		return nil, err
	}
	return parseFormWith(string(body), repeatable)
}

// ReadBody reads a body of a bounded size in a bounded time.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A client that sends a byte now and then must not hold a goroutine for
	// ever. Not every writer has a deadline to set (a test recorder does not).
	control := http.NewResponseController(w)
	bounded := control.SetReadDeadline(time.Now().Add(formTimeout)) == nil
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFormBytes))
	if bounded && err == nil {
		// Only now: net/http reads what is left of a body before it answers, and
		// would wait for ever.
		_ = control.SetReadDeadline(time.Time{})
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, Refuse(InvalidRequest, "the body is larger than %d bytes", maxFormBytes).WithStatus(http.StatusRequestEntityTooLarge)
	case err != nil:
		return nil, Refuse(InvalidRequest, "the body could not be read").Because(err)
	}
	return body, nil
}

// CheckMediaType demands a body of that media type, as it is: RFC 6749's
// application/x-www-form-urlencoded, or RFC 7591's application/json.
func CheckMediaType(header http.Header, want string) error {
	unsupported := func(what string) error {
		return Refuse(InvalidRequest, "%s; send %s in UTF-8, without a content encoding", what, want).WithStatus(http.StatusUnsupportedMediaType)
	}
	if types := header.Values("Content-Type"); len(types) != 1 {
		return unsupported("one Content-Type header is required")
	}
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || mediaType != want {
		return unsupported("the Content-Type is not supported")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return unsupported("the charset is not supported")
	}
	if encoding := header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return unsupported("the content encoding is not supported")
	}
	return nil
}

// ParseForm decodes and checks parameters; it is also the parser of the query
// of an authorization request.
//
// A line break after an ampersand is forgiven: it has no meaning there, and the
// examples of some documentations, pasted as they stand, have it.
func ParseForm(encoded string) (Form, error) { return parseFormWith(encoded, repeatable) }

func parseFormWith(encoded string, repeatable map[string]bool) (Form, error) {
	values, err := url.ParseQuery(lineBreaks.Replace(encoded))
	if err != nil {
		return nil, Refuse(InvalidRequest, "the parameters are not well-formed application/x-www-form-urlencoded").Because(err)
	}
	for name, all := range values {
		if len(all) > 1 && !repeatable[name] {
			if !isToken(name) {
				name = "a parameter"
			}
			return nil, Refuse(InvalidRequest, "%s must not be repeated", name)
		}
		given := all[:0]
		for _, value := range all {
			if value != "" {
				given = append(given, value)
			}
		}
		if len(given) == 0 {
			delete(values, name)
			continue
		}
		values[name] = given
	}
	return Form(values), nil
}

var lineBreaks = strings.NewReplacer("&\r\n", "&", "&\n", "&")

// isToken tells whether a name of the request is tame enough to be repeated in
// an error description: letters, digits, '_' and '-', at most 64 of them.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}
