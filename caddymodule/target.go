package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// A gate decides on the path it sees, and the API behind it may see another one:
// servers decode once or twice, cut parameters off, turn backslashes around and
// merge slashes, each in its own way. So a target that two readers could
// understand differently is refused, unless the configuration allows that kind.

// The kinds of ambiguous targets, by the name that allows them.
const (
	encodedSlash     = "encoded_slash"     // %2F
	encodedBackslash = "encoded_backslash" // %5C, or a backslash as it is
	dotSegment       = "dot_segment"       // . or .. between slashes, however written
	doubleSlash      = "double_slash"      // //
	doubleEncoding   = "double_encoding"   // %25 and two hexadecimal digits
	pathParameter    = "path_parameter"    // ;
	controlCharacter = "control_character" // below %20, %7F, and what is not UTF-8
	absoluteForm     = "absolute_form"     // GET http://host/path
)

var ambiguities = []string{
	encodedSlash, encodedBackslash, dotSegment, doubleSlash, doubleEncoding, pathParameter, controlCharacter, absoluteForm,
}

// validateAllowed reports a kind that there is not.
func validateAllowed(allowed []string) error {
	for _, kind := range allowed {
		if !slices.Contains(ambiguities, kind) {
			return fmt.Errorf("there is no kind of target %q to allow; want some of %s", kind, strings.Join(ambiguities, ", "))
		}
	}
	return nil
}

// askTarget: the target of the request means the same to everybody, but for the
// kinds that are allowed.
func (p *Policy) askTarget(v *visit) *refusal {
	kind := ambiguity(v.request, p.AllowTarget)
	if kind == "" {
		return nil
	}
	return badTarget(http.StatusBadRequest, "the path can be understood in more than one way: "+kind)
}

// ambiguity returns the first kind that is found and not allowed. A plain path,
// which is nearly every one, costs one pass over its bytes.
func ambiguity(r *http.Request, allowed []string) string {
	found := func(kind string) bool { return !slices.Contains(allowed, kind) }
	if r.URL.Host != "" && found(absoluteForm) {
		return absoluteForm
	}
	escaped := r.URL.EscapedPath()
	if r.URL.RawPath != "" {
		escaped = r.URL.RawPath // as it was sent, where Go would write it otherwise
	}
	if isPlain(escaped) {
		return ""
	}
	lower := strings.ToLower(escaped)
	for _, check := range []struct {
		kind string
		is   bool
	}{
		{encodedSlash, strings.Contains(lower, "%2f")},
		{encodedBackslash, strings.Contains(lower, "%5c") || strings.Contains(lower, `\`)},
		{doubleEncoding, encodesTwice(lower)},
		{pathParameter, strings.Contains(lower, ";") || strings.Contains(lower, "%3b")},
		{doubleSlash, strings.Contains(r.URL.Path, "//")},
		{dotSegment, hasDotSegment(r.URL.Path)},
		{controlCharacter, hasControl(r.URL.Path)},
	} {
		if check.is && found(check.kind) {
			return check.kind
		}
	}
	return ""
}

// isPlain: only characters that mean themselves to everybody, and neither two
// slashes nor a segment that begins with a dot.
func isPlain(escaped string) bool {
	previous := byte(0)
	for n := 0; n < len(escaped); n++ {
		c := escaped[n]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '~', c == ',', c == '+', c == '@', c == ':', c == '=', c == '!', c == '*':
		case c == '/' && previous != '/', c == '.' && previous != '/':
		default:
			return false
		}
		previous = c
	}
	return true
}

// encodesTwice: what is decoded once is encoded still.
func encodesTwice(lower string) bool {
	for rest := lower; ; {
		n := strings.Index(rest, "%25")
		if n < 0 {
			return false
		}
		rest = rest[n+3:]
		if len(rest) >= 2 && isHex(rest[0]) && isHex(rest[1]) {
			return true
		}
		if strings.HasPrefix(rest, "u") || strings.HasPrefix(rest, "25") {
			return true
		}
	}
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

// hasDotSegment: "." or ".." as a segment, also with white space, dots or a
// parameter behind it, which some servers cut off.
func hasDotSegment(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		trimmed := strings.TrimRightFunc(segment, func(c rune) bool { return c <= ' ' })
		if trimmed != "" && strings.Trim(trimmed, ".") == "" {
			return true
		}
	}
	return false
}

func hasControl(path string) bool {
	return !utf8.ValidString(path) || strings.ContainsFunc(path, func(c rune) bool { return c < 0x20 || c == 0x7f })
}
