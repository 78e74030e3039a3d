package issuer

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

// form holds the parameters of a request. A parameter without a value counts as
// left out (RFC 6749 §3.2), unknown ones are ignored.
type form url.Values

// get returns the parameter, or "" if it was left out.
func (f form) get(name string) string {
	if values := f[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// all returns every value of a repeatable parameter.
func (f form) all(name string) []string { return f[name] }

// readForm reads the parameters of a POST from its body, and only from there:
// what stands in a URL ends in logs and histories (RFC 6749 §2.3.1).
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	return readFormWith(w, r, repeatable)
}

// readFormWith is readForm with other parameters that may occur more than once:
// checkboxes of our own pages do.
func readFormWith(w http.ResponseWriter, r *http.Request, repeatable map[string]bool) (form, error) {
	if err := checkMediaType(r.Header, "application/x-www-form-urlencoded"); err != nil {
		return nil, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	return parseFormWith(string(body), repeatable)
}

// readBody reads a body of a bounded size in a bounded time.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A client that sends a byte now and then must not hold a goroutine for
	// ever. Not every writer has a deadline to set (a test recorder does not).
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(formTimeout)) == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFormBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e := refuse(InvalidRequest, "the body is larger than %d bytes", maxFormBytes)
		e.status = http.StatusRequestEntityTooLarge
		return nil, e
	case err != nil:
		return nil, refuse(InvalidRequest, "the body could not be read").because(err)
	}
	return body, nil
}

// checkMediaType demands a body of that media type, as it is: RFC 6749's
// application/x-www-form-urlencoded, or RFC 7591's application/json.
func checkMediaType(header http.Header, want string) error {
	unsupported := func(what string) error {
		e := refuse(InvalidRequest, "%s; send %s in UTF-8, without a content encoding", what, want)
		e.status = http.StatusUnsupportedMediaType
		return e
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

// parseForm decodes and checks parameters; it is also the parser of the query
// of an authorization request.
//
// A line break after an ampersand is forgiven: it has no meaning there, and the
// examples of some documentations, pasted as they stand, have it.
func parseForm(encoded string) (form, error) { return parseFormWith(encoded, repeatable) }

func parseFormWith(encoded string, repeatable map[string]bool) (form, error) {
	values, err := url.ParseQuery(lineBreaks.Replace(encoded))
	if err != nil {
		return nil, refuse(InvalidRequest, "the parameters are not well-formed application/x-www-form-urlencoded").because(err)
	}
	for name, all := range values {
		if len(all) > 1 && !repeatable[name] {
			if !isToken(name) {
				name = "a parameter"
			}
			return nil, refuse(InvalidRequest, "%s must not be repeated", name)
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
	return form(values), nil
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
